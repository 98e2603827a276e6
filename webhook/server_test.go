package webhook

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gatepass/gatepass/internal/clientca"
)

func caBundle(t testing.TB) string {
	t.Helper()
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: newCertificate(t).pair.Leaf.Raw}))
}

// running is a Server on ports of 127.0.0.1.
type running struct {
	server *Server
	log    *lines
	cert   *certificate
	cancel context.CancelFunc
	done   chan error

	admission, metrics, probes string
}

func freePort(t testing.TB) int {
	t.Helper()
	var config net.ListenConfig
	listener, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	address, ok := listener.Addr().(*net.TCPAddr)
	if !ok {
		t.Fatal("no TCP address")
	}
	return address.Port
}

// start runs a server until it is ready. Nobody reserves a free port, so it
// tries again if one was taken meanwhile.
func start(t testing.TB, delay time.Duration, changes ...func(*Options)) *running {
	t.Helper()
	for try := 0; ; try++ {
		r := launch(t, delay, changes...)
		var ended error
		up := false
		eventually(t, "the server to be ready", func() bool {
			select {
			case ended = <-r.done:
				return true
			default:
			}
			up = probe(t, r.probes+"/readyz") == http.StatusOK
			return up
		})
		if up {
			return r
		}
		r.cancel()
		if try == 3 || !errors.Is(ended, syscall.EADDRINUSE) {
			t.Fatalf("the server ended: %v\n%s", ended, r.log)
		}
	}
}

func launch(t testing.TB, delay time.Duration, changes ...func(*Options)) *running {
	t.Helper()
	l, log := newLog()
	r := &running{log: l, cert: newCertificate(t), done: make(chan error, 1)}
	o := Options{
		ConfigFile: writeConfig(t, goodConfig), Certificate: r.cert, BindAddress: "127.0.0.1", Port: freePort(t),
		MetricsAddress: fmt.Sprintf("127.0.0.1:%d", freePort(t)), ProbeAddress: fmt.Sprintf("127.0.0.1:%d", freePort(t)),
		ShutdownDelay: delay, Logger: log,
	}
	for _, change := range changes {
		change(&o)
	}
	r.admission = fmt.Sprintf("https://127.0.0.1:%d", o.Port)
	r.metrics, r.probes = "http://"+o.MetricsAddress, "http://"+o.ProbeAddress
	var err error
	if r.server, err = New(o); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	go func() { r.done <- r.server.Run(ctx) }()
	return r
}

// stop ends the server and checks that it ends in good order.
func (r *running) stop(t testing.TB) {
	t.Helper()
	r.cancel()
	r.wait(t)
}

func (r *running) wait(t testing.TB) {
	t.Helper()
	select {
	case err := <-r.done:
		if err != nil {
			t.Errorf("the server ended with %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("the server does not end")
	}
}

// client trusts the server. Its connections are closed with the test.
func (r *running) client(t testing.TB) *http.Client {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: r.cert.pool}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 10 * time.Second}
}

// probe returns the status of a plain HTTP address, 0 if nobody answers.
func probe(t testing.TB, url string) int {
	t.Helper()
	status, _ := get(t, url)
	return status
}

