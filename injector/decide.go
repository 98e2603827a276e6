package injector

import (
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/gatepass/gatepass/agent/config"
	"github.com/gatepass/gatepass/injector/profile"
)

// Injector decides about pods by one set of profiles. It is never changed, so
// any number of goroutines may use it.
type Injector struct {
	profiles    *profile.Set
	annotations map[string]Annotation
	names       []string
}

// New returns an Injector for the profiles.
func New(profiles *profile.Set) *Injector {
	i := &Injector{profiles: profiles, annotations: map[string]Annotation{}}
	for _, a := range Annotations() {
		i.annotations[a.Name] = a
		i.names = append(i.names, a.Name)
	}
	return i
}

// Decide says what happens to the pod with this JSON, as the API server sent
// it. Equal pods get equal decisions, byte by byte.
func (i *Injector) Decide(raw []byte) Decision {
	d := new(Decision)
	pod, err := decodePod(raw)
	if err != nil {
		d.deny(ReasonMalformedPod, "%v", err)
		return *d.conclude()
	}
	d.Pod = pod.displayName()
	names := ours(pod.Metadata.Annotations)
	switch {
	case len(names) == 0 && len(ours(pod.Metadata.Labels)) == 0:
		return *d.close(Skipped, ReasonNotRequested)
	case pod.mirror():
		d.warn("a static pod is run by its kubelet, not by the API server; it gets no session")
		return *d.close(Skipped, ReasonMirrorPod)
	}
	wanted := i.wanted(pod, names, d)
	switch {
	case wanted && len(pod.Spec.Containers) == 0:
		d.deny(ReasonMalformedPod, "the pod has no spec.containers")
	case wanted:
		i.inject(pod, names, d)
	case !d.refused():
		d.skip(pod)
	}
	return *d.conclude()
}

func (d *Decision) skip(pod *podView) {
	if _, ok := pod.Metadata.Annotations[Prefix+keyStatus]; ok {
		d.warn("annotation %[1]sstatus means nothing to Gatepass, and this pod gets no session; add %[1]sinject: \"true\" to get one", Prefix)
	}
	if _, ok := pod.Metadata.Annotations[Prefix+keyInject]; ok || pod.Metadata.Labels[Prefix+keyInject] != "" {
		d.close(Skipped, ReasonOptedOut)
		return
	}
	d.close(Skipped, ReasonNotRequested)
}

func (i *Injector) inject(pod *podView, names []string, d *Decision) {
	if pod.windows() {
		d.deny(ReasonWindows, "the pod is for Windows nodes, for which there is no agent; remove %sinject", Prefix)
	}
	s := i.settle(pod, names, d)
	if s == nil {
		return
	}
	s.fitResources(pod, d)
	if pod.Spec.HostNetwork {
		// Its ports are the node's, and one for all pods of the profile.
		s.agent.MetricsAddress = ""
	}
	get := readers(pod, s, d)
	injected := present(pod, get, s, d)
	checkOurVolumes(pod, get, s, d)
	for n := range get {
		checkMounts(pod, &get[n], s, d)
	}
	if d.refused() {
		return
	}
	id := chooseIdentity(pod, get, s)
	if injected {
		id.keep(pod.agent())
	}
	i.warn(pod, get, s, id, injected, d)
	d.Patch = additions(pod, get, s, id, injected)
	switch {
	case len(d.Patch) > maxPatch:
		d.deny(ReasonTooLarge, "the additions to this pod would have more than %d bytes, which etcd does not take; list the containers that need the session in %scontainers", maxPatch, Prefix)
	case d.Patch == nil:
		d.close(Unchanged, ReasonAlreadyInjected)
	case injected:
		d.close(Injected, ReasonCompleted)
	default:
		d.close(Injected, ReasonInjected)
	}
}

// maxPatch bounds the additions: etcd takes objects up to 1.5 MiB (its
// --max-request-bytes), and the pod needs its share.
const maxPatch = 1 << 20

