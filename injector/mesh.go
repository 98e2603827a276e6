package injector

import "strings"

// meshContainer reports whether a container is of a service mesh: its proxy,
// as sidecar or native sidecar, or what sets up the redirection to it. The
// names are those that the meshes' injectors give: Istio
// (manifests/charts/istio-control/istio-discovery/files), Linkerd
// (charts/partials), Kuma (pkg/plugins/runtime/k8s/util) and Consul
// (control-plane/connect-inject), which adds the service's name where a pod has
// several ports. A mesh has its own identity and no use for the session, and
// its proxy runs as a user of its own, which no file mode for the application's
// would suit. A plain "envoy" may be anybody's, and is not among them.
func meshContainer(name string) bool {
	switch name {
	case "istio-proxy", "istio-init", "istio-validation", "enable-core-dump",
		"linkerd-proxy", "linkerd-init", "linkerd-network-validator",
		"kuma-sidecar", "kuma-init", "kuma-validation":
		return true
	}
	return strings.HasPrefix(name, "consul-dataplane") || strings.HasPrefix(name, "consul-connect-inject-init")
}

// leavesOut reports whether the container gets no session unless the pod lists
// it.
func (s *settings) leavesOut(name string) bool { return s.leftOut[name] || meshContainer(name) }