func get(t testing.TB, url string) (int, string) {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true}
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	res, err := (&http.Client{Transport: transport, Timeout: 5 * time.Second}).Do(req)
	if err != nil {
		return 0, ""
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

func TestTheServerSpeaksNothingButHTTP1OverTLS(t *testing.T) {
	r := start(t, 0)
	defer r.stop(t)
	t.Run("HTTP/1.1", func(t *testing.T) {
		client := r.client(t)
		for range 3 {
			res, body := send(t, client, http.MethodPost, r.admission+Path, "application/json", strings.NewReader(reviewOf(annotatedPod, nil)))
			if a := strict(t, body); !a.Allowed || a.Patch == nil || res.ProtoMajor != 1 {
				t.Errorf("%s: %s", res.Proto, body)
			}
		}
		if res, _ := send(t, client, http.MethodPost, r.admission+"/other", "application/json", strings.NewReader("{}")); res.StatusCode != http.StatusNotFound {
			t.Errorf("another path: status %d", res.StatusCode)
		}
	})
	t.Run("a client that prefers HTTP/2 gets HTTP/1.1", func(t *testing.T) {
		dialer := &tls.Dialer{Config: &tls.Config{RootCAs: r.cert.pool, NextProtos: []string{"h2", "http/1.1"}}}
		conn, err := dialer.DialContext(t.Context(), "tcp", strings.TrimPrefix(r.admission, "https://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if over, ok := conn.(*tls.Conn); !ok || over.ConnectionState().NegotiatedProtocol != "http/1.1" {
			t.Error("it does not get HTTP/1.1")
		}
	})
	t.Run("a client that speaks HTTP/2 only is refused", func(t *testing.T) {
		dialer := &tls.Dialer{Config: &tls.Config{RootCAs: r.cert.pool, NextProtos: []string{"h2"}}}
		conn, err := dialer.DialContext(t.Context(), "tcp", strings.TrimPrefix(r.admission, "https://"))
		if err == nil {
			_ = conn.Close()
			t.Error("HTTP/2 is spoken")
		}
	})
	t.Run("TLS 1.1 is refused", func(t *testing.T) {
		dialer := &tls.Dialer{Config: &tls.Config{RootCAs: r.cert.pool, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}} //nolint:gosec // it must not work
		conn, err := dialer.DialContext(t.Context(), "tcp", strings.TrimPrefix(r.admission, "https://"))
		if err == nil {
			_ = conn.Close()
			t.Error("TLS 1.1 is spoken")
		}
	})
}

func TestMetricsAndProbesAreServed(t *testing.T) {
	r := start(t, 0)
	defer r.stop(t)
	r.server.CertificateChanged(nil)
	r.server.CertificateChanged(nil)
	r.server.CertificateChanged(errors.New("no key"))
	send(t, r.client(t), http.MethodPost, r.admission+Path, "application/json", strings.NewReader(reviewOf(annotatedPod, nil)))
	eventually(t, "the metrics to show the admission", func() bool {
		_, page := get(t, r.metrics+"/metrics")
		return strings.Contains(page, `gatepass_webhook_admissions_total{reason="injected",result="injected"} 1`)
	})
	_, page := get(t, r.metrics+"/metrics")
	for _, want := range []string{
		fmt.Sprintf("gatepass_webhook_certificate_expiry_timestamp_seconds %g\n", float64(r.cert.NotAfter().Unix())),
		configOK + " 1\n", configTime + " 1.", configReloads + `{result="success"} 1`, configReloads + `{result="failure"} 0`,
		`gatepass_webhook_admission_duration_seconds_bucket{le="5e-05"} `, "process_cpu_seconds_total", "go_goroutines",
		`gatepass_webhook_certificate_changes_total{result="success"} 2`, `gatepass_webhook_certificate_changes_total{result="failure"} 1`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the metrics lack %q", want)
		}
	}
	if status, body := get(t, r.probes+"/healthz"); status != http.StatusOK || body != "ok\n" {
		t.Errorf("/healthz: %d %q", status, body)
	}
	if status, _ := get(t, r.probes+"/metrics"); status != http.StatusNotFound {
		t.Errorf("the probes' port serves metrics: %d", status)
	}
}

func TestAnEndIsOrderly(t *testing.T) {
	const delay = 3 * time.Second
	r := start(t, delay)
	body := reviewOf(annotatedPod, nil)
	conn := r.halfway(t, body)
	defer conn.Close()
	idle := r.client(t)
	post := func(client *http.Client) *http.Response {
		t.Helper()
		res, answer := send(t, client, http.MethodPost, r.admission+Path, "application/json", strings.NewReader(body))
		if !strict(t, answer).Allowed {
			t.Errorf("refused: %s", answer)
		}
		return res
	}
	if post(idle).Close {
		t.Error("connections are not kept")
	}

	began := time.Now()
	r.cancel()
	eventually(t, "readiness to be withdrawn", func() bool { return probe(t, r.probes+"/readyz") == http.StatusServiceUnavailable })
	if _, text := get(t, r.probes+"/readyz"); !strings.Contains(text, "shutting down") {
		t.Errorf("/readyz says %q", text)
	}
	if probe(t, r.probes+"/healthz") != http.StatusOK {
		t.Error("not alive while it drains")
	}
	// Endpoints lag behind: reviews still come, on old connections and new ones.
	if !post(idle).Close {
		t.Error("the client is not told to go elsewhere")
	}
	post(r.client(t))
	dialer := &tls.Dialer{Config: &tls.Config{RootCAs: r.cert.pool}}
	eventually(t, "new connections to be refused", func() bool {
		conn, err := dialer.DialContext(t.Context(), "tcp", strings.TrimPrefix(r.admission, "https://"))
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	})
	if took := time.Since(began); took < delay {
		t.Errorf("connections are refused after %s already", took)
	}
	select {
	case err := <-r.done:
		t.Fatalf("the server ended (%v) with a review in flight", err)
	default:
	}
	// The one that was in flight all the time is answered.
	fmt.Fprint(conn, body[100:])
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("the review in flight was lost: %v", err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if a := strict(t, answer); !a.Allowed || a.Patch == nil {
		t.Errorf("the review in flight: %s", answer)
	}
	r.wait(t)
}

// halfway sends a hundred bytes of a review and returns when the handler reads
// them: a server answers "Expect: 100-continue" when its handler asks for the body.
func (r *running) halfway(t testing.TB, body string) *tls.Conn {
	t.Helper()
	dialer := &tls.Dialer{Config: &tls.Config{RootCAs: r.cert.pool, NextProtos: []string{"http/1.1"}}}
	dialed, err := dialer.DialContext(t.Context(), "tcp", strings.TrimPrefix(r.admission, "https://"))
	if err != nil {
		t.Fatal(err)
	}
	conn, ok := dialed.(*tls.Conn)
	if !ok {
		t.Fatal("no TLS connection")
	}
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", Path, len(body))
	const proceed = "HTTP/1.1 100 Continue\r\n\r\n"
	got := make([]byte, len(proceed))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != proceed {
		t.Fatalf("want 100 Continue, got %q (%v)", got, err)
	}
	fmt.Fprint(conn, body[:100])
	return conn
}

func TestAPortThatIsTakenEndsTheServer(t *testing.T) {
	var config net.ListenConfig
	taken, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	address, ok := taken.Addr().(*net.TCPAddr)
	if !ok {
		t.Fatal("no TCP address")
	}
	for name, change := range map[string]func(*Options){
		"serving admissions":    func(o *Options) { o.Port = address.Port },
		"listening for metrics": func(o *Options) { o.MetricsAddress = address.String() },
		"listening for probes":  func(o *Options) { o.ProbeAddress = address.String() },
	} {
		t.Run(name, func(t *testing.T) {
			_, log := newLog()
			o := Options{
				ConfigFile: writeConfig(t, goodConfig), Certificate: newCertificate(t), BindAddress: "127.0.0.1", Port: freePort(t),
				MetricsAddress: "0", ProbeAddress: "0", ShutdownDelay: time.Hour, Logger: log,
			}
			change(&o)
			s, err := New(o)
			if err != nil {
				t.Fatal(err)
			}
			err = s.Run(t.Context())
			if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), name) {
				t.Errorf("the server ended with %v", err)
			}
		})
	}
}

