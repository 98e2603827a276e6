package bed

import (
	"path/filepath"

	corev1 "k8s.io/api/core/v1"

	"github.com/gatepass/gatepass/test/machine"
)

// Our two volumes, by the names of their folders on the node.
const (
	IdentityVolume = "kubernetes.io~projected/gatepass-identity"
	SessionVolume  = "kubernetes.io~empty-dir/gatepass-session"
)

// VolumeFile is the path of a file in a pod's volume, as the node sees it.
func VolumeFile(pod *corev1.Pod, volume, name string) string {
	return filepath.Join(machine.Dir(), "kubelet", "pods", string(pod.UID), "volumes", volume, name)
}
