package workload_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

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
