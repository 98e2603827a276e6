package authmethod

import (
	"regexp"
	"strings"
	"testing"
)

// FuzzMatch: patterns mean what their regular expressions mean.
func FuzzMatch(f *testing.F) {
	f.Add("web-*", "web-1")
	f.Add("*a*b?", "xaybz")
	f.Add("a.[b]", "a.[b]")
	f.Add("?", "\xff")
	f.Add("***", "")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		if len(pattern) > 300 || len(name) > 300 {
			return // longer than any name of Kubernetes
		}
		// Bytes, as Kubernetes' names have: one letter for each of 256.
		letters := func(text string) string {
			var b strings.Builder
			for i := range len(text) {
				b.WriteRune(rune(text[i]))
			}
			return b.String()
		}
		quoted := regexp.QuoteMeta(letters(pattern))
		want := regexp.MustCompile(`(?s)\A` + strings.NewReplacer(`\*`, `.*`, `\?`, `.`).Replace(quoted) + `\z`).MatchString(letters(name))
		if got := Match(pattern, name); got != want {
			t.Errorf("Match(%q, %q) = %t", pattern, name, got)
		}
	})
}

// FuzzIdentityOf: an identity has one namespace, one name and at most one pod, and
// is the user that the API server named.
func FuzzIdentityOf(f *testing.F) {
	f.Add("system:serviceaccount:ns:sa", "1", "pod\x00", "uid\x00")
	f.Add("system:serviceaccount:ns:sa", "1", "", "")
	f.Add("system:serviceaccount:n:s:a", "", "a\x00b", "c\x00d")
	f.Add("system:node:a", "", "\x00", "\x00")
	split := func(list string) []string {
		values := strings.Split(list, "\x00")
		return values[:len(values)-1]
	}
	f.Fuzz(func(t *testing.T, username, uid, pods, uids string) {
		id, denial := IdentityOf(&User{Username: username, UID: uid, Extra: map[string][]string{extraPodName: split(pods), extraPodUID: split(uids)}})
		if (id == nil) == (denial == nil) {
			t.Fatalf("identity %v and denial %v", id, denial)
		}
		if id == nil {
			if denial.Public == "" || denial.Reason == "" {
				t.Errorf("a denial without words: %+v", denial)
			}
			return
		}
		if id.Subject() != username || id.Namespace == "" || id.ServiceAccount == "" || strings.Contains(id.Namespace+id.ServiceAccount, ":") {
			t.Errorf("%q is %+v", username, id)
		}
		if want := strings.Join(split(pods), "\x00"); id.PodName != want || len(split(pods)) > 1 {
			t.Errorf("pods %q are %q", split(pods), id.PodName)
		}
	})
}
