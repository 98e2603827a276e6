package catalog

import (
	"maps"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatepass/gatepass/gateway/metricstest"
)

// gauges are a catalog's, by their names and the values of their labels.
func gauges(t *testing.T, c *Catalog) map[string]float64 {
	t.Helper()
	registry := prometheus.NewRegistry()
	if err := c.Register(registry); err != nil {
		t.Fatal(err)
	}
	return metricstest.Values(t, registry)
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	before := gauges(t, r.Catalog)
	if before["gatepass_gateway_catalog_ready"] != 1 {
		t.Errorf("a catalog that was read: %v", before)
	}
	m := r.k8s("m")
	r.must(r.admin.CreateItem(t.Context(), Item{Name: "/a"}, []byte("x")))
	r.must(r.admin.CreateRole(t.Context(), Role{Name: "r"}))
	one := r.issued(m, "a", "1")
	r.must(r.As(CallerOf(one, "", "v2")).RevokeSession(t.Context(), one.ExpiresAt()))
	r.must(r.admin.RevokeIdentity(t.Context(), "m", "b"))
	r.must(r.admin.RevokeMethod(t.Context(), "m"))
	want := maps.Clone(before)
	for _, more := range []string{
		"gatepass_gateway_objects item", "gatepass_gateway_objects auth-method", "gatepass_gateway_objects role",
		"gatepass_gateway_revocations session", "gatepass_gateway_revocations identity", "gatepass_gateway_revocations auth-method",
	} {
		want[more]++
	}
	if got := gauges(t, r.Catalog); !maps.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}
