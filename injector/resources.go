package injector

import (
	"bytes"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/gatepass/gatepass/agent/config"
	"github.com/gatepass/gatepass/injector/profile"
)

// What the agent gets in a Guaranteed pod where its profile has no limit. An
// init container's share does not add to the application's: Kubernetes takes
// the larger of the two. With a tenth of a core a login is not throttled: it
// takes some 10 ms of CPU, and the quota is 10 ms in each 100.
const (
	guaranteedCPU    = "100m"
	guaranteedMemory = "32Mi"
)

// The fields of a container's resources.
const (
	fieldRequests = "requests"
	fieldLimits   = "limits"
)

// resourcesView is what a container or a pod requests and is limited to.
type resourcesView struct {
	Requests amountsView `json:"requests"`
	Limits   amountsView `json:"limits"`
}

// amountsView holds quantities as JSON: strings, or numbers.
type amountsView struct {
	CPU    quantity `json:"cpu"`
	Memory quantity `json:"memory"`
}

// poolView is what the pod has as a whole.
type poolView struct {
	Requests map[string]quantity `json:"requests"`
	Limits   map[string]quantity `json:"limits"`
}

// pooled reports whether the pod has resources of its own, which its containers
// share. An empty object, as templates leave it, is none.
func (p *podView) pooled() bool {
	r := p.Spec.Resources
	return r != nil && len(r.Requests)+len(r.Limits) > 0
}

// fitResources keeps the pod's quality of service, which Kubernetes derives
// from the resources of all containers together: an agent with other requests
// than limits would make a Guaranteed pod Burstable, and with any request it
// would become the sum from which the API server defaults the request of a
// pod with limits of its own (spec.resources).
func (s *settings) fitResources(pod *podView, d *Decision) {
	switch {
	case s.resourcesGiven:
		if pod.guaranteed() && !even(s.resources) {
			d.warn("the agent's resources make this pod Burstable, which without them is Guaranteed; give it equal requests and limits for cpu and memory, or remove the annotations %sagent-requests-… and agent-limits-…", Prefix)
		}
	case pod.pooled():
		// A pod's own resources are of CPU and memory (and huge pages).
		s.resources.Requests.CPU, s.resources.Requests.Memory = "", ""
		s.resources.Limits.CPU, s.resources.Limits.Memory = "", ""
		return
	case pod.guaranteed():
		cpu := first(s.resources.Limits.CPU, larger(s.resources.Requests.CPU, guaranteedCPU))
		memory := first(s.resources.Limits.Memory, s.resources.Requests.Memory, guaranteedMemory)
		s.resources.Requests.CPU, s.resources.Requests.Memory = cpu, memory
		s.resources.Limits.CPU, s.resources.Limits.Memory = cpu, memory
	}
	if s.agent.Mode == config.ModeSidecar {
		s.keepScalable(pod)
	}
}

// What a sidecar requests where its profile says nothing and the pod's other
// containers do.
const (
	sidecarCPU    = "10m"
	sidecarMemory = "16Mi"
)

// keepScalable gives a sidecar a request where all other containers have one:
// a HorizontalPodAutoscaler computes the share of what is requested, and stops
// when one container of the pod, native sidecars included, requests nothing
// (calculatePodRequestsFromContainers in
// k8s.io/kubernetes/pkg/controller/podautoscaler). In
// other pods no such autoscaler works, and a BestEffort pod stays one.
func (s *settings) keepScalable(pod *podView) {
	requests, limits := &s.resources.Requests, &s.resources.Limits
	if requests.CPU == "" && limits.CPU == "" && pod.allRequest(func(a *amountsView) quantity { return a.CPU }) {
		requests.CPU = sidecarCPU
	}
	if requests.Memory == "" && limits.Memory == "" && pod.allRequest(func(a *amountsView) quantity { return a.Memory }) {
		requests.Memory = sidecarMemory
	}
}

// allRequest reports whether all containers that run as long as the pod
// request an amount. A limit alone is a request as well.
func (p *podView) allRequest(of func(*amountsView) quantity) bool {
	for _, c := range p.applications() {
		if c.list == "initContainers" && c.RestartPolicy != "Always" {
			continue
		}
		if r := c.Resources; r == nil || absent(of(&r.Requests)) && absent(of(&r.Limits)) {
			return false
		}
	}
	return true
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

func larger(a, b string) string {
	x, err := profile.ParseQuantity(a)
	if y, err2 := profile.ParseQuantity(b); err != nil || err2 == nil && x.Cmp(y) < 0 {
		return b
	}
	return a
}

func even(r profile.Resources) bool {
	return r.Limits.CPU != "" && r.Limits.Memory != "" &&
		equal(first(r.Requests.CPU, r.Limits.CPU), r.Limits.CPU) &&
		equal(first(r.Requests.Memory, r.Limits.Memory), r.Limits.Memory)
}

// guaranteed reports whether the pod has the quality of service Guaranteed
// (ComputePodQOS in k8s.io/kubernetes): every container has limits for cpu and
// memory, and requests that equal them.
func (p *podView) guaranteed() bool {
	for _, c := range p.applications() {
		r := c.Resources
		if r == nil || !fixed(r.Requests.CPU, r.Limits.CPU) || !fixed(r.Requests.Memory, r.Limits.Memory) {
			return false
		}
	}
	return true
}

// quantity is an amount as it stands in JSON.
type quantity []byte

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (q *quantity) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	raw, err := dec.ReadValue()
	*q = append((*q)[:0], raw...)
	return err
}

// fixed reports whether there is a limit, and no other request.
func fixed(request, limit quantity) bool {
	if absent(limit) {
		return false
	}
	return absent(request) || bytes.Equal(request, limit) ||
		equal(strings.Trim(string(request), `"`), strings.Trim(string(limit), `"`))
}

func absent(q quantity) bool { return len(q) == 0 || string(q) == "null" }

// anything is a JSON value of which only matters whether something is there.
type anything []byte

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (a *anything) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	return (*quantity)(a).UnmarshalJSONFrom(dec)
}

// hasContent reports whether there is a value, and not an empty object.
func hasContent(a anything) bool {
	return !absent(quantity(a)) && len(bytes.Trim(a, " \t\r\n{}")) > 0
}

func equal(a, b string) bool {
	x, err := profile.ParseQuantity(a)
	if err != nil {
		return false
	}
	y, err := profile.ParseQuantity(b)
	return err == nil && x.Cmp(y) == 0
}
