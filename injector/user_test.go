package injector

import (
	"fmt"
	"io/fs"
	"testing"
)

func TestUsersAndFileModes(t *testing.T) {
	const unset = -1
	type c struct {
		name        string
		user, group int64
	}
	for _, row := range []struct {
		name                       string
		podUser, podGroup, fsGroup int64
		inits, containers          []c
		list                       []string
		given, givenGroup          int64
		rule                       string
		user, group                int64
		mode                       fs.FileMode
	}{
		{"no user is known", unset, unset, unset, nil, []c{{"app", unset, unset}}, nil, unset, unset, ruleUnknown, 65532, 65532, 0o444},
		{"the pod names the user", 1000, unset, unset, nil, []c{{"app", unset, unset}}, nil, unset, unset, ruleEveryContainer, 1000, 65532, 0o400},
		{"the pod names user and group", 1000, 3000, unset, nil, []c{{"app", unset, unset}}, nil, unset, unset, ruleEveryContainer, 1000, 3000, 0o400},
		{"the container overrides the pod", 1000, unset, unset, nil, []c{{"app", 2000, 2000}}, nil, unset, unset, ruleEveryContainer, 2000, 2000, 0o400},
		{"all containers agree", unset, unset, unset, []c{{"init", 7, unset}}, []c{{"a", 7, unset}, {"b", 7, unset}}, nil, unset, unset, ruleEveryContainer, 7, 65532, 0o400},
		{"containers disagree", unset, unset, unset, nil, []c{{"a", 7, unset}, {"b", 8, unset}}, nil, unset, unset, ruleUnknown, 65532, 65532, 0o444},
		{"one container does not say", unset, unset, unset, nil, []c{{"a", 7, unset}, {"b", unset, unset}}, nil, unset, unset, ruleUnknown, 65532, 65532, 0o444},
		{"only an init container differs, and does not read", unset, unset, unset, []c{{"init", 0, 0}}, []c{{"a", 7, 7}}, []string{"a"}, unset, unset, ruleReaders, 7, 7, 0o400},
		{"only an init container differs, and reads", unset, unset, unset, []c{{"init", 0, unset}}, []c{{"a", 7, unset}}, nil, unset, unset, ruleUnknown, 65532, 65532, 0o444},
		{"a listed container has a user, the others do not", unset, unset, unset, nil, []c{{"a", 7, unset}, {"b", unset, unset}}, []string{"a"}, unset, unset, ruleReaders, 7, 65532, 0o400},
		{"root throughout: the pod's other tokens stay with root", 0, unset, unset, nil, []c{{"a", unset, unset}}, nil, unset, unset, ruleEveryContainer, 0, 65532, 0o400},
		{"root throughout with group root", 0, 0, unset, nil, []c{{"a", unset, unset}}, nil, unset, unset, ruleEveryContainer, 0, 0, 0o400},
		{"the image is root and nobody says so", unset, unset, unset, nil, []c{{"a", unset, unset}}, nil, unset, unset, ruleUnknown, 65532, 65532, 0o444},
		{"a root reader beside others", unset, unset, unset, nil, []c{{"a", 0, 0}, {"b", 7, 7}}, []string{"a"}, unset, unset, ruleRootReaders, 65532, 65532, 0o444},
		{"an OpenShift range", unset, unset, 1000650000, nil, []c{{"a", 1000650000, unset}}, nil, unset, unset, ruleEveryContainer, 1000650000, 65532, 0o400},
		{"an fsGroup and a known user", 1000, unset, 2000, nil, []c{{"a", unset, unset}}, nil, unset, unset, ruleEveryContainer, 1000, 65532, 0o400},
		{"an fsGroup and an unknown user", unset, unset, 2000, nil, []c{{"a", unset, unset}}, nil, unset, unset, ruleUnknown, 65532, 65532, 0o444},
		{"a group without a user", unset, 3000, unset, nil, []c{{"a", unset, unset}}, nil, unset, unset, ruleUnknown, 65532, 3000, 0o444},
		{"group root without a user is not taken over", unset, 0, unset, nil, []c{{"a", unset, unset}}, nil, unset, unset, ruleUnknown, 65532, 65532, 0o444},
		{"the agent's user is given and is the application's", 1000, unset, unset, nil, []c{{"a", unset, unset}}, nil, 1000, unset, ruleGiven, 1000, 65532, 0o400},
		{"the agent's user is given and is another", 1000, unset, unset, nil, []c{{"a", unset, unset}}, nil, 2000, 2001, ruleGiven, 2000, 2001, 0o444},
		{"the agent's user is given and no other is known", unset, unset, unset, nil, []c{{"a", unset, unset}}, nil, 2000, unset, ruleGiven, 2000, 65532, 0o444},
		{"only the agent's group is given", 1000, 3000, unset, nil, []c{{"a", unset, unset}}, nil, unset, 4000, ruleEveryContainer, 1000, 4000, 0o400},
	} {
		t.Run(row.name, func(t *testing.T) {
			id := func(v int64) *int64 {
				if v == unset {
					return nil
				}
				return &v
			}
			views := func(in []c) (out []containerView) {
				for _, c := range in {
					out = append(out, containerView{Name: c.name, SecurityContext: &securityView{RunAsUser: id(c.user), RunAsGroup: id(c.group)}})
				}
				return out
			}
			pod := &podView{Spec: specView{
				SecurityContext: &securityView{RunAsUser: id(row.podUser), RunAsGroup: id(row.podGroup), FSGroup: id(row.fsGroup)},
				InitContainers:  views(row.inits), Containers: views(row.containers),
			}}
			s := &settings{user: id(row.given), group: id(row.givenGroup), containers: row.list}
			got := chooseIdentity(pod, readers(pod, s, new(Decision)), s)
			want := identity{user: row.user, group: row.group, mode: row.mode, rule: row.rule}
			if got != want {
				t.Errorf("want %s, got %s", show(want), show(got))
			}
		})
	}
}

func show(id identity) string {
	return fmt.Sprintf("user %d, group %d, mode %04o by rule %s", id.user, id.group, id.mode, id.rule)
}

// The kubelet gives the pod's projected tokens to a user only if every
// container has that user; adding the agent must never change its mind.
func TestTheAgentNeverLoosensTheTokensOfAPod(t *testing.T) {
	for n := range 5 * 5 * 5 {
		users := []*int64{nil, new(int64), new(int64), new(int64), new(int64)}
		*users[2], *users[3], *users[4] = 1000, 1001, 65532
		pod := &podView{Spec: specView{
			SecurityContext: &securityView{RunAsUser: users[n%5]},
			Containers: []containerView{
				{Name: "a", SecurityContext: &securityView{RunAsUser: users[n/5%5]}},
				{Name: "b", SecurityContext: &securityView{RunAsUser: users[n/25%5]}},
			},
		}}
		for _, list := range [][]string{nil, {"a"}, {"b"}} {
			s := &settings{containers: list}
			id := chooseIdentity(pod, readers(pod, s, new(Decision)), s)
			if user, yes := id.loosens(pod); yes {
				t.Errorf("pod %d, list %v: all containers are %d, the agent is %d", n, list, user, id.user)
			}
		}
	}
}
