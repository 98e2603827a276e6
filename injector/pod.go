package injector

import (
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
)

// The pod as far as a decision depends on it. These structs are only ever
// read from: what they leave out is not lost, because patches are additions
// to the raw object.
type podView struct {
	Metadata metadataView `json:"metadata"`
	Spec     specView     `json:"spec"`

	raw []byte
	// all is what applications returns, and volumes what volume looks in, once they have
	// been asked.
	all     []container
	volumes map[string]*volumeView
}

type metadataView struct {
	Name         string  `json:"name"`
	GenerateName string  `json:"generateName"`
	Annotations  ownKeys `json:"annotations"`
	Labels       ownKeys `json:"labels"`
}

type specView struct {
	OS              *osView           `json:"os"`
	NodeSelector    map[string]string `json:"nodeSelector"`
	Affinity        *affinityView     `json:"affinity"`
	HostNetwork     bool              `json:"hostNetwork"`
	DNSPolicy       string            `json:"dnsPolicy"`
	DNSConfig       *dnsView          `json:"dnsConfig"`
	SecurityContext *securityView     `json:"securityContext"`
	Resources       *poolView         `json:"resources"`
	PullSecrets     []referenceView   `json:"imagePullSecrets"`
	Volumes         []volumeView      `json:"volumes"`
	InitContainers  []containerView   `json:"initContainers"`
	Containers      []containerView   `json:"containers"`
}

type referenceView struct {
	Name string `json:"name"`
}

type dnsView struct {
	Nameservers []string `json:"nameservers"`
}

type osView struct {
	Name string `json:"name"`
}

type securityView struct {
	RunAsUser  *int64 `json:"runAsUser"`
	RunAsGroup *int64 `json:"runAsGroup"`
	// FSGroup is a pod's only.
	FSGroup        *int64   `json:"fsGroup"`
	WindowsOptions anything `json:"windowsOptions"`
}

type volumeView struct {
	Name     string `json:"name"`
	EmptyDir *struct {
		Medium string `json:"medium"`
	} `json:"emptyDir"`
	Projected *struct {
		Sources []struct {
			ServiceAccountToken *struct {
				Audience string `json:"audience"`
			} `json:"serviceAccountToken"`
		} `json:"sources"`
	} `json:"projected"`
	ConfigMap   *struct{} `json:"configMap"`
	Secret      *struct{} `json:"secret"`
	DownwardAPI *struct{} `json:"downwardAPI"`
	Image       *struct{} `json:"image"`
	sourcesView
}

type containerView struct {
	Name            string         `json:"name"`
	RestartPolicy   string         `json:"restartPolicy"`
	Env             ownEnv         `json:"env"`
	VolumeMounts    []mountView    `json:"volumeMounts"`
	VolumeDevices   []deviceView   `json:"volumeDevices"`
	SecurityContext *securityView  `json:"securityContext"`
	Resources       *resourcesView `json:"resources"`
}

type envView struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type mountView struct {
	Name        string `json:"name"`
	MountPath   string `json:"mountPath"`
	SubPath     string `json:"subPath"`
	SubPathExpr string `json:"subPathExpr"`
	ReadOnly    bool   `json:"readOnly"`
}

type deviceView struct {
	DevicePath string `json:"devicePath"`
}

// decodePod reads the raw object. Field names are case-sensitive and must not
// repeat, as for the API server itself.
func decodePod(raw []byte) (*podView, error) {
	pod := &podView{raw: raw}
	err := json.Unmarshal(raw, pod)
	// The library's text may quote the value, and with it a secret.
	if semantic, ok := errors.AsType[*json.SemanticError](err); ok {
		return nil, fmt.Errorf("the object is not a pod that can be read: there is a JSON %s at %s", semantic.JSONKind, semantic.JSONPointer)
	}
	if err != nil {
		return nil, fmt.Errorf("the object is not a pod that can be read: %w", err)
	}
	return pod, nil
}

// displayName is the pod's name for people; a pod from a controller has none
// yet on admission, only the prefix that the API server will complete.
func (p *podView) displayName() string {
	if p.Metadata.Name == "" && p.Metadata.GenerateName != "" {
		return p.Metadata.GenerateName + "*"
	}
	return p.Metadata.Name
}

// mirrorAnnotation marks the API server's image of a static pod. The kubelet
// already runs that pod from its file; refusing or changing the image would
// only hide it (k8s.io/api/core/v1, MirrorPodAnnotationKey).
const mirrorAnnotation = "kubernetes.io/config.mirror"

func (p *podView) mirror() bool {
	_, ok := p.Metadata.Annotations[mirrorAnnotation]
	return ok
}

// volume returns the first volume of that name. A pod may have as many mounts as volumes,
// thousands of both.
func (p *podView) volume(name string) *volumeView {
	if p.volumes == nil {
		p.volumes = make(map[string]*volumeView, len(p.Spec.Volumes))
		for i := range p.Spec.Volumes {
			v := &p.Spec.Volumes[i]
			if _, there := p.volumes[v.Name]; !there {
				p.volumes[v.Name] = v
			}
		}
	}
	return p.volumes[name]
}

func (c *containerView) env(name string) *envView {
	for i := range c.Env {
		if c.Env[i].Name == name {
			return &c.Env[i]
		}
	}
	return nil
}

func (c *containerView) mount(volume string) *mountView {
	for i := range c.VolumeMounts {
		if c.VolumeMounts[i].Name == volume {
			return &c.VolumeMounts[i]
		}
	}
	return nil
}

// container is a container of a pod and its place there.
type container struct {
	*containerView
	// list is initContainers or containers, index its place in the raw object.
	list  string
	index int
}

// applications lists the pod's init containers and containers without the
// agent. The list is the pod's; clone it to change it.
func (p *podView) applications() []container {
	if p.all != nil {
		return p.all
	}
	all := make([]container, 0, len(p.Spec.InitContainers)+len(p.Spec.Containers))
	for i := range p.Spec.InitContainers {
		if c := &p.Spec.InitContainers[i]; c.Name != AgentContainer {
			all = append(all, container{c, "initContainers", i})
		}
	}
	for i := range p.Spec.Containers {
		all = append(all, container{&p.Spec.Containers[i], "containers", i})
	}
	p.all = all
	return all
}

// agent returns the agent's container if the pod has one.
func (p *podView) agent() *containerView {
	for i := range p.Spec.InitContainers {
		if p.Spec.InitContainers[i].Name == AgentContainer {
			return &p.Spec.InitContainers[i]
		}
	}
	return nil
}

// user is whom the container runs as, if the pod says so.
func (p *podView) user(c *containerView) *int64 {
	if s := c.SecurityContext; s != nil && s.RunAsUser != nil {
		return s.RunAsUser
	}
	if s := p.Spec.SecurityContext; s != nil {
		return s.RunAsUser
	}
	return nil
}

// group is the container's primary group, if the pod says so.
func (p *podView) group(c *containerView) *int64 {
	if s := c.SecurityContext; s != nil && s.RunAsGroup != nil {
		return s.RunAsGroup
	}
	if s := p.Spec.SecurityContext; s != nil {
		return s.RunAsGroup
	}
	return nil
}