// additions computes the patch. Paths count places in the raw object, so the
// agent, which moves the init containers behind it, comes last.
func additions(pod *podView, get []container, s *settings, id identity, injected bool) []byte {
	p := new(patch)
	if _, ok := pod.Metadata.Annotations[Prefix+keyStatus]; !ok {
		p.status(pod.Metadata.Annotations == nil)
	}
	p.pullSecrets(pod, s)
	if !injected {
		p.volumes(s, pod.Spec.Volumes == nil)
	}
	for n := range get {
		if p.container(&get[n], s); len(p.buf) > maxPatch {
			break
		}
	}
	if !injected {
		if pod.Spec.InitContainers == nil {
			p.add("spec", "initContainers")
			p.raw("[")
			p.agentContainer(s, id)
			p.raw("]")
		} else {
			p.add("spec", "initContainers", "0")
			p.agentContainer(s, id)
		}
		p.end()
	}
	return p.document()
}

func (p *patch) status(missing bool) {
	const value = `"` + statusInjected + `"`
	if missing {
		p.add("metadata", "annotations")
		p.raw(`{"` + Prefix + keyStatus + `":` + value + `}`)
	} else {
		// RFC 6901 writes a slash in a key as ~1.
		p.add("metadata", "annotations", "gatepass.dev~1"+keyStatus)
		p.raw(value)
	}
	p.end()
}

// pullSecrets adds the profile's Secrets for the agent's image where the pod
// does not list them. What a service account has for its pods is there already:
// the ServiceAccount admission plugin gives it to pods without any, and comes
// before webhooks (AllOrderedPlugins in k8s.io/kubernetes/pkg/kubeapiserver/options).
func (p *patch) pullSecrets(pod *podView, s *settings) {
	open := pod.Spec.PullSecrets == nil
	for _, name := range s.pullSecrets {
		if slices.Contains(pod.Spec.PullSecrets, referenceView{name}) {
			continue
		}
		if open {
			p.add("spec", "imagePullSecrets")
			p.raw("[]")
			p.end()
			open = false
		}
		p.add("spec", "imagePullSecrets", "-")
		p.raw("{")
		p.textField("name", name)
		p.raw("}")
		p.end()
	}
}

func (p *patch) volumes(s *settings, missing bool) {
	if missing {
		p.add("spec", "volumes")
		p.raw("[")
		p.sessionVolume()
		p.raw(",")
		p.identityVolume(s)
		p.raw("]")
		p.end()
		return
	}
	p.add("spec", "volumes", "-")
	p.sessionVolume()
	p.end()
	p.add("spec", "volumes", "-")
	p.identityVolume(s)
	p.end()
}

// container adds the session's mount and the variable that names its file,
// where they are not there yet. The variable goes first, so that variables of
// the application can refer to it.
func (p *patch) container(c *container, s *settings) {
	index := strconv.Itoa(c.index)
	if c.env(TokenFileEnv) == nil {
		if c.Env == nil {
			p.add("spec", c.list, index, "env")
			p.raw(`[{"name":"` + TokenFileEnv + `"`)
			p.textField("value", literal(s.tokenPath()))
			p.raw("}]")
		} else {
			p.add("spec", c.list, index, "env", "0")
			p.raw(`{"name":"` + TokenFileEnv + `"`)
			p.textField("value", literal(s.tokenPath()))
			p.raw("}")
		}
		p.end()
	}
	if c.mount(SessionVolume) == nil {
		open, shut := "", ""
		if c.VolumeMounts == nil {
			p.add("spec", c.list, index, "volumeMounts")
			open, shut = "[", "]"
		} else {
			p.add("spec", c.list, index, "volumeMounts", "-")
		}
		p.raw(open + `{"name":"` + SessionVolume + `"`)
		p.textField("mountPath", s.mountPath)
		p.raw(`,"readOnly":true}` + shut)
		p.end()
	}
}

// tokenPath is where the application finds the session token.
func (s *settings) tokenPath() string { return s.mountPath + "/" + s.tokenFile }

// keep takes over what an agent that is there already was told.
func (id *identity) keep(agent *containerView) {
	if sc := agent.SecurityContext; sc != nil && sc.RunAsUser != nil {
		id.user = *sc.RunAsUser
	}
	if e := agent.env("GATEPASS_TOKEN_MODE"); e != nil {
		if m, err := config.ParseFileMode(e.Value); err == nil {
			id.mode = m
		}
	}
}

