package webhook

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepass/gatepass/injector"
)

const (
	configOK      = "gatepass_webhook_config_last_reload_successful"
	configTime    = "gatepass_webhook_config_last_reload_success_timestamp_seconds"
	configReloads = "gatepass_webhook_config_reloads_total"
)

// imageOf is the agent's image in what the profiles inject now: by it a test
// knows which configuration is in use.
func imageOf(t testing.TB, p *profiles) string {
	t.Helper()
	d := p.current()
	if d == nil {
		return ""
	}
	decision := d.Decide([]byte(annotatedPod))
	if decision.Result != injector.Injected {
		t.Fatalf("the pod is %s: %s", decision.Result, decision.Message())
	}
	_, rest, _ := strings.Cut(string(decision.Patch), `agent:`)
	version, _, _ := strings.Cut(rest, `"`)
	return version
}

func version(v string) string { return strings.Replace(goodConfig, "v0.1.0", v, 1) }

func newProfiles(file string) (*profiles, *lines) {
	l, log := newLog()
	return &profiles{file: file, log: log, metrics: newMetrics(func() time.Time { return time.Time{} })}, l
}

func TestAChangedConfigurationIsTakenIntoUse(t *testing.T) {
	for _, way := range []struct {
		name string
		// prepare writes the first content and returns the file to follow;
		// replace writes the next one.
		prepare func(t *testing.T, dir, content string) string
		replace func(t *testing.T, dir, content string)
	}{
		{"written in place",
			func(t *testing.T, dir, content string) string {
				t.Helper()
				write(t, filepath.Join(dir, "config.yaml"), content)
				return filepath.Join(dir, "config.yaml")
			},
			func(t *testing.T, dir, content string) {
				t.Helper()
				write(t, filepath.Join(dir, "config.yaml"), content)
			}},
		{"renamed over the old one",
			func(t *testing.T, dir, content string) string {
				t.Helper()
				write(t, filepath.Join(dir, "config.yaml"), content)
				return filepath.Join(dir, "config.yaml")
			},
			func(t *testing.T, dir, content string) {
				t.Helper()
				write(t, filepath.Join(dir, "new"), content)
				if err := os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, "config.yaml")); err != nil {
					t.Fatal(err)
				}
			}},
		{"swapped with a link above it, as the kubelet does", prepareLikeKubelet, replaceLikeKubelet},
	} {
		t.Run(way.name, func(t *testing.T) {
			dir := t.TempDir()
			p, log := newProfiles(way.prepare(t, dir, version("v1")))
			p.load()
			if got := imageOf(t, p); got != "v1" {
				t.Fatalf("at first %q is in use", got)
			}
			p.load()
			if got := len(log.with(t, "configuration loaded")); got != 1 {
				t.Errorf("a file that did not change was loaded %d times", got)
			}
			way.replace(t, dir, version("v2"))
			p.load()
			if got := imageOf(t, p); got != "v2" {
				t.Errorf("%q is in use", got)
			}
			way.replace(t, dir, version("v3"))
			p.load()
			if got := imageOf(t, p); got != "v3" {
				t.Errorf("after the second change %q is in use", got)
			}
			if got := metric(t, p.metrics, configReloads, "result=success"); got != 3 {
				t.Errorf("%g reloads counted", got)
			}
		})
	}
}

func prepareLikeKubelet(t *testing.T, dir, content string) string {
	t.Helper()
	replaceLikeKubelet(t, dir, content)
	if err := os.Symlink(filepath.Join("..data", "config.yaml"), filepath.Join(dir, "config.yaml")); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "config.yaml")
}

