package injector

import (
	"fmt"
	"path"
	"strings"
)

// alias returns the path with /run for /var/run: the one is a link to the other
// in most images (FHS 3.0, section 5.13).
func alias(p string) string {
	if p == "/var/run" || inside(p, "/var/run") {
		return p[len("/var"):]
	}
	return p
}

// samePath reports whether two clean paths may be one.
func samePath(a, b string) bool { return alias(a) == alias(b) }

// below reports whether p lies in the directory, by its own name or its
// alias'.
func below(p, directory string) bool {
	return inside(p, directory) || inside(alias(p), alias(directory))
}

// inside is below without aliases.
func inside(p, directory string) bool {
	return len(p) > len(directory) && p[len(directory)] == '/' && strings.HasPrefix(p, directory)
}

// checkMountPath refuses directories that a container can't do without: the
// session's volume would hide what the image has there, and is read-only.
// A path below one is fine (/etc/gatepass), except in the kernel's. Not refused
// are /boot, /mnt, /media and /srv, in which no program of an image looks for
// anything.
func checkMountPath(p string) error {
	for _, kernel := range []string{"/proc", "/sys", "/dev"} {
		if p == kernel || below(p, kernel) {
			return fmt.Errorf("%q belongs to the container runtime; use for example %s", p, defaultMountPath)
		}
	}
	hides := ""
	switch alias(p) {
	case "/bin", "/sbin", "/usr", "/usr/bin", "/usr/sbin", "/usr/libexec", "/usr/share", "/usr/local", "/usr/local/bin", "/usr/local/sbin", "/usr/local/lib", "/opt":
		hides = "the image's programs"
	case "/lib", "/lib32", "/lib64", "/libx32", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libx32":
		hides = "the image's libraries"
	case "/etc", "/etc/ssl", "/etc/ssl/certs", "/etc/pki", "/etc/pki/tls", "/etc/pki/tls/certs", "/etc/ca-certificates":
		hides = "the image's configuration and CA certificates"
	case "/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/etc/passwd", "/etc/group", "/etc/nsswitch.conf":
		return fmt.Errorf("%q is a file of the container; use for example %s", p, defaultMountPath)
	case "/run/secrets", "/run/secrets/kubernetes.io", "/run/secrets/kubernetes.io/serviceaccount":
		hides = "the pod's own service-account token, which Kubernetes mounts there"
	case "/run", "/run/lock", "/var", "/var/lib", "/var/log", "/var/cache", "/var/lock", "/var/spool", "/var/tmp", "/tmp":
		hides = "a directory in which programs write, with one that is read-only"
	case "/root", "/home":
		hides = "the users' home directories"
	}
	if hides == "" {
		return nil
	}
	return fmt.Errorf("%q would hide %s; choose a directory of its own, for example %s", p, hides, path.Join(p, "gatepass"))
}
