package workload_test

import (
	"encoding/json"
	"os"
	"slices"
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
			if len(p.Pods) != 1 || p.Pods[0].Decision.Result != injector.Injected || p.Patch == nil {
				t.Fatalf("want one pod injected, got %+v", p.Pods)
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
	if err != nil || len(p.Pods) > 0 || !p.Unseen || string(p.After) != raw {
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

func TestPodTemplatesOfUnknownKindsAreFoundByTheirShape(t *testing.T) {
	i := newInjector(t)
	const plain = `{"spec":{"containers":[{"name":"app","image":"x"}]}}`
	const knative = `{"metadata":{"annotations":{"gatepass.dev/inject":"true"}},"spec":{"containers":[{"image":"x"}]}}`
	for _, c := range []struct {
		name, raw string
		paths     []string
		injected  int
	}{
		{"a Rollout", `{"apiVersion":"argoproj.io/v1alpha1","kind":"Rollout","spec":{"template":` + podTemplate + `}}`, []string{"spec.template"}, 1},
		{"a Service of Knative, whose container needs no name", `{"apiVersion":"serving.knative.dev/v1","kind":"Service","spec":{"template":` + knative + `}}`, []string{"spec.template"}, 1},
		{"a DeploymentConfig", `{"apiVersion":"apps.openshift.io/v1","kind":"DeploymentConfig","spec":{"template":` + podTemplate + `}}`, []string{"spec.template"}, 1},
		{"a JobSet", `{"apiVersion":"jobset.x-k8s.io/v1alpha2","kind":"JobSet","spec":{"replicatedJobs":[{"name":"a","template":{"spec":{"template":` + podTemplate + `}}},{"name":"b","template":{"spec":{"template":` + plain + `}}}]}}`,
			[]string{"spec.replicatedJobs.0.template.spec.template", "spec.replicatedJobs.1.template.spec.template"}, 1},
		{"two templates, one under a name with a slash and a tilde", `{"kind":"Cluster","spec":{"head":{"template":` + podTemplate + `},"groups":{"a/b~c":` + podTemplate + `}}}`,
			[]string{"spec.groups.a/b~c", "spec.head.template"}, 2},
		{"a kind with a name of Kubernetes' own, of another group", `{"apiVersion":"example.com/v1","kind":"Job","spec":{"pod":` + podTemplate + `}}`, []string{"spec.pod"}, 1},
		{"an object that is a pod by its shape", `{"apiVersion":"serving.knative.dev/v1","kind":"Revision",` + podTemplate[1:], []string{""}, 1},
		{"the schema of a pod is no pod", `{"kind":"CustomResourceDefinition","spec":{"properties":{"spec":{"containers":{"type":"array"}}}}}`, nil, 0},
		{"containers that are no objects are no pod", `{"kind":"Other","spec":{"containers":["a"]}}`, nil, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := workload.Inject(i, []byte(c.raw))
			if err != nil {
				t.Fatal(err)
			}
			var paths []string
			injected := 0
			for _, pod := range p.Pods {
				paths = append(paths, pod.Path)
				if pod.Decision.Result == injector.Injected {
					injected++
				}
			}
			if !slices.Equal(paths, c.paths) || injected != c.injected {
				t.Errorf("want %d of %q injected, got %d of %q", c.injected, c.paths, injected, paths)
			}
			if got := strings.Count(string(p.After), `"name":"gatepass-agent"`); got != c.injected {
				t.Errorf("want %d agents in the object, got %d", c.injected, got)
			}
		})
	}
}

func TestNothingIsSaidOfWhatWasNotLookedAt(t *testing.T) {
	for name, c := range map[string]struct {
		raw    string
		unseen bool
	}{
		"an annotation on an object without a template":    {`{"kind":"PipelineRun","metadata":{"annotations":{"gatepass.dev/inject":"true"}},"spec":{"taskRunTemplate":{"podTemplate":{}}}}`, true},
		"a key somewhere inside":                           {`{"kind":"Chart","spec":{"values":{"podAnnotations":{"gatepass.dev/inject":"true"}}}}`, true},
		"a key in a list":                                  {`{"kind":"Chart","spec":{"steps":[{"labels":{"gatepass.dev/inject":"true"}}]}}`, true},
		"an object that has nothing to do with Gatepass":   {`{"kind":"ConfigMap","data":{"gatepass.yaml":"a"}}`, false},
		"an object whose template was found and looked at": {`{"kind":"Rollout","spec":{"template":` + podTemplate + `}}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := workload.Inject(newInjector(t), []byte(c.raw))
			if err != nil || p.Unseen != c.unseen {
				t.Errorf("want unseen %t, got %t (%v)", c.unseen, p.Unseen, err)
			}
			if said := len(p.Notes) > 0; said != c.unseen {
				t.Errorf("want a note: %t, got %q", c.unseen, p.Notes)
			}
		})
	}
}

func TestAValueWithoutQuotesIsNamedWithItsFix(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"a boolean", "kind: Pod\nmetadata: {annotations: {gatepass.dev/inject: true}}\nspec: {containers: [{name: a}]}",
			`metadata.annotations[gatepass.dev/inject] is true without quotes, and Kubernetes takes strings only; quote it: gatepass.dev/inject: "true"`},
		{"a number", "kind: Pod\nmetadata: {annotations: {gatepass.dev/inject: 'true', gatepass.dev/token-expiration-seconds: 3600}}\nspec: {containers: [{name: a}]}",
			`metadata.annotations[gatepass.dev/token-expiration-seconds] is 3600 without quotes, and Kubernetes takes strings only; quote it: gatepass.dev/token-expiration-seconds: "3600"`},
		{"a label of a template", "kind: Deployment\nspec: {template: {metadata: {labels: {gatepass.dev/inject: true}}, spec: {containers: [{name: a}]}}}",
			`spec.template.metadata.labels[gatepass.dev/inject] is true without quotes, and Kubernetes takes strings only; quote it: gatepass.dev/inject: "true"`},
		{"a key that is not ours, which the API server refuses as well", "kind: Deployment\nmetadata: {annotations: {a: 1}}\nspec: {template: {spec: {containers: [{name: a}]}}}",
			`metadata.annotations[a] is 1 without quotes, and Kubernetes takes strings only; quote it: a: "1"`},
		{"a list", "kind: Pod\nmetadata: {annotations: {gatepass.dev/containers: [a, b]}}\nspec: {containers: [{name: a}]}",
			`metadata.annotations[gatepass.dev/containers] is a list or an object, and Kubernetes takes strings only; quote it`},
	} {
		t.Run(c.name, func(t *testing.T) {
			objects, err := workload.Read(strings.NewReader(c.in))
			if err != nil {
				t.Fatal(err)
			}
			p, err := workload.Inject(newInjector(t), objects[0])
			if err != nil || !slices.Equal(p.Mistakes, []string{c.want}) {
				t.Errorf("want %q, got %q (%v)", c.want, p.Mistakes, err)
			}
		})
	}
}

func TestAKeyThatIsNearlyOursIsPointedOut(t *testing.T) {
	for key, meant := range map[string]string{
		"Gatepass.dev/inject":                 "gatepass.dev/inject",
		"gatepass-dev-agent-requests-cpu":     "gatepass.dev/agent-requests-cpu",
		"gatepass.dev.agent-requests-memory":  "gatepass.dev/agent-requests-memory",
		"gatepass.devinject":                  "gatepass.dev/inject",
		"gatepass/inject":                     "gatepass.dev/inject",
		"gatepas.dev/inject":                  "gatepass.dev/inject",
		"gatepass.de/mode":                    "gatepass.dev/mode",
		"GATEPASS_DEV_TOKEN_FILE":             "gatepass.dev/token-file",
		"gatepass.dev/inject":                 "",
		"prometheus.io/scrape":                "",
		"app.kubernetes.io/name":              "",
		"gatepass-checksum":                   "",
		"vault.hashicorp.com/agent-inject":    "",
		"getambassador.io/gatepass.dev-route": "",
	} {
		t.Run(key, func(t *testing.T) {
			raw := `{"kind":"Deployment","spec":{"template":{"metadata":{"annotations":{"` + key + `":"true"}},"spec":{"containers":[{"name":"app"}]}}}}`
			p, err := workload.Inject(newInjector(t), []byte(raw))
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			if meant != "" {
				want = []string{"annotation " + key + " looks like one of Gatepass, but has no effect; did you mean " + meant + "?"}
			}
			if !slices.Equal(p.Notes, want) {
				t.Errorf("want %q, got %q", want, p.Notes)
			}
		})
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
