package process_test

import (
	"fmt"
	"net"
	"testing"

	"github.com/gatepass/gatepass/test/process"
)

func reserve(t *testing.T, n int) *process.Ports {
	t.Helper()
	p, err := process.ReservePorts(n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// A server may listen, end with a connection open, and come back.
func TestServersListenAtReservedPortsAgainAndAgain(t *testing.T) {
	t.Parallel()
	ports := reserve(t, 3).Numbers
	if len(ports) != 3 || ports[0] == ports[1] || ports[1] == ports[2] || ports[0] == ports[2] {
		t.Fatalf("%v", ports)
	}
	for range 3 {
		for _, port := range ports {
			address := fmt.Sprintf("127.0.0.1:%d", port)
			l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			near, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			far, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			_, _ = l.Close(), far.Close() // the server's end is the first to close
			_ = near.Close()
		}
	}
}

// asks are enough to be given nearly every port there is.
const asks = 150_000

func TestNobodyElseIsGivenAReservedPort(t *testing.T) {
	t.Parallel()
	mine := reserve(t, 1).Numbers[0]
	for range asks {
		p, err := process.ReservePorts(1)
		if err != nil {
			t.Fatal(err)
		}
		other := p.Numbers[0]
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		if other == mine {
			t.Fatalf("port %d is given twice", mine)
		}
	}
}
