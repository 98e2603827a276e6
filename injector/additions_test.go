package injector_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatepass/gatepass/injector"
)

// decodeAny keeps numbers as they are written.
func decodeAny(t testing.TB, raw []byte) map[string]any {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(string(raw)))
	dec.UseNumber()
	var v map[string]any
	if err := dec.Decode(&v); err != nil {
		t.Fatalf("not a JSON object: %v", err)
	}
	return v
}

// strip removes from an injected pod what Gatepass adds, and nothing else.
func strip(after, before map[string]any) {
	meta, was := object(after["metadata"]), object(before["metadata"])
	notes := object(meta["annotations"])
	if _, had := object(was["annotations"])["gatepass.dev/status"]; !had {
		delete(notes, "gatepass.dev/status")
	}
	restoreEmpty(meta, was, "annotations")
	spec, wasSpec := object(after["spec"]), object(before["spec"])
	spec["volumes"] = without(spec["volumes"], "gatepass-session", "gatepass-identity")
	restoreEmpty(spec, wasSpec, "volumes")
	spec["initContainers"] = without(spec["initContainers"], "gatepass-agent")
	restoreEmpty(spec, wasSpec, "initContainers")
	if n, now := len(array(wasSpec["imagePullSecrets"])), array(spec["imagePullSecrets"]); len(now) > n {
		spec["imagePullSecrets"] = now[:n] // ours are at the end
		restoreEmpty(spec, wasSpec, "imagePullSecrets")
	}
	for _, list := range []string{"initContainers", "containers"} {
		old := array(wasSpec[list])
		for i, c := range array(spec[list]) {
			c, old := object(c), object(old[i])
			c["volumeMounts"] = without(c["volumeMounts"], "gatepass-session")
			restoreEmpty(c, old, "volumeMounts")
			if len(array(c["env"])) > len(array(old["env"])) {
				c["env"] = without(c["env"], "GATEPASS_TOKEN_FILE")
			}
			restoreEmpty(c, old, "env")
		}
	}
}

func object(v any) map[string]any { m, _ := v.(map[string]any); return m }
func array(v any) []any           { a, _ := v.([]any); return a }

func without(v any, names ...string) []any {
	kept := []any{}
	for _, e := range array(v) {
		drop := false
		for _, name := range names {
			drop = drop || object(e)["name"] == name
		}
		if !drop {
			kept = append(kept, e)
		}
	}
	return kept
}

// restoreEmpty undoes the creation of an array or object that was missing or null.
func restoreEmpty(now, was map[string]any, key string) {
	size := len(array(now[key])) + len(object(now[key]))
	if old, had := was[key]; size == 0 && !had {
		delete(now, key)
	} else if size == 0 {
		now[key] = old
	}
}

// checkAdditions holds a decision against the first and third invariants.
func checkAdditions(t testing.TB, i *injector.Injector, raw []byte) {
	t.Helper()
	d := i.Decide(raw)
	if d.Result != injector.Injected {
		if d.Patch != nil {
			t.Fatalf("a pod that is %s has a patch: %s", d.Result, d.Patch)
		}
		return
	}
	var operations []struct{ Op string }
	if err := json.Unmarshal(d.Patch, &operations); err != nil {
		t.Fatal(err)
	}
	for _, o := range operations {
		if o.Op != "add" {
			t.Fatalf("the patch holds a %q operation", o.Op)
		}
	}
	injected := apply(t, raw, d.Patch)
	before, after := decodeAny(t, raw), decodeAny(t, injected)
	strip(after, before)
	if diff := cmp.Diff(before, after); diff != "" {
		t.Fatalf("something changed outside of the additions (-before +after):\n%s", diff)
	}
	again := i.Decide(injected)
	if again.Result != injector.Unchanged || again.Patch != nil {
		t.Fatalf("the second injection is %s (%s) with patch %s", again.Result, again.Message(), again.Patch)
	}
}

