package exchange

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	most = 1000
	// fine is an answer after which the connection can be used again.
	fine = "HTTP/1.1 201 Created\r\nContent-Length: 4\r\n\r\nfine"
)

// pair has both sides' TLS configurations.
func pair(t testing.TB) (server, client *tls.Config) {
	t.Helper()
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.StartTLS()
	defer s.Close()
	transport, ok := s.Client().Transport.(*http.Transport)
	if !ok {
		t.Fatal("no transport")
	}
	return &tls.Config{Certificates: s.TLS.Certificates, MinVersion: tls.VersionTLS12},
		&tls.Config{RootCAs: transport.TLSClientConfig.RootCAs, ServerName: "example.com", MinVersion: tls.VersionTLS12}
}

// bench is a server that does as it is told on each connection, and a pool for it.
type bench struct {
	*Pool
	accepted atomic.Int64
	// last is the client's side of the connection that was made last.
	last atomic.Pointer[net.TCPConn]
}

// tailed is the server's side of a connection.
type tailed struct {
	net.Conn
	// tail goes out with each write, behind what is written.
	tail []byte
}

func (t *tailed) Write(b []byte) (int, error) {
	n, err := t.Conn.Write(slices.Concat(b, t.tail))
	return min(n, len(b)), err
}

// serving starts a server. serve gets each connection's number, from 1 on.
func serving(t *testing.T, serve func(number int64, in *bufio.Reader, out net.Conn)) *bench {
	t.Helper()
	server, client := pair(t)
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := new(bench)
	var all sync.WaitGroup
	all.Go(func() {
		for {
			plain, err := listener.Accept()
			if err != nil {
				return
			}
			c := tls.Server(&tailed{Conn: plain}, server)
			all.Go(func() {
				defer func() { _ = c.Close() }()
				serve(b.accepted.Add(1), bufio.NewReader(c), c)
			})
		}
	})
	b.Pool, err = New(Options{
		Address: listener.Addr().String(), TLS: client, MaxAnswer: most,
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, network, address)
			if made, ok := c.(*net.TCPConn); ok {
				b.last.Store(made)
			}
			return c, err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		b.CloseIdleConnections()
		_ = listener.Close()
		all.Wait()
	})
	return b
}

// request reads one, and says whether there was one.
func request(in *bufio.Reader) bool {
	r, err := http.ReadRequest(in)
	if err != nil {
		return false
	}
	_, err = io.Copy(io.Discard, r.Body)
	return err == nil
}

// always answers every request so.
func always(text string) func(int64, *bufio.Reader, net.Conn) {
	return func(_ int64, in *bufio.Reader, out net.Conn) {
		for request(in) {
			_, _ = io.WriteString(out, text)
		}
	}
}

func (b *bench) ask(ctx context.Context, t *testing.T) (status int, body string, err error) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://example.com/x", strings.NewReader(`{"a":1}`))
	if err != nil {
		t.Fatal(err)
	}
	res, err := b.RoundTrip(req)
	if err != nil {
		return 0, "", err
	}
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if int64(len(text)) != res.ContentLength {
		t.Errorf("a body of %d bytes and a length of %d", len(text), res.ContentLength)
	}
	return res.StatusCode, string(text), res.Body.Close()
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 5*most)
	for _, tt := range []struct {
		name, text string
		status     int
		body       string
		failure    string
		// kept says that the next request takes the same connection.
		kept bool
	}{
		{"with a length", fine, 201, "fine", "", true},
		{"in chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nfi\r\n2\r\nne\r\n0\r\n\r\n", 200, "fine", "", true},
		{"without a body", "HTTP/1.1 204 No Content\r\n\r\n", 204, "", "", true},
		{"after informational ones", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n" + fine, 201, "fine", "", true},
		{"that is the last of a connection", strings.Replace(fine, "\r\n", "\r\nConnection: close\r\n", 1), 201, "fine", "", false},
		{"of an older protocol", strings.Replace(fine, "1.1", "1.0", 1), 201, "fine", "", false},
		{"of the largest size", "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + long[:most], 200, long[:most], "", true},
		{"that is too long", "HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + long, 200, long[:most+1], "", false},
		{"with more after it", fine + "x", 201, "fine", "", false},
		{"followed by another one", fine + fine, 201, "fine", "", false},
		{"that is only informational", strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", maxHeader/20), 0, "", "read the answer", false},
		{"that is another protocol", "HTTP/1.1 101 Switching Protocols\r\n\r\n", 0, "", "answers 101", false},
		{"with endless headers", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", maxHeader+most) + "\r\n\r\n", 0, "", "read the answer", false},
		{"that is not HTTP", "hello\r\n\r\n", 0, "", "malformed HTTP", false},
		{"with two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nfine!", 0, "", "read the answer", false},
		{"with chunks that are none", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n", 0, "", "read the answer", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := serving(t, always(tt.text))
			for range 3 {
				status, body, err := b.ask(t.Context(), t)
				if tt.failure != "" {
					if err == nil || !strings.Contains(err.Error(), tt.failure) {
						t.Fatalf("error %v", err)
					}
					continue
				}
				if err != nil || status != tt.status || body != tt.body {
					t.Fatalf("status %d, body %q, error %v", status, body, err)
				}
			}
			want := int64(3)
			if tt.kept {
				want = 1
			}
			if got := b.accepted.Load(); got != want {
				t.Errorf("%d connections, want %d", got, want)
			}
		})
	}
}

func TestAnswersThatBreakOff(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"before its first byte": "",
		"in its headers":        fine[:22],
		"in its body":           fine[:len(fine)-1],
		"in a chunk":            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfi",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := serving(t, func(_ int64, in *bufio.Reader, out net.Conn) {
				request(in)
				_, _ = io.WriteString(out, text)
			})
			if _, _, err := b.ask(t.Context(), t); !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("error %v", err)
			}
			if got := b.accepted.Load(); got != 1 {
				t.Errorf("%d connections", got)
			}
		})
	}
}

