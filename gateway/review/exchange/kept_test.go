package exchange

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestAKeptConnectionThatEnds(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		// end is what the server does on the first connection after an answer.
		end     func(in *bufio.Reader, out net.Conn)
		failure bool
	}{
		{"while nobody uses it", func(*bufio.Reader, net.Conn) {}, false},
		{"when a request has come", func(in *bufio.Reader, _ net.Conn) { request(in) }, false},
		{"in the middle of an answer", func(in *bufio.Reader, out net.Conn) {
			request(in)
			_, _ = io.WriteString(out, fine[:10])
		}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := serving(t, func(number int64, in *bufio.Reader, out net.Conn) {
				if number > 1 {
					always(fine)(number, in, out)
				} else if request(in) {
					_, _ = io.WriteString(out, fine)
					tt.end(in, out)
				}
			})
			if _, _, err := b.ask(t.Context(), t); err != nil {
				t.Fatal(err)
			}
			status, body, err := b.ask(t.Context(), t)
			if tt.failure {
				if err == nil {
					t.Errorf("an answer: %d %q", status, body)
				}
				return
			}
			if err != nil || status != 201 || body != "fine" || b.accepted.Load() != 2 {
				t.Errorf("status %d, body %q, error %v, %d connections", status, body, err, b.accepted.Load())
			}
		})
	}
}

// What nobody asked for must not become the answer to somebody else.
func TestSomethingComesWhileNobodyAsks(t *testing.T) {
	t.Parallel()
	for name, comes := range map[string]func(*tls.Conn) error{
		"another answer": func(c *tls.Conn) error {
			_, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nother")
			return err
		},
		"the beginning of a record": func(c *tls.Conn) error {
			_, err := c.NetConn().Write([]byte{23, 3, 3})
			return err
		},
		"the end": func(c *tls.Conn) error { return c.CloseWrite() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			answered := make(chan struct{})
			b := serving(t, func(number int64, in *bufio.Reader, out net.Conn) {
				if number > 1 {
					always(fine)(number, in, out)
					return
				}
				request(in)
				_, _ = io.WriteString(out, fine)
				<-answered
				if c, ok := out.(*tls.Conn); !ok || comes(c) != nil {
					t.Error("it can't be sent")
				}
				if request(in) {
					t.Error("the connection was used again")
				}
			})
			if _, _, err := b.ask(t.Context(), t); err != nil {
				t.Fatal(err)
			}
			close(answered)
			arrived(t, b.last.Load())
			if status, body, err := b.ask(t.Context(), t); err != nil || status != 201 || body != "fine" {
				t.Errorf("status %d, body %q, error %v", status, body, err)
			}
		})
	}
}

// TLS reads ahead: what came in one piece with an answer has left the socket already.
func TestTheBeginningOfARecordComesWithAnAnswer(t *testing.T) {
	t.Parallel()
	for name, part := range map[string][]byte{
		"a byte of the header":     {23},
		"the header":               {23, 3, 3, 0, 40},
		"the header and some text": {23, 3, 3, 0, 40, 1, 2, 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := serving(t, func(number int64, in *bufio.Reader, out net.Conn) {
				if number > 1 {
					always(fine)(number, in, out)
					return
				}
				request(in)
				stream, ok := out.(*tls.Conn)
				if !ok {
					t.Errorf("%T", out)
					return
				}
				plain, ok := stream.NetConn().(*tailed)
				if !ok {
					t.Errorf("%T", stream.NetConn())
					return
				}
				plain.tail = part
				_, _ = io.WriteString(out, fine)
				plain.tail = nil
				if request(in) {
					t.Error("the connection was used again")
				}
			})
			if _, _, err := b.ask(t.Context(), t); err != nil {
				t.Fatal(err)
			}
			if status, body, err := b.ask(t.Context(), t); err != nil || status != 201 || body != "fine" || b.accepted.Load() != 2 {
				t.Errorf("status %d, body %q, error %v, %d connections", status, body, err, b.accepted.Load())
			}
		})
	}
}

// arrived waits until there is something to read, which it leaves there.
func arrived(t *testing.T, c *net.TCPConn) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Read(func(fd uintptr) bool {
		n, _, err := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		return err == nil && n > 0
	}); err != nil {
		t.Fatal(err)
	}
}

