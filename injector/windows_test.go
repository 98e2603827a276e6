package injector

import "testing"

func TestPodsForWindows(t *testing.T) {
	required := func(terms string) string {
		return `{"affinity":{"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[` + terms + `]}}},"containers":[{"name":"a"}]}`
	}
	term := func(key, operator, values string) string {
		return `{"matchExpressions":[{"key":"zone","operator":"Exists"},{"key":"` + key + `","operator":"` + operator + `","values":[` + values + `]}]}`
	}
	const options = `"securityContext":{"windowsOptions":{"runAsUserName":"ContainerUser"}}`
	for _, c := range []struct {
		name, spec string
		want       bool
	}{
		{"its os", `{"os":{"name":"windows"}}`, true},
		{"its node selector", `{"nodeSelector":{"kubernetes.io/os":"windows"}}`, true},
		{"its old node selector", `{"nodeSelector":{"beta.kubernetes.io/os":"windows"}}`, true},
		{"a build of Windows", `{"nodeSelector":{"node.kubernetes.io/windows-build":"10.0.20348"}}`, true},
		{"options of the pod", `{` + options + `,"containers":[{"name":"a"}]}`, true},
		{"options of a container", `{"containers":[{"name":"a"},{"name":"b",` + options + `}]}`, true},
		{"options of an init container", `{"initContainers":[{"name":"i",` + options + `}],"containers":[{"name":"a"}]}`, true},
		{"a process of the host", `{"securityContext":{"windowsOptions":{"hostProcess":true}},"hostNetwork":true}`, true},
		{"required affinity", required(term("kubernetes.io/os", "In", `"windows"`)), true},
		{"required affinity by the old label", required(term("beta.kubernetes.io/os", "In", `"windows"`)), true},
		{"required affinity that is not Linux", required(term("kubernetes.io/os", "NotIn", `"linux"`)), true},
		{"required affinity of every term", required(term("kubernetes.io/os", "In", `"windows"`) + "," + term("node.kubernetes.io/windows-build", "Exists", "")), true},

		{"nothing", `{"containers":[{"name":"a"}]}`, false},
		{"Linux by its os", `{"os":{"name":"linux"}}`, false},
		{"Linux by its node selector", `{"nodeSelector":{"kubernetes.io/os":"linux"},` + options + `}`, false},
		{"Linux by its old node selector", `{"nodeSelector":{"beta.kubernetes.io/os":"linux"},` + options + `}`, false},
		{"options that are an empty object", `{"securityContext":{"windowsOptions":{ }}}`, false},
		{"options that are null", `{"securityContext":{"windowsOptions":null}}`, false},
		{"affinity to either", required(term("kubernetes.io/os", "In", `"linux","windows"`)), false},
		{"one term of two", required(term("kubernetes.io/os", "In", `"windows"`) + "," + term("kubernetes.io/os", "In", `"linux"`)), false},
		{"affinity that is not Windows", required(term("kubernetes.io/os", "NotIn", `"windows"`)), false},
		{"affinity by another label", required(term("os", "In", `"windows"`)), false},
		{"affinity to Linux beside options", `{"affinity":{"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[` + term("kubernetes.io/os", "In", `"linux"`) + `]}}},` + options + `}`, false},
		{"preferred affinity", `{"affinity":{"nodeAffinity":{"preferredDuringSchedulingIgnoredDuringExecution":[{"weight":1,"preference":` + term("kubernetes.io/os", "In", `"windows"`) + `}]}}}`, false},
		{"a toleration", `{"tolerations":[{"key":"os","value":"windows"}]}`, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			pod, err := decodePod([]byte(`{"spec":` + c.spec + `}`))
			if err != nil {
				t.Fatal(err)
			}
			if got := pod.windows(); got != c.want {
				t.Errorf("want %t, got %t", c.want, got)
			}
		})
	}
}
