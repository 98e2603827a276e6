package identity

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestRead(t *testing.T) {
	t.Parallel()
	const token = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln"
	tests := []struct {
		name, content, want, wantErr string
	}{
		{"a token is read as it is", token, token, ""},
		{"white space around the token is trimmed", "\n " + token + " \r\n", token, ""},
		{"the largest allowed file is read", strings.Repeat("a", MaxSize), strings.Repeat("a", MaxSize), ""},
		{"an empty file is refused", "", "", "is empty"},
		{"a file of white space is refused", " \n\t", "", "is empty"},
		{"a file that is too large is refused", strings.Repeat("a", MaxSize+1), "", "larger than"},
		{"two lines are refused", token + "\n" + token, "", "something other than one"},
		{"a zero byte is refused", token + "\x00", "", "something other than one"},
		{"text that is not ASCII is refused", "tökén", "", "something other than one"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "token")
			if err := os.WriteFile(path, []byte(tt.content), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := Read(path)
			if got != tt.want {
				t.Errorf("Read = %.40q, want %.40q", got, tt.want)
			}
			if tt.wantErr == "" {
				if err != nil {
					t.Errorf("Read: %v", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.wantErr) || !strings.Contains(err.Error(), path) {
				t.Fatalf("error is %v, want one that names %s and says %q", err, path, tt.wantErr)
			}
			if strings.Contains(err.Error(), "eyJ") {
				t.Errorf("the error quotes the file: %v", err)
			}
		})
	}
}

func TestReadWhatIsNoFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	t.Run("a missing file is reported as missing", func(t *testing.T) {
		t.Parallel()
		_, err := Read(filepath.Join(dir, "none"))
		if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "projected") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a directory is refused", func(t *testing.T) {
		t.Parallel()
		if _, err := Read(dir); err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a pipe does not block", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(dir, "pipe")
		if err := syscall.Mkfifo(path, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(path); err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("the kubelet's symlinks are followed", func(t *testing.T) {
		t.Parallel()
		if err := os.Mkdir(filepath.Join(dir, "..2030"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "..2030", "token"), []byte("abc"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("..2030", filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("..data/token", filepath.Join(dir, "token")); err != nil {
			t.Fatal(err)
		}
		if got, err := Read(filepath.Join(dir, "token")); got != "abc" || err != nil {
			t.Errorf("Read = %q, %v", got, err)
		}
	})
}

// A refusal by file mode can't be shown as root, who may read everything; the
// message is therefore tested on the error itself.
func TestExplainPermission(t *testing.T) {
	t.Parallel()
	err := explain("/x/token", &fs.PathError{Op: "open", Path: "/x/token", Err: syscall.EACCES})
	if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "runAsUser") {
		t.Errorf("got %v", err)
	}
}
