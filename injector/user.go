package injector

import (
	"io/fs"
)

// AgentUser is whom the agent runs as when the application's user is not
// known: the "nonroot" user of the common minimal images.
const AgentUser = 65532

// identity is whom the agent runs as, and with which mode it writes the
// session token.
type identity struct {
	user, group int64
	mode        fs.FileMode
	// rule names the row of the table that applied.
	rule string
}

// The rows of the table in chooseIdentity.
const (
	ruleEveryContainer = "every-container-agrees"
	ruleReaders        = "readers-agree"
	ruleRootReaders    = "readers-are-root"
	ruleUnknown        = "unknown"
	ruleGiven          = "given"
)

// chooseIdentity is the table of users and file modes.
//
//	rule                    when                                             agent's user   token's mode
//	given                   the profile or the pod says the agent's user     that user      0400 if all readers have it, else 0444
//	every-container-agrees  all containers, init containers too, have one    that user      0400
//	readers-agree           the containers with the session have one         that user      0400
//	readers-are-root        … and it is root, which others are not           65532          0444
//	unknown                 otherwise                                        65532          0444
//
// "every-container-agrees" is the kubelet's own condition for giving the
// pod's projected tokens to that user with mode 0600 (FsUserFrom in
// k8s.io/kubernetes/pkg/volume/util): an agent with another user would loosen
// every token in the pod to 0644. That holds for root as well, so beside an
// application that is root throughout, and only there, the agent is root too;
// a namespace that enforces the restricted standard refuses such a pod with
// or without the agent. In every other case no token is tightened by the
// kubelet, and the agent can have the user that suits it.
//
// A token with mode 0444 lies in a volume that only the pod's own listed
// containers mount.
func chooseIdentity(pod *podView, readers []container, s *settings) identity {
	all, reading := agreement{}, agreement{}
	for _, c := range pod.applications() {
		all.add(pod, c.containerView)
	}
	for _, c := range readers {
		reading.add(pod, c.containerView)
	}
	id := identity{user: AgentUser, group: AgentUser, mode: 0o444, rule: ruleUnknown}
	if g, ok := reading.groups.agreed(); ok {
		id.group = g
	}
	allUser, allAgree := all.users.agreed()
	readUser, readAgree := reading.users.agreed()
	switch {
	case s.user != nil:
		id.rule, id.user = ruleGiven, *s.user
		if readAgree && readUser == *s.user {
			id.mode = 0o400
		}
	case allAgree:
		id.rule, id.user, id.mode = ruleEveryContainer, allUser, 0o400
	case readAgree && readUser == 0:
		id.rule = ruleRootReaders
	case readAgree:
		id.rule, id.user, id.mode = ruleReaders, readUser, 0o400
	}
	if id.group == 0 && id.user != 0 {
		id.group = AgentUser
	}
	if s.group != nil {
		id.group = *s.group
	}
	if s.tokenMode != 0 {
		id.mode = s.tokenMode
	}
	return id
}

// loosens reports whether an agent with this user takes the kubelet's reason
// away to give the pod's other projected tokens mode 0600, see chooseIdentity.
func (id *identity) loosens(pod *podView) (user int64, loosened bool) {
	all := agreement{}
	for _, c := range pod.applications() {
		all.add(pod, c.containerView)
	}
	user, agreed := all.users.agreed()
	return user, agreed && user != id.user
}

// agreement collects the effective users and groups of containers.
type agreement struct{ users, groups consensus }

func (a *agreement) add(pod *podView, c *containerView) {
	a.users.add(pod.user(c))
	a.groups.add(pod.group(c))
}

// consensus is a number that everybody names, if there is one.
type consensus struct {
	value int64
	votes int
	split bool
}

func (c *consensus) add(v *int64) {
	switch {
	case v == nil, c.votes > 0 && c.value != *v:
		c.split = true
	default:
		c.value = *v
	}
	c.votes++
}

func (c *consensus) agreed() (int64, bool) { return c.value, c.votes > 0 && !c.split }