func TestWhoAsksGoesAway(t *testing.T) {
	t.Parallel()
	asked, ended := make(chan struct{}), make(chan struct{})
	b := serving(t, func(_ int64, in *bufio.Reader, _ net.Conn) {
		request(in)
		close(asked)
		_, _ = in.ReadByte()
		close(ended)
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		<-asked
		cancel()
	}()
	if _, _, err := b.ask(ctx, t); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	<-ended
	if _, _, err := b.ask(ctx, t); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestAServerThatDoesNotSpeakTLS(t *testing.T) {
	t.Parallel()
	_, client := pair(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for _, tt := range []struct {
		name  string
		serve func(net.Conn)
		want  string
	}{
		{"but HTTP", func(c net.Conn) {
			_, _ = c.Read(make([]byte, 16<<10))
			_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n")
			_, _ = io.Copy(io.Discard, c)
		}, "TLS handshake with"},
		{"nor anything else", func(c net.Conn) {
			cancel()
			_, _ = io.Copy(io.Discard, c)
		}, context.Canceled.Error()},
	} {
		here, there := net.Pipe()
		var serving sync.WaitGroup
		serving.Go(func() { tt.serve(there) })
		p, err := New(Options{Address: "x:1", TLS: client, MaxAnswer: most, Dial: func(context.Context, string, string) (net.Conn, error) { return here, nil }})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := (&bench{Pool: p}).ask(ctx, t); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v", tt.name, err)
		}
		serving.Wait()
	}
}

func TestManyAskAtOnce(t *testing.T) {
	t.Parallel()
	b := serving(t, func(_ int64, in *bufio.Reader, out net.Conn) {
		for {
			r, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			_, _ = fmt.Fprintf(out, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", r.ContentLength)
			_, _ = io.Copy(out, r.Body)
		}
	})
	var all sync.WaitGroup
	for i := range 32 {
		all.Go(func() {
			for j := range 20 {
				want := fmt.Sprintf("%d of %d", j, i)
				req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://example.com/", strings.NewReader(want))
				if err != nil {
					t.Error(err)
					return
				}
				res, err := b.RoundTrip(req)
				if err != nil {
					t.Error(err)
					return
				}
				if got, err := io.ReadAll(res.Body); err != nil || string(got) != want {
					t.Errorf("%q, error %v", got, err)
				}
			}
		})
	}
	all.Wait()
	if got := b.accepted.Load(); got > 32 {
		t.Errorf("%d connections", got)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	if _, err := New(Options{Address: "x:1", TLS: &tls.Config{MinVersion: tls.VersionTLS12}, MaxAnswer: 1, Dial: new(net.Dialer).DialContext}); err == nil {
		t.Error("a pool that does not know whom to expect")
	}
}
