package injector

import (
	"reflect"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// Every source of the API that can be read-only by itself is looked at.
func TestVolumesThatAreReadOnlyByThemselves(t *testing.T) {
	kinds := reflect.TypeFor[corev1.VolumeSource]()
	found := 0
	for n := range kinds.NumField() {
		field := kinds.Field(n)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if _, ok := field.Type.Elem().FieldByName("ReadOnly"); !ok {
			continue
		}
		found++
		for value, want := range map[string]bool{`{"readOnly":true}`: true, `{"readOnly":false}`: false, `{}`: false, `null`: false} {
			pod, err := decodePod([]byte(`{"spec":{"volumes":[{"name":"v","` + name + `":` + value + `}]}}`))
			if err != nil {
				t.Fatal(err)
			}
			if got := pod.volume("v").readOnly(); got != want {
				t.Errorf("%s: %s: want read-only %t, got %t", name, value, want, got)
			}
		}
	}
	if found < 15 {
		t.Errorf("only %d sources of the API have a field readOnly", found)
	}
	for name, want := range map[string]bool{"configMap": true, "secret": true, "downwardAPI": true, "projected": true, "image": true, "emptyDir": false, "hostPath": false, "ephemeral": false} {
		pod, err := decodePod([]byte(`{"spec":{"volumes":[{"name":"v","` + name + `":{}}]}}`))
		if err != nil {
			t.Fatal(err)
		}
		if got := pod.volume("v").readOnly(); got != want {
			t.Errorf("%s: want read-only %t, got %t", name, want, got)
		}
	}
}
