package injector

import (
	"strings"
	"testing"
)

func TestMountPathsThatBreakAContainerAreRefused(t *testing.T) {
	for _, v := range []string{"/etc", "/etc/", "/usr", "/usr/bin", "/usr/lib", "/usr/lib64", "/usr/local", "/usr/local/bin", "/bin", "/sbin", "/lib", "/lib64", "/opt",
		"/dev", "/dev/shm", "/proc", "/proc/self", "/sys", "/sys/fs", "/root", "/home", "/var", "/var/lib", "/var/log", "/var/tmp", "/tmp", "/run", "/var/run", "/run//",
		"/etc/ssl/certs", "/etc/resolv.conf", "/etc/hosts", "/etc/passwd", "/run/secrets", "/var/run/secrets", "/var/run/secrets/kubernetes.io/serviceaccount"} {
		err := applyMountPath(new(settings), v)
		if err == nil {
			t.Errorf("%s: want it refused", v)
			continue
		}
		_, example, ok := strings.Cut(err.Error(), "for example ")
		if !ok {
			t.Errorf("%s: want an example, got %q", v, err)
		} else if err := applyMountPath(new(settings), example); err != nil {
			t.Errorf("%s: the example is refused itself: %v", v, err)
		}
	}
}

func TestMountPathsOfTheirOwnAreTaken(t *testing.T) {
	for _, v := range []string{"/etc/gatepass", "/usr/share/gatepass", "/opt/app/session", "/var/run/gatepass", "/var/run/gatepass/", "/run/gatepass", "/var/lib/app", "/home/app/session",
		"/root/.gatepass", "/tmp/session", "/session", "/srv", "/mnt", "/boot", "/devices", "/etcetera", "/var/running", "/run/secrets/app"} {
		s := new(settings)
		if err := applyMountPath(s, v); err != nil || s.mountPath != strings.TrimSuffix(v, "/") {
			t.Errorf("%s: want it taken, got %q: %v", v, s.mountPath, err)
		}
	}
}

func TestRunAndVarRunAreOnePlace(t *testing.T) {
	for _, c := range []struct {
		a, b        string
		same, below bool
	}{
		{"/run/gatepass", "/var/run/gatepass", true, false},
		{"/var/run/gatepass", "/run", false, true},
		{"/run/gatepass", "/var/run", false, true},
		{"/var/run/gatepass", "/var", false, true},
		{"/run/gatepass", "/var", false, false},
		{"/var/running/x", "/run", false, false},
		{"/var/run", "/run", true, false},
		{"/srv/a", "/srv", false, true},
	} {
		if same, under := samePath(c.a, c.b), below(c.a, c.b); same != c.same || under != c.below {
			t.Errorf("%s and %s: want %t, %t, got %t, %t", c.a, c.b, c.same, c.below, same, under)
		}
	}
}