func TestPatchesOnlyAdd(t *testing.T) {
	i := injector.New(profiles(t))
	for name, raw := range fixtures(t) {
		t.Run(name, func(t *testing.T) { checkAdditions(t, i, raw) })
	}
}

// stuff puts fields that nobody knows into every object of a value.
func stuff(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for key, value := range v {
			out[key] = stuff(value)
		}
		out["zzFutureField"] = map[string]any{"list": []any{json.Number("12345678901234567890"), nil, 1.25, "x"}, "deep": map[string]any{"name": "gatepass"}}
		out["aaFutureFlag"] = true
		return out
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = stuff(v[i])
		}
		return out
	}
	return v
}

// stuffPod leaves the maps of strings alone: there every key is a user's.
func stuffPod(t testing.TB, raw []byte) []byte {
	t.Helper()
	pod := decodeAny(t, raw)
	notes, labels := object(pod["metadata"])["annotations"], object(pod["metadata"])["labels"]
	stuffed := object(stuff(pod))
	meta := object(stuffed["metadata"])
	for key, value := range map[string]any{"annotations": notes, "labels": labels} {
		if value != nil {
			meta[key] = value
		}
	}
	out, err := json.Marshal(stuffed)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestUnknownFieldsAtEveryLevelStay(t *testing.T) {
	i := injector.New(profiles(t))
	for name, raw := range fixtures(t) {
		t.Run(name, func(t *testing.T) {
			stuffed := stuffPod(t, raw)
			if d := i.Decide(stuffed); d.Result != injector.Injected {
				t.Fatalf("a pod with unknown fields is %s: %s", d.Result, d.Message())
			}
			checkAdditions(t, i, stuffed)
		})
	}
}

func TestEqualPodsGetEqualDecisions(t *testing.T) {
	i := injector.New(profiles(t))
	for name, raw := range fixtures(t) {
		first := i.Decide(raw)
		for range 20 {
			if diff := cmp.Diff(first, i.Decide(raw), cmp.AllowUnexported(injector.Decision{})); diff != "" {
				t.Fatalf("%s: two decisions differ:\n%s", name, diff)
			}
		}
	}
}

// randomPod makes pods of many shapes from one source of randomness.
func randomPod(r *rand.Rand) []byte {
	maybe := func(n int) bool { return r.IntN(n) == 0 }
	security := func() map[string]any {
		s := map[string]any{}
		if maybe(2) {
			s["runAsUser"] = []int64{0, 1000, 1001, 65532}[r.IntN(4)]
		}
		if maybe(3) {
			s["runAsGroup"] = []int64{0, 1000, 3000}[r.IntN(3)]
		}
		return s
	}
	newContainer := func(name string) map[string]any {
		c := map[string]any{"name": name, "image": "registry.example.com/" + name}
		if maybe(2) {
			c["securityContext"] = security()
		}
		switch r.IntN(4) {
		case 0:
			c["env"] = []any{}
		case 1:
			c["env"] = nil
		case 2:
			c["env"] = []any{map[string]any{"name": "A", "value": "b"}}
		}
		switch r.IntN(4) {
		case 0:
			c["volumeMounts"] = []any{}
		case 1:
			c["volumeMounts"] = nil
		case 2:
			c["volumeMounts"] = []any{map[string]any{"name": "data", "mountPath": []string{"/data", "/var", "/var/run/gatepass", "/var/run/gatepass/x"}[r.IntN(4)]}}
		}
		return c
	}
	list := func(prefix string, most int) []any {
		out := []any{}
		for n := range r.IntN(most + 1) {
			out = append(out, newContainer(fmt.Sprintf("%s-%d", prefix, n)))
		}
		return out
	}
	spec := map[string]any{"containers": append(list("app", 3), newContainer("main"))}
	if maybe(2) {
		spec["initContainers"] = list("init", 3)
	}
	switch r.IntN(3) {
	case 0:
		spec["volumes"] = []any{}
	case 1:
		spec["volumes"] = []any{map[string]any{"name": "data", "emptyDir": map[string]any{}}}
	}
	if maybe(2) {
		spec["securityContext"] = security()
	}
	if maybe(8) {
		spec["hostNetwork"] = true
	}
	notes := map[string]any{"gatepass.dev/inject": "true"}
	choices := map[string][]string{
		"mode": {"init", "sidecar", "sidcar"}, "revoke-on-exit": {"true", "false", "maybe"}, "containers": {"main", "main,app-0", "init-0", " main ", "nobody"},
		"mount-path": {"/session", "/data/session", "relative"}, "token-file": {"t", "token.jwt", "a/b"}, "token-mode": {"0400", "0440", "0644", "777"},
		"profile": {"default", "locked", "vault", "valut"}, "agent-run-as-user": {"1000", "2000", "0", "x"}, "status": {"injected", "?"},
	}
	for _, key := range []string{"mode", "containers", "mount-path", "token-file", "token-mode", "profile", "agent-run-as-user", "status"} {
		if maybe(5) {
			notes["gatepass.dev/"+key] = choices[key][r.IntN(len(choices[key]))]
		}
	}
	raw, err := json.Marshal(map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": "x", "annotations": notes}, "spec": spec})
	if err != nil {
		panic(err)
	}
	return raw
}

func TestRandomPodsOnlyGetAdditions(t *testing.T) {
	i := injector.New(profiles(t))
	results := map[injector.Result]int{}
	for seed := range uint64(3000) {
		raw := randomPod(rand.New(rand.NewPCG(seed, 1))) //nolint:gosec // repeatable on purpose
		results[i.Decide(raw).Result]++
		checkAdditions(t, i, raw)
		if t.Failed() {
			t.Fatalf("seed %d: %s", seed, raw)
		}
	}
	if results[injector.Injected] < 500 || results[injector.Denied] < 500 {
		t.Errorf("the pods are too much alike: %v", results)
	}
}

func TestContainersAddedLaterGetTheSession(t *testing.T) {
	i := injector.New(profiles(t))
	first := i.Decide(fixtures(t)["a-user-for-the-whole-pod"])
	pod := decodeAny(t, apply(t, fixtures(t)["a-user-for-the-whole-pod"], first.Patch))
	spec := object(pod["spec"])
	spec["containers"] = append(array(spec["containers"]), map[string]any{"name": "late", "image": "x", "securityContext": map[string]any{"runAsUser": 1337}})
	spec["initContainers"] = append([]any{map[string]any{"name": "early", "image": "x"}}, array(spec["initContainers"])...)
	raw, err := json.Marshal(pod)
	if err != nil {
		t.Fatal(err)
	}
	d := i.Decide(raw)
	if d.Result != injector.Injected || d.Reason != injector.ReasonCompleted {
		t.Fatalf("want the pod completed, got %s, %s: %s", d.Result, d.Reason, d.Message())
	}
	want := []any{map[string]any{"name": "gatepass-session", "mountPath": "/var/run/gatepass", "readOnly": true}}
	after := object(decodeAny(t, apply(t, raw, d.Patch))["spec"])
	if diff := cmp.Diff(want, array(object(array(after["containers"])[1])["volumeMounts"])); diff != "" {
		t.Errorf("the container that came last:\n%s", diff)
	}
	if diff := cmp.Diff(want, array(object(array(after["initContainers"])[0])["volumeMounts"])); diff != "" {
		t.Errorf("the init container that came before the agent:\n%s", diff)
	}
	if len(d.Warnings) != 2 || !strings.Contains(d.Warnings[0], "find no session: early") || !strings.Contains(d.Warnings[1], "unreadable in: late") {
		t.Errorf("want warnings of the container before the agent and of the one with another user, got %q", d.Warnings)
	}
	checkAdditionsAfterwards(t, i, apply(t, raw, d.Patch))
}

func checkAdditionsAfterwards(t *testing.T, i *injector.Injector, raw []byte) {
	t.Helper()
	if d := i.Decide(raw); d.Result != injector.Unchanged {
		t.Errorf("want nothing left to add, got %s: %s", d.Result, d.Patch)
	}
}
