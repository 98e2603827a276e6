package handover

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/gateway/catalog"
)

func credentials(n string) catalog.Credentials {
	return catalog.Credentials{AccessID: "p-abcdefghijk" + n + "a1", AccessKey: strings.Repeat(n, 43)}
}

func TestFile(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "credentials")
	first, second := NewFile(name), NewFile(name)
	for _, f := range []*File{first, second, first} {
		if got, err := f.Keep(t.Context(), credentials("1")); err != nil || got != credentials("1") {
			t.Errorf("%v, %v", got, err)
		}
	}
	if got, err := second.Keep(t.Context(), credentials("2")); err != nil || got != credentials("1") {
		t.Errorf("the file was written over: %v, %v", got, err)
	}
	if info, err := os.Stat(name); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if left, err := os.ReadDir(filepath.Dir(name)); err != nil || len(left) != 1 {
		t.Errorf("files beside it: %v, %v", left, err)
	}
	if err := second.Withdraw(); err == nil || !strings.Contains(err.Error(), "not the administrator's") {
		t.Errorf("somebody else's file: %v", err)
	}
	if err := first.Withdraw(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(name); err == nil {
		t.Error("worthless credentials are still there")
	}
}

func TestFileIsLeftAsItIs(t *testing.T) {
	t.Parallel()
	var whole strings.Builder
	if err := Write(&whole, credentials("1")); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, content string
		mode          fs.FileMode
		want          string
	}{
		{"an empty one", "", 0o600, "holds something else"},
		{"somebody's notes", "Access ID: p-abc\nremember the milk\n", 0o600, "holds something else"},
		{"half of one", whole.String()[:90], 0o600, "holds something else"},
		{"one with more", whole.String() + "more\n", 0o600, "holds something else"},
		{"one that others may read", whole.String(), 0o604, "others may read"},
		{"one that others may write", whole.String(), 0o602, "others may read or write"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			name := filepath.Join(t.TempDir(), "credentials")
			if err := os.WriteFile(name, []byte(tt.content), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(name, tt.mode); err != nil {
				t.Fatal(err)
			}
			_, err := NewFile(name).Keep(t.Context(), credentials("2"))
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), credentials("1").AccessKey) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			if content, err := os.ReadFile(name); err != nil || string(content) != tt.content {
				t.Errorf("it was changed to %q, %v", content, err)
			}
		})
	}
	t.Run("a folder that is missing", func(t *testing.T) {
		t.Parallel()
		if _, err := NewFile(filepath.Join(t.TempDir(), "missing", "f")).Keep(t.Context(), credentials("1")); err == nil {
			t.Error("credentials were lost")
		}
	})
}

func TestSecretNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "a", "/a", "a/", "a/b/c"} {
		if _, err := NewSecret(SecretOptions{Name: name}); err == nil || !strings.Contains(err.Error(), "NAMESPACE/NAME") {
			t.Errorf("%q: %v", name, err)
		}
	}
}
