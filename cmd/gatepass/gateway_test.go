package main

import (
	"testing"

	"github.com/gatepass/gatepass/cmd/gatepass/internal/profile"
)

func TestWhatBelongsToAProfilesServerGoesToNoOther(t *testing.T) {
	t.Parallel()
	p := &profile.Profile{
		GatewayURL: "https://gateway.example:8000", CAFile: "ca.crt", TLSServerName: "name.example",
		ClientCertificateFile: "tls.crt", ClientKeyFile: "tls.key",
	}
	const other = "https://other.example:8000"
	for _, tt := range []struct {
		name        string
		flags, want gatewayAt
	}{
		{
			"all is the profile's", gatewayAt{},
			gatewayAt{url: p.GatewayURL, caFile: "ca.crt", serverName: "name.example", certificateFile: "tls.crt", keyFile: "tls.key"},
		},
		{
			"the same server by another address", gatewayAt{url: "https://GATEWAY.example:8000/v2/"},
			gatewayAt{url: "https://GATEWAY.example:8000/v2/", caFile: "ca.crt", serverName: "name.example", certificateFile: "tls.crt", keyFile: "tls.key"},
		},
		{
			"another server", gatewayAt{url: other},
			gatewayAt{url: other, caFile: "ca.crt"},
		},
		{
			"flags go before it", gatewayAt{serverName: "flag.example", certificateFile: "flag.crt", keyFile: "flag.key"},
			gatewayAt{url: p.GatewayURL, caFile: "ca.crt", serverName: "flag.example", certificateFile: "flag.crt", keyFile: "flag.key"},
		},
		{
			"half a pair by flags is not made whole", gatewayAt{keyFile: "flag.key"},
			gatewayAt{url: p.GatewayURL, caFile: "ca.crt", serverName: "name.example", keyFile: "flag.key"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := tt.flags
			if got.complete(p); got != tt.want {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
		})
	}
}
