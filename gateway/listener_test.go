package gateway

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// silence opens connections from an address of this host, and says nothing.
func silence(t *testing.T, from, to string, connections int) []net.Conn {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	var open []net.Conn
	for range connections {
		conn, err := dialer.Dial("tcp", to)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		open = append(open, conn)
	}
	return open
}

// until waits for a metric to have a value.
func until(t *testing.T, registry *prometheus.Registry, name string, want float64) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); gauge(t, registry, name) != want; {
		if time.Now().After(deadline) {
			t.Fatalf("%s is %v, want %v", name, gauge(t, registry, name), want)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestAClientDoesNotGetAllConnections(t *testing.T) {
	t.Parallel()
	const each = testConnections - 2
	r := run(t, http.NotFoundHandler(), 0, func() error { return nil }, func(o *ServerOptions) { o.MaxClientConnections = each })
	address := strings.TrimPrefix(r.api, "https://")
	const greedy = "127.0.0.2"
	taken := silence(t, greedy, address, each)
	until(t, r.registry, "gatepass_gateway_connections", each)
	// As many as there are in all may wait; the next ones are closed.
	waiting := silence(t, greedy, address, testConnections)
	until(t, r.registry, "gatepass_gateway_connections_waiting", testConnections)
	extra := silence(t, greedy, address, 1)[0]
	if err := extra.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := extra.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("one more than may wait is kept: %v", err)
	}
	if status, _ := r.get(t, r.api); status != http.StatusNotFound {
		t.Errorf("another client gets %d", status)
	}
	if n := gauge(t, r.registry, "gatepass_gateway_connections"); n != each+1 {
		t.Errorf("%v connections are open", n)
	}

	// Who waits is served when one of its own is closed, and not before.
	if _, err := waiting[0].Write([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	if err := taken[0].Close(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(waiting[0]).ReadString('\n')
	if err != nil || !strings.Contains(line, "400") { // it did not speak TLS
		t.Errorf("the one that waited got %q, %v", line, err)
	}
	r.stop()
	for i, conn := range waiting[1+1:] { // the second one took the place of the first
		if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("connection %d is still open after the end", i)
		}
	}
	for _, conn := range append(taken, waiting...) {
		_ = conn.Close()
	}
	if err := r.wait(); err != nil {
		t.Error(err)
	}
}
