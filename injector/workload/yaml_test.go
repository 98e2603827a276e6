package workload_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/gatepass/gatepass/injector/workload"
)

func TestYAMLBeginsWithWhatAThingIs(t *testing.T) {
	got, err := workload.YAML([]byte(`{"spec":{"containers":[{"env":[{"value":"true","name":"A"}],"image":"x","name":"app","args":["1","a\nb\n",null,1.50,12345678901234567890]}],"empty":{},"none":[]},` +
		`"metadata":{"annotations":{"gatepass.dev/inject":"true","b":"","a":"~"},"name":"app"},"kind":"Pod","apiVersion":"v1"}`))
	if err != nil {
		t.Fatal(err)
	}
	want := `apiVersion: v1
kind: Pod
metadata:
  name: app
  annotations:
    a: "~"
    b: ""
    gatepass.dev/inject: "true"
spec:
  containers:
    - name: app
      image: x
      args:
        - "1"
        - |
          a
          b
        - null
        - 1.50
        - 12345678901234567890
      env:
        - name: A
          value: "true"
  empty: {}
  none: []
`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
}

// What is written must mean the same to the library that kubectl reads with.
func checkRoundTrip(t *testing.T, text string) {
	t.Helper()
	before, err := json.Marshal(map[string]any{text: text, "list": []string{text}})
	if err != nil {
		t.Fatal(err)
	}
	written, err := workload.YAML(before)
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	var want, got any
	if err := json.Unmarshal(before, &want); err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict(written, &got); err != nil {
		t.Fatalf("%q became what kubectl can't read: %v\n%s", text, err, written)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("%q became something else: %s\n%s", text, diff, written)
	}
}

func TestTextsStayTexts(t *testing.T) {
	for _, text := range []string{"", "y", "Y", "n", "N", "yes", "No", "on", "OFF", "true", "False", "null", "~", "1", "-1", "+1", "0777", "0o17", "0x1f", "0b1", "1_000", "1:30", "190:20:30.15",
		"1.5", "1e3", ".5", ".inf", ".NaN", "-.Inf", "2001-01-01", "2001-12-14t21:59:43.10-05:00", "=", "<<", "a: b", "- a", "# no", "a #b", "'", `"`, "a\nb", " a", "a ", "\t", "{}", "[]", "*a", "&a", "!a", "|", ">", "%", "@", "`", "数据", "\U0001f511", "\u2028", "a\n", "\n", "1e-9999999"} {
		checkRoundTrip(t, text)
	}
}

func FuzzYAML(f *testing.F) {
	f.Add("yes")
	f.Add("1:30")
	f.Fuzz(func(t *testing.T, text string) {
		// A YAML parser takes keys of 1024 characters; Kubernetes has none of 400.
		if text != "list" && len(text) < 100 {
			checkRoundTrip(t, text)
		}
	})
}
