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
	ReasonTooLarge           Reason = "too-large"
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
	// Problems are the causes of a denial, the first maxProblems of them.
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

	// more counts the problems that found no place.
	more int
}

// A pod may hold a quarter of a megabyte of annotations and thousands of
// containers. What is said about it must stay readable, and fit into an event
// (1024 bytes of message, k8s.io/kubernetes/pkg/apis/core/validation/events.go,
// for one problem).
const (
	maxProblems = 16
	maxText     = 1000
)

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
	fmt.Fprintf(&b, "%d problems", len(d.Problems)+d.more)
	for i, p := range d.Problems {
		fmt.Fprintf(&b, "; (%d) %s", i+1, p.Text)
	}
	if d.more > 0 {
		fmt.Fprintf(&b, "; and %d more", d.more)
	}
	return b.String()
}

func (d *Decision) deny(reason Reason, format string, args ...any) {
	if d.full() {
		d.more++
		return
	}
	d.Problems = append(d.Problems, Problem{reason, clip(fmt.Sprintf(format, args...))})
}

// full reports whether there is no place for a problem.
func (d *Decision) full() bool { return len(d.Problems) >= maxProblems }

// clip cuts a text in its middle: its beginning names the key, and its end
// the fix.
func clip(text string) string {
	if len(text) <= maxText {
		return text
	}
	const half = (maxText - len("…")) / 2
	return strings.ToValidUTF8(text[:half], "") + "…" + strings.ToValidUTF8(text[len(text)-half:], "")
}

func (d *Decision) warn(format string, args ...any) {
	d.Warnings = append(d.Warnings, clip(fmt.Sprintf(format, args...)))
}

// refused reports whether anything was found wrong.
func (d *Decision) refused() bool { return len(d.Problems) > 0 }

// conclude makes a decision with problems a denial; the first problem's reason
// stands for it.
func (d *Decision) conclude() *Decision {
	if d.refused() {
		d.Result, d.Reason, d.Patch = Denied, d.Problems[0].Reason, nil
	}
	return d
}

func (d *Decision) close(result Result, reason Reason) *Decision {
	d.Result, d.Reason = result, reason
	return d
}
