package workload_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/gatepass/gatepass/injector"
	"github.com/gatepass/gatepass/injector/profile"
	"github.com/gatepass/gatepass/injector/workload"
)

func newInjector(t *testing.T) *injector.Injector {
	t.Helper()
	data, err := os.ReadFile("../testdata/config.yaml")
	if err != nil {
		t.Fatal(err)
	}
	set, err := profile.Parse(data, profile.Options{ReadFile: os.ReadFile, Overridable: injector.Overridable()})
	if err != nil {
		t.Fatal(err)
	}
	return injector.New(set)
}

const podTemplate = `{"metadata":{"annotations":{"gatepass.dev/inject":"true"}},"spec":{"containers":[{"name":"app","image":"x"}]}}`

func TestThePodTemplateOfEachKindIsInjected(t *testing.T) {
	i := newInjector(t)
	at := func(path ...string) string {
		out := podTemplate
		for n := len(path) - 1; n >= 0; n-- {
			out = `{"` + path[n] + `":` + out + `}`
		}
		return out[1 : len(out)-1]
	}
	for kind, path := range map[string][]string{
		"Pod": nil, "Deployment": {"spec", "template"}, "ReplicaSet": {"spec", "template"}, "StatefulSet": {"spec", "template"},
		"DaemonSet": {"spec", "template"}, "Job": {"spec", "template"}, "ReplicationController": {"spec", "template"},
		"CronJob": {"spec", "jobTemplate", "spec", "template"}, "PodTemplate": {"template"},
	} {
		t.Run(kind, func(t *testing.T) {
			raw := `{"kind":"` + kind + `",` + at(path...) + `}`
			p, err := workload.Inject(i, []byte(raw))
			if err != nil {
				t.Fatal(err)
			}
			if p.Decision.Result != injector.Injected || p.Patch == nil {
				t.Fatalf("want it injected, got %s: %s", p.Decision.Result, p.Decision.Message())
			}
			var v any
			if err := json.Unmarshal(p.After, &v); err != nil {
				t.Fatal(err)
			}
			for _, name := range append(path, "spec", "initContainers") {
				fields, ok := v.(map[string]any)
				if !ok {
					t.Fatalf("there is no object around %s: %v", name, v)
				}
				v = fields[name]
			}
			var agents []struct{ Name string }
			list, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(list, &agents); err != nil || len(agents) != 1 || agents[0].Name != "gatepass-agent" {
				t.Errorf("want the agent in the pod's template, got %s", list)
			}
		})
	}
}

func TestObjectsWithoutPodsStayAsTheyAre(t *testing.T) {
	raw := `{"kind":"Service","metadata":{"annotations":{"gatepass.dev/inject":"true"}},"spec":{"ports":[]}}`
	p, err := workload.Inject(newInjector(t), []byte(raw))
	if err != nil || p.HasPod || string(p.After) != raw {
		t.Errorf("want the Service unchanged, got %s (%v)", p.After, err)
	}
}

func TestAnOptInOnTheWorkloadIsNoticed(t *testing.T) {
	raw := `{"kind":"Deployment","metadata":{"name":"app","annotations":{"gatepass.dev/inject":"true"}},"spec":{"template":{"spec":{"containers":[{"name":"app"}]}}}}`
	p, err := workload.Inject(newInjector(t), []byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	want := "annotation gatepass.dev/inject is set on the Deployment, where it has no effect; move it to spec.template.metadata.annotations"
	if len(p.Notes) != 1 || p.Notes[0] != want {
		t.Errorf("want %q, got %q", want, p.Notes)
	}
}

func TestAWorkloadWithoutATemplateIsAnError(t *testing.T) {
	_, err := workload.Inject(newInjector(t), []byte(`{"kind":"Deployment","metadata":{"name":"app"},"spec":{}}`))
	if err == nil || !strings.Contains(err.Error(), "Deployment app: it has no spec.template") {
		t.Errorf("want the missing template named, got %v", err)
	}
}

func TestRead(t *testing.T) {
	for _, c := range []struct {
		name, in string
		kinds    string
		err      string
	}{
		{"one object", "kind: Pod", "Pod", ""},
		{"several documents, an empty one and a comment", "kind: Pod\n---\n---\n# nothing\n---\nkind: Service\n", "Pod Service", ""},
		{"JSON", `{"kind":"Pod"}`, "Pod", ""},
		{"a List", "kind: List\nitems: [{kind: Pod}, {kind: Job}]", "Pod Job", ""},
		{"a typed list", "kind: PodList\nitems: [{kind: Pod}]", "Pod", ""},
		{"nothing", "", "", ""},
		{"a document that is no YAML", "kind: Pod\n---\na: [", "", "document 2 is not valid YAML"},
		{"a key given twice", "kind: Pod\nkind: Job", "", "document 1 is not valid YAML"},
		{"a document without a kind", "metadata: {}", "", "document 1 has no kind"},
		{"a document that is a list", "[1]", "", "document 1 is not a Kubernetes object"},
	} {
		t.Run(c.name, func(t *testing.T) {
			objects, err := workload.Read(strings.NewReader(c.in))
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("want an error with %q, got %v", c.err, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var kinds []string
			for _, raw := range objects {
				var o struct{ Kind string }
				if err := yaml.Unmarshal(raw, &o); err != nil {
					t.Fatal(err)
				}
				kinds = append(kinds, o.Kind)
			}
			if got := strings.Join(kinds, " "); got != c.kinds {
				t.Errorf("want %q, got %q", c.kinds, got)
			}
		})
	}
}
