package injector_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/gatepass/gatepass/injector"
)

//go:generate go test -run=^TestGoldenPods$ -update .

var update = flag.Bool("update", false, "write the golden files anew")

// golden is what the golden files hold beside the injected pod.
type golden struct {
	Result   injector.Result `json:"result"`
	Reason   injector.Reason `json:"reason"`
	Profile  string          `json:"profile,omitempty"`
	Mode     string          `json:"mode,omitempty"`
	Warnings []string        `json:"warnings,omitempty"`
}

// fixtures are the pods of testdata/pods as JSON, by name.
func fixtures(t testing.TB) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob("testdata/pods/*.yaml")
	if err != nil || len(files) < 25 {
		t.Fatalf("want at least 25 fixture pods, have %d (%v)", len(files), err)
	}
	pods := make(map[string][]byte, len(files))
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := yaml.YAMLToJSON(data)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		pods[strings.TrimSuffix(filepath.Base(file), ".yaml")] = raw
	}
	return pods
}

// apply is the API server's part: it applies the patch with the same library.
func apply(t testing.TB, raw, patch []byte) []byte {
	t.Helper()
	if patch == nil {
		return raw
	}
	p, err := jsonpatch.DecodePatch(patch)
	if err != nil {
		t.Fatalf("the patch can't be decoded: %v\n%s", err, patch)
	}
	out, err := p.Apply(raw)
	if err != nil {
		t.Fatalf("the patch can't be applied: %v\n%s", err, patch)
	}
	return out
}

func TestGoldenPods(t *testing.T) {
	i := injector.New(profiles(t))
	for name, raw := range fixtures(t) {
		t.Run(name, func(t *testing.T) {
			d := i.Decide(raw)
			if d.Result != injector.Injected {
				t.Fatalf("want the pod injected, got %s: %s", d.Result, d.Message())
			}
			head, err := yaml.Marshal(golden{d.Result, d.Reason, d.Profile, d.Mode, d.Warnings})
			if err != nil {
				t.Fatal(err)
			}
			pod, err := yaml.JSONToYAML(apply(t, raw, d.Patch))
			if err != nil {
				t.Fatal(err)
			}
			got := append(append(head, "---\n"...), pod...)
			file := filepath.Join("testdata", "injected", name+".yaml")
			if *update {
				if err := os.WriteFile(file, got, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatalf("%v; run: make generate", err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("the injected pod differs from %s (after a wanted change run: make generate)\n%s", file, cmp.Diff(string(want), string(got)))
			}
		})
	}
}

func TestGoldenFilesHaveTheirPods(t *testing.T) {
	pods := fixtures(t)
	files, err := filepath.Glob("testdata/injected/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if name := strings.TrimSuffix(filepath.Base(file), ".yaml"); pods[name] == nil {
			t.Errorf("%s has no pod in testdata/pods; remove it", file)
		}
	}
}
