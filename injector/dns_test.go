package injector_test

import (
	"strings"
	"testing"

	"github.com/gatepass/gatepass/injector"
)

// The node's resolver does not know the names of Services.
func TestPodsThatCanNotResolveTheGatewaysNameAreWarned(t *testing.T) {
	i := injector.New(profiles(t))
	const app = `, containers: [{name: app}]}`
	for _, c := range []struct{ name, metadata, spec, want string }{
		{"the default", annotated(), `{hostNetwork: false` + app, ""},
		{"the cluster's DNS", annotated(), `{dnsPolicy: ClusterFirst` + app, ""},
		{"the node's DNS", annotated(), `{dnsPolicy: Default` + app, "dnsPolicy: Default, the node's resolver, by which https://gatepass-gateway.gatepass-system.svc:8000 can't be resolved; set dnsPolicy: ClusterFirst"},
		{"the node's DNS and network", annotated(), `{hostNetwork: true, dnsPolicy: Default` + app, "set dnsPolicy: ClusterFirstWithHostNet"},
		{"the node's DNS and a public name", annotated(`gatepass.dev/profile: locked`), `{dnsPolicy: Default` + app, ""},
		{"the node's DNS and a public name behind a proxy in the cluster", annotated(`gatepass.dev/profile: proxied`), `{dnsPolicy: Default` + app, "by which http://proxy.proxies.svc:3128 can't be resolved"},
		{"nameservers of its own", annotated(), `{dnsPolicy: None, dnsConfig: {nameservers: ["10.96.0.10"]}` + app, ""},
		{"nameservers of its own on the node's network", annotated(), `{hostNetwork: true, dnsPolicy: None, dnsConfig: {nameservers: ["10.96.0.10"]}` + app, ""},
		{"no nameservers", annotated(), `{dnsPolicy: None, dnsConfig: {searches: [a]}` + app, "no nameservers in its dnsConfig"},
		{"the node's network", annotated(), `{hostNetwork: true, dnsPolicy: ClusterFirst` + app, "set dnsPolicy: ClusterFirstWithHostNet"},
		{"the node's network with the cluster's DNS", annotated(), `{hostNetwork: true, dnsPolicy: ClusterFirstWithHostNet` + app, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := i.Decide(podYAML(t, c.metadata, c.spec))
			got := strings.Join(d.Warnings, "; ")
			if d.Result != injector.Injected || !strings.Contains(got, c.want) || c.want == "" && got != "" {
				t.Errorf("want it injected with a warning of %q, got %s with %q", c.want, d.Result, got)
			}
		})
	}
}
