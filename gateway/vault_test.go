package gateway

import (
	"net/http"
	"strings"
	"testing"
)

func TestVaultsClientsAreToldTheVersion(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]string{
		"v1.2.3": "1.2.3", "v1.2.3-4-gabcdef": "1.2.3-4-gabcdef", "1.2.3": "1.2.3", "abcdef": "0.0.0", "(devel)": "0.0.0", "": "0.0.0",
	} {
		g, _ := newGateway(t, &fixedState{}, func(o *Options) { o.Version = version })
		if _, text := serve(t, g, http.MethodGet, "/v1/sys/health", ""); !strings.Contains(text, `"version":"`+want+`"`) {
			t.Errorf("version %q: %s", version, text)
		}
	}
}
