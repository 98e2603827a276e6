package injector_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatepass/gatepass/injector"
)

// Which containers get the session, by name.
func TestContainersThatAreLeftOut(t *testing.T) {
	i := injector.New(profiles(t))
	for _, c := range []struct {
		name, metadata, spec string
		want                 string
	}{
		{"all get it", annotated(), `{initContainers: [{name: init}], containers: [{name: app}, {name: log}]}`, "init app log"},
		{"the excluded do not", annotated(`gatepass.dev/exclude-containers: "log, init"`), `{initContainers: [{name: init}], containers: [{name: app}, {name: log}]}`, "app"},
		{"proxies of Istio do not", annotated(), `{initContainers: [{name: istio-init}, {name: istio-validation}], containers: [{name: app}, {name: istio-proxy}]}`, "app"},
		{"native proxies of Istio do not", annotated(), `{initContainers: [{name: istio-proxy, restartPolicy: Always}, {name: migrate}], containers: [{name: app}]}`, "migrate app"},
		{"proxies of Linkerd do not", annotated(), `{initContainers: [{name: linkerd-init}, {name: linkerd-network-validator}, {name: linkerd-proxy, restartPolicy: Always}], containers: [{name: app}]}`, "app"},
		{"proxies of Kuma do not", annotated(), `{initContainers: [{name: kuma-init}, {name: kuma-validation}], containers: [{name: kuma-sidecar}, {name: app}]}`, "app"},
		{"proxies of Consul do not", annotated(), `{initContainers: [{name: consul-connect-inject-init-web}], containers: [{name: consul-dataplane-web}, {name: consul-dataplane}, {name: app}]}`, "app"},
		{"an envoy of one's own does", annotated(), `{containers: [{name: app}, {name: envoy}]}`, "app envoy"},
		{"a listed proxy does", annotated(`gatepass.dev/containers: "app,istio-proxy"`), `{containers: [{name: app}, {name: istio-proxy}, {name: log}]}`, "app istio-proxy"},
		{"a proxy may be excluded as well", annotated(`gatepass.dev/exclude-containers: istio-proxy`), `{containers: [{name: app}, {name: istio-proxy}]}`, "app"},
		{"what the profile leaves out does not", annotated(`gatepass.dev/profile: left-out`), `{containers: [{name: app}, {name: log-shipper}]}`, "app"},
		{"what the profile leaves out and the pod lists does", annotated(`gatepass.dev/profile: left-out`, `gatepass.dev/containers: log-shipper`), `{containers: [{name: app}, {name: log-shipper}]}`, "log-shipper"},
	} {
		t.Run(c.name, func(t *testing.T) {
			raw := podYAML(t, c.metadata, c.spec)
			d := i.Decide(raw)
			if d.Result != injector.Injected || len(d.Warnings) > 0 {
				t.Fatalf("want the pod injected without a warning, got %s: %s %q", d.Result, d.Message(), d.Warnings)
			}
			injected := apply(t, raw, d.Patch)
			if got := sessionReaders(t, injected); got != c.want {
				t.Errorf("want the session in %q, got it in %q", c.want, got)
			}
			checkAdditionsAfterwards(t, i, injected)
		})
	}
}

// sessionReaders names the containers but the agent that mount the session.
func sessionReaders(t *testing.T, raw []byte) string {
	t.Helper()
	var names []string
	spec := object(decodeAny(t, raw)["spec"])
	for _, list := range []string{"initContainers", "containers"} {
		for _, c := range array(spec[list]) {
			for _, m := range array(object(c)["volumeMounts"]) {
				if name, _ := object(c)["name"].(string); object(m)["name"] == injector.SessionVolume && name != injector.AgentContainer {
					names = append(names, name)
				}
			}
		}
	}
	return strings.Join(names, " ")
}

// A mesh's proxy runs as a user of its own; that must not decide who may read
// the application's token.
func TestAProxysUserDoesNotLoosenTheToken(t *testing.T) {
	i := injector.New(profiles(t))
	raw := podYAML(t, annotated(), `{containers: [{name: app, securityContext: {runAsUser: 1000}}, {name: istio-proxy, securityContext: {runAsUser: 1337}}]}`)
	d := i.Decide(raw)
	agent := object(array(object(decodeAny(t, apply(t, raw, d.Patch))["spec"])["initContainers"])[0])
	got := map[string]any{"user": object(agent["securityContext"])["runAsUser"]}
	for _, e := range array(agent["env"]) {
		if object(e)["name"] == "GATEPASS_TOKEN_MODE" {
			got["mode"] = object(e)["value"]
		}
	}
	if diff := cmp.Diff(map[string]any{"user": json.Number("1000"), "mode": "0400"}, got); diff != "" {
		t.Error(diff)
	}
}

// A webhook of an earlier version gave proxies the session; a pod whose second
// call comes to this one is not refused for it.
func TestAProxyThatHasTheSessionAlreadyKeepsIt(t *testing.T) {
	i := injector.New(profiles(t))
	raw := podYAML(t, annotated(), `{containers: [{name: app}, {name: istio-proxy, volumeMounts: [{name: gatepass-session, mountPath: /var/run/gatepass, readOnly: true}]}]}`)
	d := i.Decide(raw)
	if d.Result != injector.Injected {
		t.Fatalf("want the pod injected, got %s: %s", d.Result, d.Message())
	}
	checkAdditionsAfterwards(t, i, apply(t, raw, d.Patch))
}