func TestConnectionsThatNobodyUsesAreClosed(t *testing.T) {
	t.Parallel()
	server, client := pair(t)
	for _, tt := range []struct {
		name string
		want time.Duration
		act  func(*Pool)
	}{
		{"after their time", idleTimeout, func(*Pool) {}},
		{"after their time since they were used last", idleTimeout + idleTimeout/2, func(p *Pool) {
			time.Sleep(idleTimeout / 2)
			c := p.idle[0]
			p.idle = nil
			p.put(c)
		}},
		{"when the pool is closed", 0, func(p *Pool) { p.CloseIdleConnections() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ended := make(chan time.Time, 1)
				p, err := New(Options{Address: "x:1", TLS: client, MaxAnswer: most, Dial: func(context.Context, string, string) (net.Conn, error) {
					here, there := net.Pipe()
					go func() {
						c := tls.Server(there, server)
						always(fine)(1, bufio.NewReader(c), c)
						ended <- time.Now()
					}()
					return here, nil
				}})
				if err != nil {
					t.Fatal(err)
				}
				b := &bench{Pool: p}
				if _, _, err := b.ask(t.Context(), t); err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				tt.act(p)
				if got := (<-ended).Sub(began); got != tt.want {
					t.Errorf("after %s", got)
				}
				if _, _, err := b.ask(t.Context(), t); err != nil { // on another connection
					t.Error(err)
				}
				b.CloseIdleConnections()
				<-ended
			})
		})
	}
}

func TestAServerThatNeverEndsItsHandshake(t *testing.T) {
	t.Parallel()
	_, client := pair(t)
	synctest.Test(t, func(t *testing.T) {
		p, err := New(Options{Address: "x:1", TLS: client, MaxAnswer: most, Dial: func(context.Context, string, string) (net.Conn, error) {
			here, there := net.Pipe()
			go func() { _, _ = io.Copy(io.Discard, there) }()
			return here, nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if _, _, err := (&bench{Pool: p}).ask(t.Context(), t); err == nil || !strings.Contains(err.Error(), "not done within 5s") {
			t.Errorf("error %v", err)
		}
		if got := time.Since(began); got != handshakeTimeout {
			t.Errorf("after %s", got)
		}
	})
}

// watched counts how often its deadline is set.
type watched struct {
	net.Conn
	deadlines atomic.Int64
}

func (w *watched) SetDeadline(time.Time) error {
	w.deadlines.Add(1)
	return nil
}

func (w *watched) Close() error { return nil }

// Of a request that was given up nothing may be left on a connection for another,
// and of one that was answered no watch on it.
func TestTheEndOfAnExchange(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name              string
		before, cancelled bool // cancelled before the exchange, or after it
		status            string
		certificate       bool
		kept              bool
	}{
		{name: "it was answered", kept: true},
		{name: "it was answered, and given up later", cancelled: true, kept: true},
		{name: "it was given up, and answered all the same", before: true},
		{name: "the client is not known any more", status: "401 Unauthorized", kept: true},
		{name: "the client's certificate is not known any more", status: "401 Unauthorized", certificate: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				config := &tls.Config{ServerName: "x", MinVersion: tls.VersionTLS12}
				if tt.certificate {
					config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return new(tls.Certificate), nil }
				}
				p, err := New(Options{Address: "x:1", TLS: config, MaxAnswer: most, Dial: new(net.Dialer).DialContext})
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if tt.before {
					cancel()
				}
				req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://x/", http.NoBody)
				if err != nil {
					t.Fatal(err)
				}
				text := fine
				if tt.status != "" {
					text = strings.Replace(text, "201 Created", tt.status, 1)
				}
				plain := new(watched)
				if _, err := p.over(ctx, newConn(newSocket(plain), says([]byte(text))), req, nil); err != nil {
					t.Fatal(err)
				}
				if tt.cancelled {
					cancel()
				}
				synctest.Wait()
				if kept := len(p.idle) == 1; kept != tt.kept {
					t.Errorf("kept: %t", kept)
				}
				if tt.kept && plain.deadlines.Load() > 0 {
					t.Error("the request that was given up ends the connection of another")
				}
				p.CloseIdleConnections()
			})
		})
	}
}

// piecemeal gives its parts one by one.
type piecemeal struct{ parts []string }

func (p *piecemeal) Write(b []byte) (int, error) { return len(b), nil }

func (p *piecemeal) Read(to []byte) (int, error) {
	if len(p.parts) == 0 {
		return 0, io.EOF
	}
	n := copy(to, p.parts[0])
	p.parts = p.parts[1:]
	return n, nil
}

// Nothing of an answer that is too long has come that was not read.
func TestAConnectionInTheMiddleOfAnAnswer(t *testing.T) {
	t.Parallel()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://x/", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	c := newConn(nil, &piecemeal{parts: []string{"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n", strings.Repeat("x", most+1)}})
	if res, reusable, err := c.exchange(req, nil, most); err != nil || res.ContentLength != most+1 || reusable {
		t.Errorf("%+v, can be used again: %t, error %v", res, reusable, err)
	}
}

func TestAConnectionThatCanNotBeAsked(t *testing.T) {
	t.Parallel()
	if newConn(newSocket(new(watched)), says([]byte(fine))).quiet() {
		t.Error("it is said to be quiet")
	}
}
