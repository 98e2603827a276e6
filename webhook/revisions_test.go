package webhook

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	jsonpatch "github.com/evanphx/json-patch/v5"

	"github.com/gatepass/gatepass/injector"
)

// injectedBy is annotatedPod as the profiles in use inject it.
func injectedBy(t *testing.T, p *profiles) []byte {
	t.Helper()
	d := p.current().Decide([]byte(annotatedPod))
	if d.Result != injector.Injected {
		t.Fatalf("the pod is %s: %s", d.Result, d.Message())
	}
	patch, err := jsonpatch.DecodePatch(d.Patch)
	if err != nil {
		t.Fatal(err)
	}
	pod, err := patch.Apply([]byte(annotatedPod))
	if err != nil {
		t.Fatal(err)
	}
	return pod
}

// Two replicas hold neighbouring versions of the profiles for a minute or two,
// and may be asked about one pod in turn.
func TestAnAgentOfTheLastRevisionIsTakenForABoundedTime(t *testing.T) {
	for _, edit := range []struct{ name, next string }{
		{"another image", version("v2")},
		{"another gateway", strings.Replace(version("v1"), "https://gateway.example.com", "https://gateway2.example.com", 1)},
		{"another access id", strings.Replace(version("v1"), "accessID: p-", "accessID: q-", 1)},
		{"the profile under another name", strings.Replace(version("v1"), "default:", "renamed:", 1)},
	} {
		t.Run(edit.name, func(t *testing.T) {
			if edit.next == version("v1") {
				t.Fatal("the edit changes nothing")
			}
			file := writeConfig(t, version("v1"))
			synctest.Test(t, func(t *testing.T) {
				p, _ := newProfiles(file)
				p.load()
				pod := injectedBy(t, p)
				write(t, file, edit.next)
				p.load()
				d := p.current().Decide(pod)
				if d.Reason != injector.ReasonAlreadyInjected || !strings.Contains(strings.Join(d.Warnings, ";"), "before a change in the last minutes") {
					t.Errorf("after the edit the pod is %s, %s: %s %q", d.Result, d.Reason, d.Message(), d.Warnings)
				}
				time.Sleep(earlierFor - time.Second) // a bubble's clock: nobody waits
				if d := p.current().Decide(pod); !d.Allowed() {
					t.Errorf("shortly before the end the pod is %s: %s", d.Result, d.Message())
				}
				time.Sleep(2 * time.Second)
				if d := p.current().Decide(pod); d.Allowed() {
					t.Errorf("after the end the pod is %s, %s", d.Result, d.Reason)
				}
			})
		})
	}
}

func TestNothingIsInjectedByAnEarlierRevision(t *testing.T) {
	file := writeConfig(t, version("v1"))
	p, _ := newProfiles(file)
	p.load()
	write(t, file, strings.Replace(version("v2"), "default:", "renamed:", 1))
	p.load()
	if d := p.current().Decide([]byte(annotatedPod)); d.Reason != injector.ReasonUnknownProfile {
		t.Errorf("a pod without an agent whose profile is gone is %s, %s", d.Result, d.Reason)
	}
}

func TestAForgedAgentOfNoRevisionIsRefused(t *testing.T) {
	file := writeConfig(t, version("v1"))
	p, _ := newProfiles(file)
	p.load()
	pod := strings.Replace(string(injectedBy(t, p)), "https://gateway.example.com", "https://evil.example.com", 1)
	write(t, file, version("v2"))
	p.load()
	d := p.current().Decide([]byte(pod))
	if d.Reason != injector.ReasonForeignAgent || !strings.Contains(d.Message(), "GATEPASS_GATEWAY_URL") {
		t.Errorf("the pod is %s, %s: %s", d.Result, d.Reason, d.Message())
	}
}

func TestFewEarlierRevisionsAreKept(t *testing.T) {
	file := writeConfig(t, version("v0"))
	p, _ := newProfiles(file)
	p.load()
	first := injectedBy(t, p)
	for n := range maxEarlier {
		write(t, file, version("v1."+strings.Repeat("1", n+1)))
		p.load()
	}
	if d := p.current().Decide(first); !d.Allowed() {
		t.Errorf("the oldest revision that is kept is not asked: %s", d.Message())
	}
	write(t, file, version("v2"))
	p.load()
	if d := p.current().Decide(first); d.Allowed() {
		t.Errorf("after %d edits the pod is %s", maxEarlier+1, d.Result)
	}
	if n := len(p.inUse.Load().earlier); n != maxEarlier {
		t.Errorf("%d earlier revisions are kept", n)
	}
}
