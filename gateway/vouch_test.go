package gateway

import (
	"testing"

	"github.com/gatepass/gatepass/gateway/authmethod"
)

// What has the name of an auth config that a method refers to need not be that.
func TestAnAuthConfigVouchesByItsID(t *testing.T) {
	t.Parallel()
	method := &authmethod.Method{AccessID: accessID, AuthConfigs: []string{"an-id"}}
	for _, tt := range []struct {
		name string
		c    AuthConfig
		want bool
	}{
		{"one that the method refers to", AuthConfig{ID: "an-id", Name: "kubernetes"}, true},
		{"one that belongs to the method", AuthConfig{ID: "other", Name: "kubernetes", AccessID: accessID}, true},
		{"one that is named as the id of the other", AuthConfig{ID: "other", Name: "an-id"}, false},
		{"one of another method", AuthConfig{ID: "other", Name: "kubernetes", AccessID: "p-bbbbbbbbbbbbkm"}, false},
		{"one without an id", AuthConfig{Name: "kubernetes"}, false},
	} {
		if got := tt.c.vouchesFor(method); got != tt.want {
			t.Errorf("%s: %t", tt.name, got)
		}
	}
}