// replaceLikeKubelet writes a fresh folder and swaps ..data to it
// (k8s.io/kubernetes/pkg/volume/util/atomic_writer.go).
func replaceLikeKubelet(t *testing.T, dir, content string) {
	t.Helper()
	fresh, err := os.MkdirTemp(dir, "..2026_")
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(fresh, "config.yaml"), content)
	link := filepath.Join(dir, "..data")
	before, _ := os.Readlink(link)
	if err := os.Symlink(filepath.Base(fresh), link+"_tmp"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(link+"_tmp", link); err != nil {
		t.Fatal(err)
	}
	if before != "" {
		if err := os.RemoveAll(filepath.Join(dir, before)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestABrokenEditKeepsTheLastGoodConfiguration(t *testing.T) {
	for _, edit := range []struct{ name, content, says string }{
		{"a misspelt field", strings.Replace(version("v2"), "gateway:", "gatway:", 1), "gatway"},
		{"no YAML", "{", "YAML"},
		{"an empty file", "", "config"},
		{"a file that is too large", strings.Repeat("#", maxConfig+1), "larger than 1 MiB"},
		{"a CA file that is not there", strings.Replace(version("v2"), "{url: https://gateway.example.com}", "{url: https://gateway.example.com, caFile: /nowhere/ca.crt}", 1), "/nowhere/ca.crt"},
	} {
		t.Run(edit.name, func(t *testing.T) {
			file := writeConfig(t, version("v1"))
			p, log := newProfiles(file)
			p.load()
			loaded := metric(t, p.metrics, configTime)
			if metric(t, p.metrics, configOK) != 1 || loaded < float64(time.Now().Unix()-60) {
				t.Errorf("after the first load: success %g, time %g", metric(t, p.metrics, configOK), loaded)
			}
			write(t, file, edit.content)
			p.load()
			if got := imageOf(t, p); got != "v1" {
				t.Errorf("%q is in use", got)
			}
			if metric(t, p.metrics, configOK) != 0 || metric(t, p.metrics, configTime) != loaded || metric(t, p.metrics, configReloads, "result=failure") != 1 {
				t.Error("the metrics do not show that the edit is broken")
			}
			line := log.with(t, "the last good configuration stays in use")
			if len(line) != 1 || line[0]["level"] != "ERROR" || !strings.Contains(fmt.Sprint(line[0]["error"]), edit.says) {
				t.Errorf("the log says %v", line)
			}
			if p.ready() != nil {
				t.Error("the webhook is not ready any more, although it has a good configuration")
			}
			write(t, file, version("v3"))
			p.load()
			if got := imageOf(t, p); got != "v3" || metric(t, p.metrics, configOK) != 1 {
				t.Errorf("once mended, %q is in use, and success is %g", got, metric(t, p.metrics, configOK))
			}
		})
	}
}

func TestWithoutAGoodConfigurationNothingIsReady(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.yaml")
	p, log := newProfiles(file)
	p.load()
	if p.current() != nil || p.ready() == nil {
		t.Error("ready without a file")
	}
	if len(log.with(t, "every pod that asks for a session is refused")) != 1 {
		t.Errorf("the log is %s", log)
	}
	write(t, file, version("v1"))
	p.load()
	if got := imageOf(t, p); got != "v1" || p.ready() != nil {
		t.Errorf("%q is in use once there is a file", got)
	}
}

// A CA file is public data of the profile: it is followed as the file itself.
func TestAChangedCAFileIsTakenIntoUse(t *testing.T) {
	ca := filepath.Join(t.TempDir(), "ca.crt")
	first, second := caBundle(t), caBundle(t)
	write(t, ca, first)
	file := writeConfig(t, strings.Replace(goodConfig, "example.com}", "example.com, caFile: "+ca+"}", 1))
	p, _ := newProfiles(file)
	p.load()
	has := func(pem string) bool {
		return strings.Contains(string(p.current().Decide([]byte(annotatedPod)).Patch), strings.Split(pem, "\n")[2])
	}
	if !has(first) {
		t.Fatal("the first CA is not in the patch")
	}
	write(t, ca, second)
	p.load()
	if !has(second) || has(first) {
		t.Error("the second CA is not in use")
	}
	write(t, ca, "garbage")
	p.load()
	if !has(second) || metric(t, p.metrics, configOK) != 0 {
		t.Error("a broken CA file was taken into use, or not reported")
	}
}

func TestTheFileIsFollowedAndABrokenOneReportedEveryMinute(t *testing.T) {
	file := writeConfig(t, version("v1"))
	synctest.Test(t, func(t *testing.T) {
		p, log := newProfiles(file)
		p.load()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); p.watch(ctx) }()
		after := func(d time.Duration) {
			time.Sleep(d) // a bubble's clock: nobody waits
			synctest.Wait()
		}
		after(10 * time.Minute)
		if got := len(log.with(t, "configuration")); got != 1 {
			t.Errorf("ten minutes without a change: %d lines\n%s", got, log)
		}
		write(t, file, version("v2"))
		after(pollInterval + time.Millisecond)
		if got := imageOf(t, p); got != "v2" {
			t.Errorf("%q is in use after an interval", got)
		}
		write(t, file, "broken")
		after(pollInterval + time.Millisecond)
		if got := len(log.with(t, "is broken")); got != 1 {
			t.Errorf("%d lines after the edit", got)
		}
		after(complainInterval / 2)
		if got := len(log.with(t, "is broken")); got != 1 {
			t.Errorf("%d lines half a minute after", got)
		}
		after(10 * complainInterval)
		if got := len(log.with(t, "is broken")); got < 10 || got > 12 {
			t.Errorf("%d lines ten minutes after", got)
		}
		if got := metric(t, p.metrics, configReloads, "result=failure"); got != 1 {
			t.Errorf("one broken edit is counted %g times", got)
		}
		write(t, file, version("v3"))
		after(pollInterval + time.Millisecond)
		if got := imageOf(t, p); got != "v3" {
			t.Errorf("once mended, %q is in use", got)
		}
		cancel()
		<-done
	})
}
