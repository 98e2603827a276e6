package injector_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatepass/gatepass/injector"
)

// The Secrets for the agent's image are added to the pod's, none twice.
func TestSecretsForTheAgentsImage(t *testing.T) {
	i := injector.New(profiles(t))
	for _, c := range []struct {
		name, spec string
		want       []any
	}{
		{"a pod without any", `{containers: [{name: app}]}`, []any{"mirror", "shared"}},
		{"a pod with an empty list", `{imagePullSecrets: [], containers: [{name: app}]}`, []any{"mirror", "shared"}},
		{"a pod with null", `{imagePullSecrets: null, containers: [{name: app}]}`, []any{"mirror", "shared"}},
		{"a pod with others", `{imagePullSecrets: [{name: team}], containers: [{name: app}]}`, []any{"team", "mirror", "shared"}},
		{"a pod with one of them", `{imagePullSecrets: [{name: shared}, {name: team}], containers: [{name: app}]}`, []any{"shared", "team", "mirror"}},
		{"a pod with both", `{imagePullSecrets: [{name: shared}, {name: mirror}], containers: [{name: app}]}`, []any{"shared", "mirror"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			raw := podYAML(t, annotated(`gatepass.dev/profile: pulled`), c.spec)
			d := i.Decide(raw)
			if d.Result != injector.Injected {
				t.Fatalf("want the pod injected, got %s: %s", d.Result, d.Message())
			}
			injected := apply(t, raw, d.Patch)
			var got []any
			for _, s := range array(object(decodeAny(t, injected)["spec"])["imagePullSecrets"]) {
				got = append(got, object(s)["name"])
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			checkAdditionsAfterwards(t, i, injected)
		})
	}
}
