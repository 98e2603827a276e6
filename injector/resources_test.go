package injector

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatepass/gatepass/agent/config"
	"github.com/gatepass/gatepass/injector/profile"
)

// An autoscaler of pods computes with the requests of all containers that run
// as long as the pod.
func TestASidecarDoesNotStopAnAutoscaler(t *testing.T) {
	const cpu, both = `"resources":{"requests":{"cpu":"1"}}`, `"resources":{"requests":{"cpu":"1"},"limits":{"memory":"1Gi"}}`
	memory := profile.Resources{Requests: profile.Amounts{Memory: "8Mi"}}
	for _, row := range []struct {
		name, spec string
		mode       config.Mode
		in, want   profile.Resources
	}{
		{"a pod that requests CPU gets a sidecar that does", `{"containers":[{"name":"a",` + cpu + `}]}`, config.ModeSidecar,
			memory, profile.Resources{Requests: profile.Amounts{CPU: "10m", Memory: "8Mi"}}},
		{"a pod that requests both gets both", `{"containers":[{"name":"a",` + both + `}]}`, config.ModeSidecar,
			profile.Resources{}, profile.Resources{Requests: profile.Amounts{CPU: "10m", Memory: "16Mi"}}},
		{"local storage of the profile's stays", `{"containers":[{"name":"a",` + cpu + `}]}`, config.ModeSidecar,
			profile.Resources{Limits: profile.Amounts{EphemeralStorage: "8Mi"}}, profile.Resources{Requests: profile.Amounts{CPU: "10m"}, Limits: profile.Amounts{EphemeralStorage: "8Mi"}}},
		{"a limit is a request", `{"containers":[{"name":"a",` + cpu + `}]}`, config.ModeSidecar,
			profile.Resources{Limits: profile.Amounts{CPU: "1"}}, profile.Resources{Limits: profile.Amounts{CPU: "1"}}},
		{"an agent that ends before the application needs none", `{"containers":[{"name":"a",` + cpu + `}]}`, config.ModeInit, memory, memory},
		{"a pod that no autoscaler can scale stays as it is", `{"containers":[{"name":"a",` + cpu + `},{"name":"b"}]}`, config.ModeSidecar, memory, memory},
		{"another native sidecar without a request counts", `{"initContainers":[{"name":"s","restartPolicy":"Always"}],"containers":[{"name":"a",` + cpu + `}]}`, config.ModeSidecar, memory, memory},
		{"an init container does not count", `{"initContainers":[{"name":"i"}],"containers":[{"name":"a",` + cpu + `}]}`, config.ModeSidecar,
			memory, profile.Resources{Requests: profile.Amounts{CPU: "10m", Memory: "8Mi"}}},
		{"a BestEffort pod stays BestEffort", `{"containers":[{"name":"a"}]}`, config.ModeSidecar, profile.Resources{}, profile.Resources{}},
		{"a pod with resources of its own shares them", `{"resources":{"requests":{"cpu":"2"}},"containers":[{"name":"a",` + cpu + `}]}`, config.ModeSidecar, memory, profile.Resources{}},
	} {
		t.Run(row.name, func(t *testing.T) {
			pod, err := decodePod([]byte(`{"spec":` + row.spec + `}`))
			if err != nil {
				t.Fatal(err)
			}
			s, d := &settings{resources: row.in}, new(Decision)
			s.agent.Mode = row.mode
			s.fitResources(pod, d)
			if diff := cmp.Diff(row.want, s.resources); diff != "" {
				t.Error(diff)
			}
			if len(d.Warnings) > 0 {
				t.Errorf("warnings: %q", d.Warnings)
			}
		})
	}
}

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
		{"huge pages of the pod's own are shared as well", `{"resources":{"requests":{"hugepages-2Mi":"4Mi"}},"containers":[{"name":"a"}]}`, ofProfile, false, profile.Resources{}, false},
		{"an empty object is no resources of the pod's own", `{"resources":{},"containers":[{"name":"a"}]}`, ofProfile, false, ofProfile, false},
		{"empty requests and limits are no resources of the pod's own", `{"resources":{"requests":{},"limits":null},"containers":[{"name":"a"}]}`, ofProfile, false, ofProfile, false},
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
