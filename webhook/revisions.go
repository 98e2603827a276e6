package webhook

import (
	"time"

	"github.com/gatepass/gatepass/injector"
)

const (
	// earlierFor is for how long agents of replaced profiles are taken. Two
	// replicas of the webhook may hold neighbouring versions of the profiles for
	// as long as their kubelets differ about a ConfigMap: a sync period of one
	// minute and half a minute of jitter (syncFrequency in the
	// KubeletConfiguration; the pod workers' resync in k8s.io/kubernetes). The
	// rest is for a kubelet that is busy.
	earlierFor = 3 * time.Minute
	// maxEarlier bounds what is kept. An edit and a rotated CA file are two
	// revisions within a minute.
	maxEarlier = 4
)

// revisions decides by the profiles in use, and for a bounded time lets agents
// stay that were added by those before. It is never changed.
type revisions struct {
	current *injector.Injector
	// earlier are the last revisions, the youngest first.
	earlier []earlierRevision
}

type earlierRevision struct {
	*injector.Injector
	until time.Time
}

// next returns the revisions with a new one in use. r may be nil.
func (r *revisions) next(i *injector.Injector, now time.Time) *revisions {
	next := &revisions{current: i}
	if r == nil {
		return next
	}
	next.earlier = append(next.earlier, earlierRevision{r.current, now.Add(earlierFor)})
	for _, e := range r.earlier {
		if len(next.earlier) < maxEarlier && now.Before(e.until) {
			next.earlier = append(next.earlier, e)
		}
	}
	return next
}

// Decide implements decider. An API server asks about a pod again when another
// webhook has changed it, and may reach a replica whose profiles are newer than
// those that the pod was injected by. Only pods that have their agent already
// are judged by an earlier revision; nothing is injected by one.
func (r *revisions) Decide(pod []byte) injector.Decision {
	d := r.current.Decide(pod)
	if d.Allowed() || len(r.earlier) == 0 {
		return d
	}
	now := time.Now()
	for _, e := range r.earlier {
		if !now.Before(e.until) {
			break
		}
		earlier := e.Decide(pod)
		if earlier.Reason == injector.ReasonAlreadyInjected || earlier.Reason == injector.ReasonCompleted {
			earlier.Warnings = append(earlier.Warnings, "the pod's agent is of the profiles as they were before a change in the last minutes; it is left as it is")
			return earlier
		}
	}
	return d
}
