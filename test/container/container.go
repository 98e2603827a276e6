// Package container runs a program as a kubelet would run a pod's container,
// as far as that is possible without a container runtime: in a mount namespace
// and root file system of its own, with exactly the given mounts, environment
// and user, and without capabilities. Root may do that, and on most Linux
// systems everybody may, in a user namespace.
//
// A program that uses this package calls Init first thing in main.
package container

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// initWord as first argument turns a program into a container's first process.
const initWord = "gatepass-test-container-init"

// Mount is a file or folder of the host that the container sees.
type Mount struct {
	Source   string
	Target   string // absolute path inside
	ReadOnly bool
}

// Spec describes a container.
type Spec struct {
	// Root is an empty folder of the host for the root file system, which the
	// container sees read-only.
	Root   string
	Mounts []Mount
	// UID and GID inside; on the host too if the caller is root.
	UID, GID int
	// Path of the program inside, its arguments, and its whole environment.
	Path string
	Args []string
	Env  []string
}

// prepare creates what is mounted onto.
func (s Spec) prepare() error {
	for _, m := range s.Mounts {
		info, err := os.Stat(m.Source)
		if err != nil {
			return fmt.Errorf("mount %s: %w", m.Target, err)
		}
		target := filepath.Join(s.Root, m.Target)
		if info.IsDir() {
			if err := os.MkdirAll(target, 0o755); err != nil {
				return fmt.Errorf("mount %s: %w", m.Target, err)
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return fmt.Errorf("mount %s: %w", m.Target, err)
		}
		if err := os.WriteFile(target, nil, 0o644); err != nil {
			return fmt.Errorf("mount %s: %w", m.Target, err)
		}
	}
	return nil
}

// argument encodes the spec for Init.
func (s Spec) argument() (string, error) {
	text, err := json.Marshal(s)
	if err != nil {
		return "", fmt.Errorf("describe the container: %w", err)
	}
	return string(text), nil
}

// Init turns the process into the container that Start asked for; it returns
// only if this process is none, or with the reason why it can't be.
func Init() error {
	if len(os.Args) != 3 || os.Args[1] != initWord {
		return nil
	}
	var s Spec
	if err := json.Unmarshal([]byte(os.Args[2]), &s); err != nil {
		return fmt.Errorf("start the container: %w", err)
	}
	if err := become(s); err != nil {
		return fmt.Errorf("start the container: %w", err)
	}
	return nil
}
