package gateway_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// wire is a connection to a gateway that sends requests which were written before,
// and looks at no more of an answer than it has to: the client shares the machine's
// processors with the gateway, which is what is to be measured.
type wire struct {
	conn net.Conn
	in   *bufio.Reader
	body []byte
}

func (g *gatewayProcess) dial(ctx context.Context) (*wire, error) {
	transport, ok := g.client.Transport.(*http.Transport)
	if !ok {
		return nil, errors.New("the gateway's client has another transport")
	}
	trust := transport.TLSClientConfig.Clone()
	trust.ServerName = "gatepass-gateway.gatepass-system.svc"
	dialer := &tls.Dialer{Config: trust}
	conn, err := dialer.DialContext(ctx, "tcp", fmt.Sprintf("%s:%d", g.Address, g.Port))
	if err != nil {
		return nil, err
	}
	return &wire{conn: conn, in: bufio.NewReader(conn)}, nil
}

// wires are connections with their handshakes done.
func (g *gatewayProcess) wires(b *testing.B, count int) []*wire {
	b.Helper()
	all := make([]*wire, count)
	for i := range all {
		all[i] = must(g.dial(b.Context()))(b)
		b.Cleanup(func() { _ = all[i].conn.Close() }) // the gateway may have closed it
	}
	return all
}

// written is a POST as it goes over a wire.
func written(path, body string) []byte {
	return fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		path, strings.TrimPrefix(issuer, "https://"), len(body), body)
}

// reply is an answer. Its body is overwritten by the next one.
type reply struct {
	status     int
	retryAfter string
	body       []byte
}

// exchange sends a request and reads its answer, which must have a length.
func (w *wire) exchange(request []byte) (reply, error) {
	var r reply
	if err := w.conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return r, err
	}
	if _, err := w.conn.Write(request); err != nil {
		return r, err
	}
	line, err := w.in.ReadSlice('\n')
	if err != nil {
		return r, err
	}
	if len(line) < len("HTTP/1.1 200") || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
		return r, fmt.Errorf("answer begins with %q", line)
	}
	if r.status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return r, fmt.Errorf("answer begins with %q", line)
	}
	length := -1
	for {
		if line, err = w.in.ReadSlice('\n'); err != nil {
			return r, err
		}
		name, value, more := bytes.Cut(bytes.TrimRight(line, "\r\n"), []byte(": "))
		if !more {
			break
		}
		switch string(name) {
		case "Content-Length":
			if length, err = strconv.Atoi(string(value)); err != nil {
				return r, fmt.Errorf("length of the answer: %w", err)
			}
		case "Retry-After":
			r.retryAfter = string(value)
		}
	}
	if length < 0 {
		return r, errors.New("the answer has no length")
	}
	if cap(w.body) < length {
		w.body = make([]byte, length)
	}
	r.body = w.body[:length]
	_, err = io.ReadFull(w.in, r.body)
	return r, err
}

// shot is a request, and what its answer must hold.
type shot struct {
	request []byte
	want    []byte
}

// fire sends shots over all wires, each as soon as the one before is answered, and
// returns how long it took and how long each answer did.
func fire(b *testing.B, wires []*wire, shots []shot) (time.Duration, []time.Duration) {
	b.Helper()
	took := make([]time.Duration, len(shots))
	var next atomic.Int64
	var failed atomic.Pointer[error]
	var group sync.WaitGroup
	began := time.Now()
	for _, w := range wires {
		group.Go(func() {
			for failed.Load() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(shots) {
					return
				}
				sent := time.Now()
				r, err := w.exchange(shots[i].request)
				if err == nil && (r.status != http.StatusOK || !bytes.Contains(r.body, shots[i].want)) {
					err = fmt.Errorf("%d %s", r.status, r.body)
				}
				if err != nil {
					failed.Store(&err)
					return
				}
				took[i] = time.Since(sent)
			}
		})
	}
	group.Wait()
	all := time.Since(began)
	if err := failed.Load(); err != nil {
		b.Fatal(*err)
	}
	return all, took
}
