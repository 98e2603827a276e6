package exchange

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"
)

// canned is a connection on which the server says all that it says as soon as it is
// asked.
type canned struct {
	text  *bytes.Reader
	asked chan struct{}
	once  *sync.Once
}

func says(text []byte) canned {
	return canned{bytes.NewReader(text), make(chan struct{}), new(sync.Once)}
}

func (c canned) Read(to []byte) (int, error) {
	<-c.asked
	return c.text.Read(to)
}

func (c canned) Write(b []byte) (int, error) {
	c.once.Do(func() { close(c.asked) })
	return len(b), nil
}

func (canned) Close() error                     { return nil }
func (canned) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (canned) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (canned) SetDeadline(time.Time) error      { return nil }
func (canned) SetReadDeadline(time.Time) error  { return nil }
func (canned) SetWriteDeadline(time.Time) error { return nil }

// FuzzAnswer compares what is read of an answer with what net/http's Transport reads.
func FuzzAnswer(f *testing.F) {
	for _, text := range []string{
		fine, fine + fine, fine[:20], "",
		"HTTP/1.1 100 Continue\r\n\r\n" + fine,
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nfi\r\n0\r\nT: x\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"HTTP/1.0 200 OK\r\n\r\nuntil the end",
		"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
		"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) > most {
			return // then bounds differ
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://example.com/", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		res, reusable, err := newConn(nil, says(text)).exchange(req, nil, most)
		status, body, ok := byTransport(t, req, text)
		if err != nil {
			if reusable {
				t.Error("a connection that failed can be used again")
			}
			if ok {
				t.Errorf("error %v, and net/http reads %d %q", err, status, body)
			}
			return
		}
		got, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		if !ok || res.StatusCode != status || !bytes.Equal(got, body) {
			t.Errorf("%d %q, and net/http reads %d %q (%t)", res.StatusCode, got, status, body, ok)
		}
	})
}

// byTransport is what net/http reads, if it is an answer.
func byTransport(t *testing.T, req *http.Request, text []byte) (status int, body []byte, ok bool) {
	t.Helper()
	transport := &http.Transport{
		DisableCompression: true, DisableKeepAlives: true, MaxResponseHeaderBytes: most + maxHeader,
		DialContext: func(context.Context, string, string) (net.Conn, error) { return says(text), nil },
	}
	res, err := transport.RoundTrip(req)
	if err != nil {
		return 0, nil, false
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode < http.StatusOK {
		return 0, nil, false // which nobody asks for here
	}
	body, err = io.ReadAll(res.Body)
	return res.StatusCode, body, err == nil
}
