// Package machine runs a test binary again in a machine of its own: Linux
// namespaces for the network, mounts, processes and control groups. A node
// that runs pods writes firewall rules, mounts hundreds of volumes and leaves
// processes behind when it dies; in here all of that belongs to the namespaces,
// and the kernel removes it with the last process, whatever happened to the test.
package machine

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// The environment of the two inner stages of Run.
const (
	envStage   = "GATEPASS_MACHINE_STAGE"
	envDir     = "GATEPASS_MACHINE_DIR"
	stageInit  = "init"
	stageTests = "tests"
)

// NodeAddress is the machine's own address, on a network interface that leads
// nowhere. It is the same in every machine, as none sees another.
const NodeAddress = "10.88.0.1"

// hostsFile is one of the machine's own, see mountNames.
const hostsFile = "/etc/hosts"

// Options describes a machine.
type Options struct {
	// Programs must be there, or their packages are installed.
	Programs []Program
}

// Program is a file that a Debian package provides.
type Program struct {
	// Name is looked up on the PATH, or is an absolute path.
	Name string
	// Package is the Debian package to install.
	Package string
}

// Dir is a folder of the machine's own on a disk, removed with the machine.
func Dir() string { return os.Getenv(envDir) }

// AddHost has the machine's programs find an address under a name. There is no
// name server here that they could ask.
func AddHost(address, name string) (err error) {
	if Dir() == "" {
		return errors.New("add a host: the names outside of a machine are not ours")
	}
	hosts, err := os.OpenFile(hostsFile, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("add a host: %w", err)
	}
	defer func() { err = errors.Join(err, hosts.Close()) }()
	_, err = fmt.Fprintln(hosts, address, name)
	return err
}

// Run calls inside in a machine of its own and returns its exit code, for
// TestMain:
//
//	func TestMain(m *testing.M) { os.Exit(machine.Run(machine.Options{}, m.Run)) }
//
// The test binary runs three times: outside, which waits; as the first process
// of the machine, which adopts orphans; and inside.
func Run(o Options, inside func() int) int {
	stage := os.Getenv(envStage)
	if stage == stageTests {
		if err := os.Unsetenv(envStage); err != nil {
			fmt.Fprintln(os.Stderr, "error:", err)
			return 1
		}
		return inside()
	}
	run := outside
	if stage == stageInit {
		run = func(Options) (int, error) { return first() }
	}
	code, err := run(o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "error: a machine for the tests:", err)
		return max(code, 1)
	}
	return code
}

// provide installs the packages of programs that are missing.
func provide(programs []Program) error {
	missing := lacking(programs)
	if len(missing) == 0 {
		return nil
	}
	packages := strings.Join(missing, " ")
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("these Debian packages (or what they hold) are missing, and there is no apt-get to install them with: %s", packages)
	}
	fmt.Fprintln(os.Stderr, "Installing Debian packages:", packages)
	for _, args := range [][]string{
		{"update", "-qq"},
		append([]string{"install", "-y", "-qq", "--no-install-recommends"}, missing...),
	} {
		cmd := exec.Command("apt-get", args...) //nolint:noctx // a half-installed package helps nobody
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("install the missing packages by hand (%s): apt-get %s: %w", packages, args[0], err)
		}
	}
	if missing := lacking(programs); len(missing) > 0 {
		return errors.New("apt-get installed these packages, but their programs are not where they should be: " + strings.Join(missing, " "))
	}
	return nil
}

func lacking(programs []Program) []string {
	var packages []string
	for _, p := range programs {
		if _, err := exec.LookPath(p.Name); err != nil {
			packages = append(packages, p.Package)
		}
	}
	return packages
}
