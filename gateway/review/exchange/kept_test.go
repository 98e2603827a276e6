package exchange

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
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
		act  func(*bench)
	}{
		{"after their time", idleTimeout, func(*bench) {}},
		{"when the pool is closed", 0, func(b *bench) { b.CloseIdleConnections() }},
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
				tt.act(b)
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
