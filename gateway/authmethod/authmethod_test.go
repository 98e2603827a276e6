package authmethod

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestMatch(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, pattern, value string
		want                 bool
	}{
		{"a plain name matches itself", "web", "web", true},
		{"a plain name does not match a longer one", "web", "web-1", false},
		{"a plain name does not match a shorter one", "web-1", "web", false},
		{"case counts", "web", "Web", false},
		{"a star matches anything", "*", "anything", true},
		{"a star matches the empty name", "*", "", true},
		{"a star at the end matches a suffix", "web-*", "web-7d4b9-x2x", true},
		{"a star at the end matches an empty suffix", "web-*", "web-", true},
		{"a star at the end needs what stands before it", "web-*", "wep-1", false},
		{"a star at the start matches a prefix", "*-worker", "mail-worker", true},
		{"a star in the middle matches the middle", "a*z", "abcz", true},
		{"a star in the middle needs the end", "a*z", "abcy", false},
		{"several stars backtrack", "*ab*ab", "abxabab", true},
		{"several stars fail at the end", "*ab*ac", "abxabab", false},
		{"a question mark matches one character", "pod?", "pod1", true},
		{"a question mark does not match none", "pod?", "pod", false},
		{"a question mark does not match two", "pod?", "pod12", false},
		{"a dot is only a dot", "a.b", "axb", false},
		{"the empty pattern matches only the empty name", "", "x", false},
		{"stars next to each other are one", "a***b", "ab", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := Match(tt.pattern, tt.value); got != tt.want {
				t.Errorf("Match(%q, %q) = %t", tt.pattern, tt.value, got)
			}
		})
	}
}

func TestMatchIsNotExponential(t *testing.T) {
	t.Parallel()
	pattern := strings.Repeat("*a", 120) + "b"
	name := strings.Repeat("a", 253)
	done := make(chan bool, 1)
	go func() { done <- Match(pattern, name) }()
	select {
	case got := <-done:
		if got {
			t.Error("matched a name without a b")
		}
	case <-time.After(5 * time.Second):
		t.Fatal("matching a hostile pattern took more than 5 s")
	}
}

func TestAdmits(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	nets := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for _, tt := range []struct {
		name   string
		method Method
		client string
		want   Reason
	}{
		{"a method without rules lets every address in", Method{}, "203.0.113.1", ""},
		{"a method lets in before it expires", Method{Expires: now.Add(time.Second)}, "10.0.0.1", ""},
		{"a method lets nobody in at the moment it expires", Method{Expires: now}, "10.0.0.1", ReasonAccessExpired},
		{"an address inside a bound net is let in", Method{BoundIPs: nets}, "10.255.1.2", ""},
		{"an IPv6 address inside a bound net is let in", Method{BoundIPs: nets}, "fd12::1", ""},
		{"an IPv4 address written as IPv6 is the same address", Method{BoundIPs: nets}, "::ffff:10.0.0.1", ""},
		{"an address outside the bound nets is refused", Method{BoundIPs: nets}, "11.0.0.1", ReasonClientAddress},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := tt.method.Admits(netip.MustParseAddr(tt.client), now)
			if reasonOf(got) != tt.want {
				t.Errorf("got %+v, want reason %q", got, tt.want)
			}
		})
	}
	t.Run("an address that is not known is refused when addresses are bound", func(t *testing.T) {
		t.Parallel()
		method := Method{BoundIPs: nets}
		if got := method.Admits(netip.Addr{}, now); reasonOf(got) != ReasonClientAddress {
			t.Errorf("got %+v", got)
		}
	})
}

func TestAllows(t *testing.T) {
	t.Parallel()
	id := &Identity{Namespace: "my-namespace-a", ServiceAccount: "default", PodName: "mypod1", PodUID: "u", Audiences: []string{"gatepass"}}
	unbound := &Identity{Namespace: "my-namespace-a", ServiceAccount: "default", Audiences: []string{"gatepass"}}
	for _, tt := range []struct {
		name   string
		method Method
		id     *Identity
		want   Reason
	}{
		{"empty lists restrict nothing", Method{}, id, ""},
		{"all rules can match at once", Method{Audience: "gatepass", Namespaces: []string{"my-*"}, PodNames: []string{"mypod2", "mypod?"}, ServiceAccounts: []string{"*"}}, id, ""},
		{"another audience is refused", Method{Audience: "vault"}, id, ReasonAudience},
		{"an audience is no pattern", Method{Audience: "*"}, id, ReasonAudience},
		{"no audience at all is refused when one is bound", Method{Audience: "gatepass"}, &Identity{Namespace: "n", ServiceAccount: "s"}, ReasonAudience},
		{"another namespace is refused", Method{Namespaces: []string{"my-namespace-b"}}, id, ReasonNamespace},
		{"another service account is refused", Method{ServiceAccounts: []string{"web"}}, id, ReasonServiceAccount},
		{"another pod is refused", Method{PodNames: []string{"mypod2"}}, id, ReasonPodName},
		{"a token without a pod is refused when pods are bound", Method{PodNames: []string{"*"}}, unbound, ReasonNotPodBound},
		{"a token without a pod is let in when pods are not bound", Method{Namespaces: []string{"my-namespace-a"}}, unbound, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := tt.method.Allows(tt.id)
			if reasonOf(got) != tt.want {
				t.Errorf("got %+v, want reason %q", got, tt.want)
			}
			if got != nil && (got.Public == "" || got.Detail == "") {
				t.Errorf("a denial without words: %+v", got)
			}
		})
	}
}

