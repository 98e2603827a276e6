package gateway

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// certificate serves with httptest's certificate.
type certificate struct {
	pair    tls.Certificate
	missing atomic.Bool
}

func (c *certificate) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return &c.pair, nil
}

func (c *certificate) Ready() error {
	if c.missing.Load() {
		return errors.New("no serving certificate yet")
	}
	return nil
}

// running is a server that runs until stop.
type running struct {
	api, health string
	metrics     string
	registry    *prometheus.Registry
	client      *http.Client
	certificate *certificate
	stop        context.CancelFunc
	ended       chan struct{}
	err         error // read after ended is closed
}

func (r *running) wait() error {
	<-r.ended
	return r.err
}

// testConnections is enough for all tests but the one that is about it.
const testConnections = 8

func run(t *testing.T, api http.Handler, delay time.Duration, ready func() error, changes ...func(*ServerOptions)) *running {
	t.Helper()
	source := httptest.NewUnstartedServer(nil)
	source.StartTLS()
	t.Cleanup(source.Close)
	pool := x509.NewCertPool()
	pool.AddCert(source.Certificate())
	listen := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	r := &running{registry: prometheus.NewRegistry(), certificate: &certificate{pair: source.TLS.Certificates[0]}, ended: make(chan struct{})}
	o := ServerOptions{
		API: api, APIListener: listen(), HealthListener: listen(), MetricsListener: listen(), Metrics: http.RedirectHandler("/found", http.StatusTeapot),
		Certificates: r.certificate, Ready: ready, ShutdownDelay: delay, Logger: slog.New(slog.DiscardHandler), MaxConnections: testConnections,
		MaxClientConnections: testConnections, Registry: r.registry,
	}
	for _, change := range changes {
		change(&o)
	}
	r.metrics = "http://" + o.MetricsListener.Addr().String()
	r.api, r.health = "https://"+o.APIListener.Addr().String(), "http://"+o.HealthListener.Addr().String()
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "example.com", MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true}
	r.client = &http.Client{Transport: transport, Timeout: 10 * time.Second}
	server, err := NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r.stop = cancel
	go func() {
		defer close(r.ended)
		r.err = server.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		transport.CloseIdleConnections()
		if err := r.wait(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func (r *running) get(t *testing.T, url string) (int, string) {
	t.Helper()
	res, err := r.client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

func TestServerEndsRequestsUnderWay(t *testing.T) {
	t.Parallel()
	entered, release := make(chan struct{}), make(chan struct{})
	r := run(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(entered)
		<-release
		_, _ = io.WriteString(w, "done")
	}), 0, func() error { return nil })
	answered := make(chan string, 1)
	go func() {
		_, text := r.get(t, r.api)
		answered <- text
	}()
	<-entered
	r.stop()
	select {
	case <-r.ended:
		t.Fatalf("ended with a request under way: %v", r.err)
	case <-time.After(100 * time.Millisecond):
	}
	close(release)
	if text := <-answered; text != "done" {
		t.Errorf("the request got %q", text)
	}
	if err := r.wait(); err != nil {
		t.Error(err)
	}
}

func TestServerReadiness(t *testing.T) {
	t.Parallel()
	var unconfigured atomic.Bool
	r := run(t, http.NotFoundHandler(), 0, func() error {
		if unconfigured.Load() {
			return errors.New("no valid configuration yet")
		}
		return nil
	})
	expect := func(what string, status int, text string) {
		t.Helper()
		if got, body := r.get(t, r.health+"/readyz"); got != status || !strings.Contains(body, text) {
			t.Errorf("%s: %d %s", what, got, body)
		}
		if got, _ := r.get(t, r.health+"/healthz"); got != http.StatusOK {
			t.Errorf("%s: /healthz is %d", what, got)
		}
	}
	expect("with all it needs", http.StatusOK, "ok")
	r.certificate.missing.Store(true)
	expect("without a certificate", http.StatusServiceUnavailable, "no serving certificate yet")
	r.certificate.missing.Store(false)
	unconfigured.Store(true)
	expect("without a configuration", http.StatusServiceUnavailable, "no valid configuration yet")
	unconfigured.Store(false)
	expect("again with all it needs", http.StatusOK, "ok")
}

// waits is a reason not to be ready that ends by itself.
type waits struct{}

func (waits) Error() string { return "the CA is new" }

func (waits) Remaining(time.Time) time.Duration { return 150 * time.Second }

// A kubelet's event only has the status of the probe's answer.
func TestAServerThatIsNotReadyLogsWhyAndForHowLong(t *testing.T) {
	t.Parallel()
	log := &records{}
	r := run(t, http.NotFoundHandler(), 0, func() error { return waits{} }, func(o *ServerOptions) {
		o.Logger = slog.New(slog.NewJSONHandler(log, nil))
	})
	for range 2 {
		if status, body := r.get(t, r.health+"/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(body, "the CA is new, 2m30s from now") {
			t.Errorf("%d %s", status, body)
		}
	}
	log.mu.Lock()
	got := log.lines.String()
	log.mu.Unlock()
	if strings.Count(got, `"reason":"the CA is new","remaining":"2m30s"`) != 1 {
		t.Errorf("logged %s", got)
	}
}

func TestServerStaysUpDuringTheShutdownDelay(t *testing.T) {
	t.Parallel()
	r := run(t, http.NotFoundHandler(), 300*time.Millisecond, func() error { return nil })
	if status, _ := r.get(t, r.api); status != http.StatusNotFound {
		t.Fatalf("status %d", status)
	}
	r.stop()
	deadline := time.Now().Add(250 * time.Millisecond)
	for time.Now().Before(deadline) {
		if status, text := r.get(t, r.health+"/readyz"); status == http.StatusServiceUnavailable && strings.Contains(text, "shutting down") {
			break
		}
	}
	if status, _ := r.get(t, r.api); status != http.StatusNotFound {
		t.Errorf("status %d during the delay", status)
	}
	if err := r.wait(); err != nil {
		t.Error(err)
	}
}

func TestServerTLS(t *testing.T) {
	t.Parallel()
	r := run(t, http.NotFoundHandler(), 0, func() error { return nil })
	address := strings.TrimPrefix(r.api, "https://")
	t.Run("TLS 1.1 is refused", func(t *testing.T) {
		conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}) //nolint:gosec // what is tested is the server
		if err == nil {
			_ = conn.Close()
			t.Error("accepted")
		}
	})
	t.Run("plain HTTP is refused", func(t *testing.T) {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		_, err = fmt.Fprintf(conn, "POST /auth HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
		if err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(conn).ReadString('\n')
		if err != nil || !strings.Contains(line, "400") {
			t.Errorf("%q %v", line, err)
		}
	})
	t.Run("HTTP/2 is not spoken: a connection has one request at a time", func(t *testing.T) {
		res, err := r.client.Get(r.api)
		if err != nil {
			t.Fatal(err)
		}
		if err := res.Body.Close(); err != nil || res.ProtoMajor != 1 {
			t.Errorf("%s %v", res.Proto, err)
		}
	})
}

