package main

import (
	"testing"

	"github.com/gatepass/gatepass/cmd/gatepass/internal/profile"
)

func TestAProfileLogsInAtItsOwnServerOnly(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, own, at string
		same          bool
	}{
		{"its address", "https://gateway.example:8000", "https://gateway.example:8000", true},
		{"another prefix of the API", "https://gateway.example:8000", "https://gateway.example:8000/api/v2/", true},
		{"the port of https is the same when it is left out", "https://gateway.example", "https://gateway.example:443", true},
		{"case does not count in a host", "https://Gateway.Example", "https://gateway.example", true},
		{"addresses of version 6 are hosts", "https://[::1]:8000", "https://[::1]:8000/v2", true},
		{"another port", "https://gateway.example:8000", "https://gateway.example", false},
		{"another host", "https://gateway.example:8000", "https://gateway.example.org:8000", false},
		{"a host that begins with its address", "https://gateway.example", "https://gateway.example:443.org", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if err := checkPlace("default", &profile.Profile{GatewayURL: tt.own}, tt.at); (err == nil) != tt.same {
				t.Error(err)
			}
		})
	}
}
