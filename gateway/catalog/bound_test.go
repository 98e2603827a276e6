package catalog

import (
	"errors"
	"net/netip"
	"strconv"
	"testing"

	"github.com/gatepass/gatepass/gateway/config"
	"github.com/gatepass/gatepass/gateway/session"
)

func TestAddressesOfClients(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		bounds []string
		client string
		want   bool
	}{
		{"nothing is bound", nil, "192.0.2.1", true},
		{"nothing is bound, and no address known", nil, "", true},
		{"inside", []string{"192.0.2.0/24"}, "192.0.2.1", true},
		{"inside of the second", []string{"198.51.100.1", "192.0.2.0/24"}, "192.0.2.1", true},
		{"outside", []string{"192.0.2.0/24"}, "192.0.3.1", false},
		{"inside, in the form of IPv6", []string{"192.0.2.0/24"}, "::ffff:192.0.2.1", true},
		{"inside of IPv4 in the form of IPv6", []string{"::ffff:192.0.2.0/120"}, "192.0.2.1", true},
		{"IPv6 inside", []string{"2001:db8::/32"}, "2001:db8::1", true},
		{"IPv6 outside", []string{"2001:db8::/32"}, "2001:db9::1", false},
		{"no address is known", []string{"0.0.0.0/0", "::/0"}, "", false},
		{"what is bound can't be read", []string{"somewhere"}, "192.0.2.1", false},
		{"one can't be read", []string{"somewhere", "192.0.2.1"}, "192.0.2.1", true},
	} {
		v := newView()
		record, err := encode(methodRecord{AccessID: "p-abcdefghij12km", Type: TypeK8s, BoundIPs: tt.bounds})
		if err != nil {
			t.Fatal(err)
		}
		if err := v.applyMethod("m", record, 1); err != nil {
			t.Fatal(err)
		}
		client := netip.Addr{}
		if tt.client != "" {
			client = netip.MustParseAddr(tt.client)
		}
		claims := &session.Claims{AccessID: "p-abcdefghij12km", ID: "s"}
		err = v.CheckClient(claims, client)
		var elsewhere *ClientAddressError
		if tt.want != (err == nil) || err != nil && (!errors.As(err, &elsewhere) || elsewhere.Claims != claims) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestAddressesOfClientsOfAMethodOfTheFile(t *testing.T) {
	t.Parallel()
	v := newView()
	v.file = declare(&config.Config{AuthMethods: []config.AuthMethod{{Name: "m", AccessID: "p-abcdefghij12km", BoundIPs: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}}})
	claims := &session.Claims{AccessID: "p-abcdefghij12km"}
	if err := v.CheckClient(claims, netip.MustParseAddr("192.0.2.1")); err != nil {
		t.Error(err)
	}
	if err := v.CheckClient(claims, netip.MustParseAddr("192.0.3.1")); err == nil {
		t.Error("another address may use a session")
	}
}

// BenchmarkCheckClient is what each use of a session takes more.
func BenchmarkCheckClient(b *testing.B) {
	v := newView()
	for n := range 1000 {
		record, err := encode(methodRecord{AccessID: "p-" + strconv.Itoa(n), Type: TypeK8s, BoundIPs: []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"}})
		if err != nil {
			b.Fatal(err)
		}
		if err := v.applyMethod(strconv.Itoa(n), record, 1); err != nil {
			b.Fatal(err)
		}
	}
	claims, client := &session.Claims{AccessID: "p-500"}, netip.MustParseAddr("192.168.1.1")
	b.ReportAllocs()
	for b.Loop() {
		if err := v.CheckClient(claims, client); err != nil {
			b.Fatal(err)
		}
	}
}
