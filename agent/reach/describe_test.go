package reach

import (
	"net"
	"strings"
	"testing"
)

func TestNamesThatAreNotResolved(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		err  net.DNSError
		want string
	}{
		{"an unknown name is the address's fault", net.DNSError{IsNotFound: true}, "DNS knows no host"},
		{"silence is the network's", net.DNSError{IsTimeout: true, IsTemporary: true}, "got no answer; check that the pod may reach"},
		{"a refusal may be either's", net.DNSError{IsTemporary: true}, "failed; check the address, and the cluster's DNS"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			row.err.Name = "gateway.example"
			got := Describe(&net.OpError{Op: "dial", Err: &row.err}, Gateway())
			if !strings.Contains(got, row.want) || !strings.Contains(got, `"gateway.example"`) {
				t.Error(got)
			}
		})
	}
}