func TestOptionsThatAreMissingAreNamed(t *testing.T) {
	_, log := newLog()
	good := Options{ConfigFile: "config.yaml", Certificate: newCertificate(t), Port: 9443, Logger: log}
	for want, change := range map[string]func(*Options){
		"no configuration file":       func(o *Options) { o.ConfigFile = "" },
		"no serving certificate":      func(o *Options) { o.Certificate = nil },
		"no logger":                   func(o *Options) { o.Logger = nil },
		"port 0 is not between":       func(o *Options) { o.Port = 0 },
		"port -1 is not between":      func(o *Options) { o.Port = -1 },
		"port 65536 is not between 1": func(o *Options) { o.Port = 65536 },
	} {
		t.Run(want, func(t *testing.T) {
			o := good
			change(&o)
			if _, err := New(o); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestWhoeverHasNoCertificateOfAnAPIServerIsRefused(t *testing.T) {
	api, stranger := newCertificate(t), newCertificate(t)
	file := filepath.Join(t.TempDir(), "clients.pem")
	write(t, file, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: api.pair.Leaf.Raw})))
	cas, err := clientca.New(file, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	r := start(t, 0, func(o *Options) { o.ClientCAs = cas })
	defer r.stop(t)
	for name, presented := range map[string]*certificate{"an API server": api, "a stranger": stranger, "nobody": nil} {
		t.Run(name, func(t *testing.T) {
			client := r.client(t)
			transport, ok := client.Transport.(*http.Transport)
			if !ok {
				t.Fatalf("a transport of type %T", client.Transport)
			}
			transport.TLSClientConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				if presented == nil {
					return &tls.Certificate{}, nil
				}
				return presented.pair, nil
			}
			request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.admission+Path, strings.NewReader(reviewOf(annotatedPod, nil)))
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Content-Type", "application/json")
			res, err := client.Do(request)
			if presented != api {
				if err == nil || !strings.Contains(err.Error(), "tls:") {
					t.Errorf("not refused in the handshake: %v, %v", res, err)
				}
				return
			}
			if err != nil || res.StatusCode != http.StatusOK {
				t.Errorf("refused: %v, %v", res, err)
			}
		})
	}
	if status := probe(t, r.probes+"/readyz"); status != http.StatusOK {
		t.Errorf("a probe without a certificate: status %d", status)
	}
}