// warn says what is odd about a pod that is let through.
func (i *Injector) warn(pod *podView, get []container, s *settings, id identity, injected bool, d *Decision) {
	if v, ok := pod.Metadata.Annotations[Prefix+keyStatus]; ok && v != statusInjected {
		d.warn("annotation %sstatus=%q means nothing to Gatepass; remove it", Prefix, v)
	}
	// With a proxy it is the proxy's name that the pod has to resolve.
	if first := s.agent.FirstHop(); clusterName(first) {
		pod.warnOfDNS(first, d)
	}
	if user, yes := id.loosens(pod); yes {
		fix := "remove agent-run-as-user, or runAsUser from the profile"
		if injected {
			fix = "whatever changed the users after the agent was added should run before Gatepass, or create the pod anew"
		}
		d.warn("the agent runs as user %d and every other container as %d: Kubernetes then lets every user in the pod read the pod's other projected tokens; %s", id.user, user, fix)
	}
	if early := beforeAgent(pod, get); injected && len(early) > 0 {
		d.warn("these init containers run before the agent, and find no session: %s", clipList(early))
	}
	var blind []string
	for _, c := range get {
		if !pod.canRead(c.containerView, id) {
			blind = append(blind, c.Name)
		}
	}
	if len(blind) > 0 {
		d.warn("the session token is written by user %d with mode %s, which may be unreadable in: %s; list the containers that need it in %scontainers, or choose another %stoken-mode",
			id.user, config.FormatFileMode(id.mode), clipList(blind), Prefix, Prefix)
	}
}

// warnOfDNS says when the pod asks the node's resolver, which does not know the
// names of Services. A pod with nameservers of its own is taken to know them.
func (p *podView) warnOfDNS(address string, d *Decision) {
	switch p.Spec.DNSPolicy {
	case "ClusterFirstWithHostNet":
	case "None":
		if p.Spec.DNSConfig == nil || len(p.Spec.DNSConfig.Nameservers) == 0 {
			d.warn("the pod has dnsPolicy: None and no nameservers in its dnsConfig, so that %s can't be resolved; name the cluster's DNS there", address)
		}
	case "Default":
		fix := "ClusterFirst"
		if p.Spec.HostNetwork {
			fix = "ClusterFirstWithHostNet"
		}
		d.warn("the pod has dnsPolicy: Default, the node's resolver, by which %s can't be resolved; set dnsPolicy: %s", address, fix)
	default:
		if p.Spec.HostNetwork {
			d.warn("the pod uses the host's network, where %s can't be resolved; set dnsPolicy: ClusterFirstWithHostNet", address)
		}
	}
}

// canRead reports whether the container can read a token written by id, as
// far as the pod tells.
func (p *podView) canRead(c *containerView, id identity) bool {
	user := p.user(c)
	switch {
	case id.mode&0o004 != 0, user != nil && *user == id.user:
		return true
	case id.mode&0o040 == 0:
		return false
	}
	// The volume's files belong to fsGroup when there is one, and every
	// container of the pod is in it.
	group := p.group(c)
	return p.Spec.SecurityContext != nil && p.Spec.SecurityContext.FSGroup != nil || group != nil && *group == id.group
}

// beforeAgent names the init containers with the session that another webhook
// put before the agent.
func beforeAgent(pod *podView, get []container) []string {
	place := slices.IndexFunc(pod.Spec.InitContainers, func(c containerView) bool { return c.Name == AgentContainer })
	var early []string
	for _, c := range get {
		if c.list == "initContainers" && c.index < place {
			early = append(early, c.Name)
		}
	}
	return early
}

// clusterName reports whether a URL's host is known only to cluster DNS.
func clusterName(address string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	host := u.Hostname()
	if _, err := netip.ParseAddr(host); err == nil {
		return false
	}
	labels := strings.Split(host, ".")
	return len(labels) == 1 && host != "localhost" || slices.Contains(labels, "svc")
}