func TestServerEndsWhenAListenerFails(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	server, err := NewServer(ServerOptions{API: http.NotFoundHandler(), APIListener: l, Certificates: &certificate{},
		Ready: func() error { return nil }, Logger: slog.New(slog.DiscardHandler), ShutdownDelay: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "serve the API") {
		t.Errorf("error %v", err)
	}
}

func TestServerBoundsItsConnections(t *testing.T) {
	t.Parallel()
	r := run(t, http.NotFoundHandler(), 0, func() error { return nil })
	address := strings.TrimPrefix(r.api, "https://")
	var silent []net.Conn
	t.Cleanup(func() {
		for _, conn := range silent {
			_ = conn.Close()
		}
	})
	for range testConnections {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		silent = append(silent, conn)
	}
	answered := make(chan int, 1)
	go func() {
		status, _ := r.get(t, r.api)
		answered <- status
	}()
	select {
	case <-answered:
		t.Fatal("one connection more than the bound is served")
	case <-time.After(200 * time.Millisecond):
	}
	if n := gauge(t, r.registry, "gatepass_gateway_connections"); n != testConnections {
		t.Errorf("%v connections are counted", n)
	}
	if err := silent[0].Close(); err != nil {
		t.Fatal(err)
	}
	if status := <-answered; status != http.StatusNotFound {
		t.Errorf("status %d", status)
	}
}

func TestMetricsHaveOnePath(t *testing.T) {
	t.Parallel()
	r := run(t, http.NotFoundHandler(), 0, func() error { return nil })
	for path, want := range map[string]int{"/metrics": http.StatusTeapot, "/": http.StatusNotFound, "/debug/pprof/": http.StatusNotFound} {
		if got, _ := r.get(t, r.metrics+path); got != want {
			t.Errorf("%s: %d", path, got)
		}
	}
}

// recorded keeps what has come.
type recorded struct {
	net.Conn
	came bytes.Buffer
}

func (r *recorded) Read(to []byte) (int, error) {
	n, err := r.Conn.Read(to)
	r.came.Write(to[:n])
	return n, err //nolint:wrapcheck // it is the connection
}

// records counts the TLS records that have come since, by their lengths (RFC 8446,
// section 5.1).
func (r *recorded) records() (count int) {
	for r.came.Len() > 0 {
		header := r.came.Next(5)
		r.came.Next(int(header[3])<<8 | int(header[4]))
		count++
	}
	return count
}

func TestAFirstAnswerOfSomeKilobytesIsOneRecord(t *testing.T) {
	t.Parallel()
	r := run(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { writeRaw(w, http.StatusOK, make([]byte, 3000)) }), 0, func() error { return nil })
	plain, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(r.api, "https://"))
	if err != nil {
		t.Fatal(err)
	}
	seen := &recorded{Conn: plain}
	transport, ok := r.client.Transport.(*http.Transport)
	if !ok {
		t.Fatalf("the client's transport is a %T", r.client.Transport)
	}
	c := tls.Client(seen, transport.TLSClientConfig)
	defer func() { _ = c.Close() }()
	if err := c.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	seen.records()
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, res.Body); err != nil || n != 3000 {
		t.Fatalf("%d bytes, error %v", n, err)
	}
	if got := seen.records(); got != 1 {
		t.Errorf("it came in %d", got)
	}
}