func TestDenialDoesNotTellTheRules(t *testing.T) {
	t.Parallel()
	method := Method{Namespaces: []string{"secret-project"}}
	denial := method.Allows(&Identity{Namespace: "n", ServiceAccount: "s"})
	if denial == nil || strings.Contains(denial.Error(), "secret-project") {
		t.Errorf("the caller reads %v", denial)
	}
	if !strings.Contains(denial.Detail, "secret-project") {
		t.Errorf("the audit log reads %q", denial.Detail)
	}
}

func TestIdentityOf(t *testing.T) {
	t.Parallel()
	pod := func(name, uid []string) map[string][]string {
		return map[string][]string{extraPodName: name, extraPodUID: uid}
	}
	for _, tt := range []struct {
		name string
		user User
		want *Identity
	}{
		{"a pod's token",
			User{Username: "system:serviceaccount:ns:sa", UID: "1", Extra: pod([]string{"p"}, []string{"2"}), Audiences: []string{"a"}},
			&Identity{Namespace: "ns", ServiceAccount: "sa", ServiceAccountUID: "1", PodName: "p", PodUID: "2", Audiences: []string{"a"}}},
		{"a token without a pod", User{Username: "system:serviceaccount:ns:sa"}, &Identity{Namespace: "ns", ServiceAccount: "sa"}},
		{"a person", User{Username: "alice"}, nil},
		{"a node", User{Username: "system:node:n1"}, nil},
		{"a name with too few parts", User{Username: "system:serviceaccount:ns"}, nil},
		{"a name with too many parts", User{Username: "system:serviceaccount:ns:sa:x"}, nil},
		{"a name with an empty part", User{Username: "system:serviceaccount::sa"}, nil},
		{"a name with another prefix", User{Username: "sys:serviceaccount:ns:sa"}, nil},
		{"two pods", User{Username: "system:serviceaccount:ns:sa", Extra: pod([]string{"p", "q"}, []string{"2", "3"})}, nil},
		{"a pod without a UID", User{Username: "system:serviceaccount:ns:sa", Extra: pod([]string{"p"}, nil)}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, denial := IdentityOf(&tt.user)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if (got == nil) == (denial == nil) {
				t.Errorf("identity %v and denial %v", got, denial)
			}
			if got != nil && got.Subject() != tt.user.Username {
				t.Errorf("subject %q", got.Subject())
			}
		})
	}
}

func TestSubClaims(t *testing.T) {
	t.Parallel()
	id := Identity{Namespace: "ns", ServiceAccount: "sa", ServiceAccountUID: "1", Audiences: []string{"a", "b"}}
	want := map[string][]string{
		"namespace": {"ns"}, "service_account_name": {"sa"}, "service_account_uid": {"1"},
		"aud": {"a", "b"}, "config_name": {"k8s-conf"},
	}
	if diff := cmp.Diff(want, id.SubClaims("k8s-conf")); diff != "" {
		t.Error(diff)
	}
}

func reasonOf(d *Denial) Reason {
	if d == nil {
		return ""
	}
	return d.Reason
}

func TestLives(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	const ttl = 15 * time.Minute
	for _, tt := range []struct {
		name            string
		method          Method
		life, renewable time.Duration
	}{
		{"without a maximum nothing is renewed", Method{SessionTTL: ttl}, ttl, ttl},
		{"a maximum is for renewals only", Method{SessionTTL: ttl, SessionMaxTTL: time.Hour}, ttl, time.Hour},
		{"a maximum below the life changes nothing", Method{SessionTTL: ttl, SessionMaxTTL: time.Minute}, ttl, ttl},
		{"neither goes beyond the method's end", Method{SessionTTL: ttl, SessionMaxTTL: time.Hour, Expires: now.Add(time.Minute)}, time.Minute, time.Minute},
		{"the end may lie between them", Method{SessionTTL: ttl, SessionMaxTTL: time.Hour, Expires: now.Add(2 * ttl)}, ttl, 2 * ttl},
		{"afterwards there is no life", Method{SessionTTL: ttl, SessionMaxTTL: time.Hour, Expires: now.Add(-1)}, -1, -1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := tt.method.SessionLife(now); got != tt.life {
				t.Errorf("a session lives %s, want %s", got, tt.life)
			}
			if got := tt.method.RenewableLife(now); got != tt.renewable {
				t.Errorf("a renewed one lives %s, want %s", got, tt.renewable)
			}
		})
	}
}
