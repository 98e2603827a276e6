//go:build e2e

package e2e_test

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/gatepass/gatepass/test/bed"
	"github.com/gatepass/gatepass/test/bed/app/report"
)

// user makes every container run as a user.
func user(uid int64) func(*corev1.Pod) {
	return func(pod *corev1.Pod) { podSecurity(pod).RunAsUser = &uid }
}

func podSecurity(pod *corev1.Pod) *corev1.PodSecurityContext {
	if pod.Spec.SecurityContext == nil {
		pod.Spec.SecurityContext = &corev1.PodSecurityContext{}
	}
	return pod.Spec.SecurityContext
}

// restricted is what the Pod Security Standard of that name asks for.
func restricted(pod *corev1.Pod) {
	s := podSecurity(pod)
	s.RunAsNonRoot = new(true)
	s.SeccompProfile = &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}
	for i := range pod.Spec.Containers {
		pod.Spec.Containers[i].SecurityContext = &corev1.SecurityContext{
			AllowPrivilegeEscalation: new(false), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		}
	}
}

// Every pod here also has its ServiceAccount's token, and one that its author
// projects: both must be as they are in the same pod without our annotation.
func TestWhateverUserAnApplicationRunsAs(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		labels map[string]string
		change func(*corev1.Pod)
		// mode is that of the session's file; empty where fsGroup decides.
		mode string
	}{
		{"root by the pod's security context", nil, user(0), "-r--------"},
		{"a fixed user", nil, user(10001), "-r--------"},
		{"the image's user, which nobody knows", nil, func(*corev1.Pod) {}, "-r--r--r--"},
		{"root by the image's default", nil, func(pod *corev1.Pod) { pod.Spec.Containers[0].Image = bed.RootImage }, "-r--r--r--"},
		{"with fsGroup", nil, func(pod *corev1.Pod) { user(10001)(pod); podSecurity(pod).FSGroup = new(int64(2000)) }, ""},
		{"with fsGroup and the image's user", nil, func(pod *corev1.Pod) { podSecurity(pod).FSGroup = new(int64(2000)) }, ""},
		{"with runAsGroup", nil, func(pod *corev1.Pod) { user(10001)(pod); podSecurity(pod).RunAsGroup = new(int64(3000)) }, "-r--------"},
		{"with supplementalGroups", nil, func(pod *corev1.Pod) {
			user(10001)(pod)
			podSecurity(pod).SupplementalGroups = []int64{4000, 4001}
		}, "-r--------"},
		{"a namespace that enforces restricted", map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}, func(pod *corev1.Pod) {
			user(10001)(pod)
			restricted(pod)
		}, "-r--------"},
		{"a namespace that enforces restricted, and the image's user", map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}, restricted, "-r--r--r--"},
		{"automountServiceAccountToken: false", nil, func(pod *corev1.Pod) {
			user(10001)(pod)
			pod.Spec.AutomountServiceAccountToken = new(false)
		}, "-r--------"},
		{"a read-only root file system", nil, func(pod *corev1.Pod) {
			user(10001)(pod)
			pod.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{ReadOnlyRootFilesystem: new(true)}
		}, "-r--------"},
		{"users that differ by container", nil, func(pod *corev1.Pod) {
			other := bed.Container("other")
			other.SecurityContext = &corev1.SecurityContext{RunAsUser: new(int64(10002))}
			pod.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{RunAsUser: new(int64(10001))}
			pod.Spec.Containers = append(pod.Spec.Containers, other)
		}, "-r--r--r--"},
		// A process may look into others of its user and group.
		{"a shared process namespace", nil, func(pod *corev1.Pod) {
			user(10001)(pod)
			podSecurity(pod).RunAsGroup = new(int64(65532))
			pod.Spec.ShareProcessNamespace = new(true)
		}, "-r--------"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			for _, mode := range []string{"init", "sidecar"} {
				t.Run("mode "+mode, func(t *testing.T) {
					ns := shared.Namespace(t, row.labels)
					plain := shared.Create(t, bed.Application(ns, "plain", withOwnToken, row.change, func(pod *corev1.Pod) { pod.Annotations = nil }))
					pod := shared.Create(t, bed.Application(ns, "annotated", withOwnToken, row.change, bed.Annotate("mode", mode)))
					shared.Running(t, ns, pod.Name)
					shared.Running(t, ns, plain.Name)
					for _, c := range pod.Spec.Containers {
						got := shared.Reported(t, ns, pod.Name, c.Name)
						bed.CheckSession(t, pod, got)
						checkSame(t, shared.Reported(t, ns, plain.Name, c.Name), got)
						if mode := sessionMode(got); row.mode != "" && mode != row.mode {
							t.Errorf("the session's file has mode %s, want %s", mode, row.mode)
						}
						// A later look finds what processes started later may open.
						bed.CheckExposure(t, shared.Look(t, ns, pod.Name, c.Name))
					}
				})
			}
		})
	}
}

// withOwnToken adds a projected token that the application uses elsewhere.
func withOwnToken(pod *corev1.Pod) {
	pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: "own", VolumeSource: corev1.VolumeSource{
		Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{{
			ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Audience: "elsewhere", Path: "token"},
		}}},
	}})
	for i := range pod.Spec.Containers {
		pod.Spec.Containers[i].VolumeMounts = append(pod.Spec.Containers[i].VolumeMounts, corev1.VolumeMount{Name: "own", MountPath: "/var/run/own", ReadOnly: true})
	}
}

// checkSame fails the test if a process has another identity, or sees another
// owner or mode of a token, than without Gatepass.
func checkSame(t *testing.T, plain, annotated *report.Report) {
	t.Helper()
	if plain.UID != annotated.UID || plain.GID != annotated.GID || len(plain.Groups) != len(annotated.Groups) {
		t.Errorf("the application runs as %d:%d %v, without Gatepass as %d:%d %v",
			annotated.UID, annotated.GID, annotated.Groups, plain.UID, plain.GID, plain.Groups)
	}
	tokens := func(r *report.Report) map[string]report.File {
		found := map[string]report.File{}
		for _, f := range r.Files {
			// The folder of a projected volume's data is named after the time.
			if len(f.Audience) > 0 && !f.Session && !strings.Contains(f.Path, "/..") && !strings.HasPrefix(f.Path, "/proc/") {
				f.Audience = nil
				found[strings.TrimPrefix(f.Path, "/var")] = f
			}
		}
		return found
	}
	before, after := tokens(plain), tokens(annotated)
	if len(before) == 0 {
		t.Error("the pod without Gatepass has no tokens to compare")
	}
	for path, want := range before {
		got, ok := after[path]
		if !ok {
			t.Errorf("token %s is not there with Gatepass", path)
			continue
		}
		if got.Mode != want.Mode || got.UID != want.UID || got.GID != want.GID || got.Readable != want.Readable {
			t.Errorf("token %s is %s %d:%d (readable: %t), without Gatepass %s %d:%d (readable: %t)",
				path, got.Mode, got.UID, got.GID, got.Readable, want.Mode, want.UID, want.GID, want.Readable)
		}
	}
	for path := range after {
		if _, ok := before[path]; !ok {
			t.Errorf("token %s is there only with Gatepass", path)
		}
	}
	if plain.WritesRoot != annotated.WritesRoot {
		t.Errorf("the root file system is writable: %t, without Gatepass %t", annotated.WritesRoot, plain.WritesRoot)
	}
}

// sessionMode is the mode of the session's file.
func sessionMode(r *report.Report) string {
	for _, f := range r.Files {
		if f.Session && f.Path == r.TokenFile {
			return f.Mode.String()
		}
	}
	return ""
}
