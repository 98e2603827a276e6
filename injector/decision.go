package injector

import (
	"fmt"
	"strings"
)

// Result is what becomes of a pod.
type Result string

// The results. Injected and Unchanged pods start with a session, Skipped pods
// start without one because they did not ask, Denied pods are not created.
const (
	Injected  Result = "injected"
	Unchanged Result = "unchanged"
	Skipped   Result = "skipped"
	Denied    Result = "denied"
)

// Reason is a stable code for a result: the same in metrics, logs, audit
// annotations and documentation.
type Reason string

// The reasons.
const (
	ReasonInjected        Reason = "injected"
	ReasonAlreadyInjected Reason = "already-injected"
	// ReasonCompleted is for a pod that has its agent, and containers that were
	// added since by others.
	ReasonCompleted Reason = "completed"

	ReasonNotRequested Reason = "not-requested"
	ReasonOptedOut     Reason = "opted-out"
	ReasonMirrorPod    Reason = "mirror-pod"

	ReasonMalformedPod       Reason = "malformed-pod"
	ReasonUnknownKey         Reason = "unknown-key"
	ReasonInvalidValue       Reason = "invalid-value"
	ReasonContradiction      Reason = "contradiction"
	ReasonNotOptedIn         Reason = "not-opted-in"
	ReasonUnknownProfile     Reason = "unknown-profile"
	ReasonOverrideNotAllowed Reason = "override-not-allowed"
	ReasonWrongProtocol      Reason = "wrong-protocol"
	ReasonUnknownContainer   Reason = "unknown-container"
	ReasonNameConflict       Reason = "name-conflict"
	ReasonMountConflict      Reason = "mount-conflict"
	ReasonEnvConflict        Reason = "env-conflict"
	ReasonForeignAgent       Reason = "foreign-agent"
	ReasonWindows            Reason = "windows"
)

// Problem is one cause of a denial.
type Problem struct {
	Reason Reason
	// Text names the key, the value and the fix.
	Text string
}

// Decision is the answer for one pod.
type Decision struct {
	Result Result
	Reason Reason
	// Problems are the causes of a denial, all of them.
	Problems []Problem
	// Warnings are for the person who created the pod.
	Warnings []string
	// Patch is a JSON Patch document of "add" operations, or nil when there is
	// nothing to add.
	Patch []byte

	// Pod is the pod's name, or its generateName and an asterisk.
	Pod string
	// Profile and Mode are set for pods that asked for a session.
	Profile string
	Mode    string
}

// Allowed reports whether the pod may be created.
func (d *Decision) Allowed() bool { return d.Result != Denied }

// Message says in one line why a pod was denied, or is empty.
func (d *Decision) Message() string {
	switch len(d.Problems) {
	case 0:
		return ""
	case 1:
		return d.Problems[0].Text
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d problems", len(d.Problems))
	for i, p := range d.Problems {
		fmt.Fprintf(&b, "; (%d) %s", i+1, p.Text)
	}
	return b.String()
}

func (d *Decision) deny(reason Reason, format string, args ...any) {
	d.Problems = append(d.Problems, Problem{reason, fmt.Sprintf(format, args...)})
}

func (d *Decision) warn(format string, args ...any) {
	d.Warnings = append(d.Warnings, fmt.Sprintf(format, args...))
}

// denied closes the decision if anything was found wrong. The first problem's
// reason stands for the decision.
func (d *Decision) denied() bool {
	if len(d.Problems) == 0 {
		return false
	}
	d.Result, d.Reason, d.Patch = Denied, d.Problems[0].Reason, nil
	return true
}

func (d *Decision) close(result Result, reason Reason) *Decision {
	d.Result, d.Reason = result, reason
	return d
}
