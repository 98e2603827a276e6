package injector

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatepass/gatepass/injector/profile"
)

func TestTheAgentKeepsThePodsQualityOfService(t *testing.T) {
	ofProfile := profile.Resources{Requests: profile.Amounts{CPU: "10m", Memory: "16Mi"}, Limits: profile.Amounts{Memory: "32Mi"}}
	guaranteed := func(cpu, memory string) profile.Resources {
		a := profile.Amounts{CPU: cpu, Memory: memory}
		return profile.Resources{Requests: a, Limits: a}
	}
	for _, row := range []struct {
		name, spec string
		in         profile.Resources
		given      bool
		want       profile.Resources
		warns      bool
	}{
		{"a pod without resources gets the profile's", `{"containers":[{"name":"a"}]}`, ofProfile, false, ofProfile, false},
		{"a Burstable pod gets the profile's", `{"containers":[{"name":"a","resources":{"requests":{"cpu":"1"}}}]}`, ofProfile, false, ofProfile, false},
		{"a pod in which one container is not Guaranteed gets the profile's", `{"containers":[{"name":"a","resources":{"limits":{"cpu":"1","memory":"1Gi"}}},{"name":"b"}]}`, ofProfile, false, ofProfile, false},
		{"a limit without memory is not Guaranteed", `{"containers":[{"name":"a","resources":{"limits":{"cpu":"1"}}}]}`, ofProfile, false, ofProfile, false},
		{"a request below the limit is not Guaranteed", `{"containers":[{"name":"a","resources":{"requests":{"cpu":"1"},"limits":{"cpu":"2","memory":"1Gi"}}}]}`, ofProfile, false, ofProfile, false},
		{"a Guaranteed pod stays so", `{"containers":[{"name":"a","resources":{"requests":{"cpu":"1","memory":"1Gi"},"limits":{"cpu":"1","memory":"1Gi"}}}]}`, ofProfile, false, guaranteed("100m", "32Mi"), false},
		{"limits alone are Guaranteed", `{"containers":[{"name":"a","resources":{"limits":{"cpu":"1","memory":"1Gi"}}}]}`, ofProfile, false, guaranteed("100m", "32Mi"), false},
		{"amounts are compared and not their texts", `{"containers":[{"name":"a","resources":{"requests":{"cpu":"1000m","memory":"1024Mi"},"limits":{"cpu":1,"memory":"1Gi"}}}]}`, ofProfile, false, guaranteed("100m", "32Mi"), false},
		{"init containers count", `{"initContainers":[{"name":"i"}],"containers":[{"name":"a","resources":{"limits":{"cpu":"1","memory":"1Gi"}}}]}`, ofProfile, false, ofProfile, false},
		{"the profile's limit is kept in a Guaranteed pod", `{"containers":[{"name":"a","resources":{"limits":{"cpu":"1","memory":"1Gi"}}}]}`,
			profile.Resources{Limits: profile.Amounts{CPU: "50m"}}, false, guaranteed("50m", "32Mi"), false},
		{"the profile's request for memory is taken if it has no limit", `{"containers":[{"name":"a","resources":{"limits":{"cpu":"1","memory":"1Gi"}}}]}`,
			profile.Resources{Requests: profile.Amounts{Memory: "20Mi"}}, false, guaranteed("100m", "20Mi"), false},
		{"a pod with resources of its own shares them", `{"resources":{"limits":{"cpu":"2"}},"containers":[{"name":"a"}]}`, ofProfile, false, profile.Resources{}, false},
		{"null is no resources", `{"resources":null,"containers":[{"name":"a","resources":null}]}`, ofProfile, false, ofProfile, false},
		{"what the pod asks for itself is taken, with a warning", `{"containers":[{"name":"a","resources":{"limits":{"cpu":"1","memory":"1Gi"}}}]}`, ofProfile, true, ofProfile, true},
		{"what the pod asks for itself may be Guaranteed", `{"containers":[{"name":"a","resources":{"limits":{"cpu":"1","memory":"1Gi"}}}]}`,
			profile.Resources{Requests: profile.Amounts{CPU: "0.2"}, Limits: profile.Amounts{CPU: "200m", Memory: "1Mi"}}, true,
			profile.Resources{Requests: profile.Amounts{CPU: "0.2"}, Limits: profile.Amounts{CPU: "200m", Memory: "1Mi"}}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			pod, err := decodePod([]byte(`{"spec":` + row.spec + `}`))
			if err != nil {
				t.Fatal(err)
			}
			s, d := &settings{resources: row.in, resourcesGiven: row.given}, new(Decision)
			s.fitResources(pod, d)
			if diff := cmp.Diff(row.want, s.resources); diff != "" {
				t.Error(diff)
			}
			if (len(d.Warnings) > 0) != row.warns {
				t.Errorf("warnings: %q", d.Warnings)
			}
		})
	}
}
