// Package report is what a program in a pod can see of itself and of the
// tokens around it, for tests to compare with what it should see.
package report

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// Report is one look around.
type Report struct {
	// Began is when the program started to run.
	Began time.Time `json:"began"`
	UID   int       `json:"uid"`
	GID   int       `json:"gid"`
	// Groups are the supplementary groups.
	Groups []int `json:"groups"`
	// TokenFile is what the environment names; empty if it names none.
	TokenFile string `json:"tokenFile"`
	// Session is the content of that file; Problem is why it can't be read.
	Session string `json:"session"`
	Problem string `json:"problem,omitempty"`
	// Details is the content of session.json beside it.
	Details json.RawMessage `json:"details,omitempty"`
	// Files are all files in places that volumes are mounted at.
	Files []File `json:"files"`
	// WritesRoot is whether the root file system can be written to.
	WritesRoot bool `json:"writesRoot"`
}

// File is a file as its reader sees it.
type File struct {
	Path string      `json:"path"`
	Mode fs.FileMode `json:"mode"`
	UID  int         `json:"uid"`
	GID  int         `json:"gid"`
	// Readable is whether opening it succeeded.
	Readable bool `json:"readable"`
	// Audience is that of a token in it.
	Audience []string `json:"audience,omitempty"`
	// Session is whether that token is one of a gateway, and not one of
	// Kubernetes.
	Session bool `json:"session,omitempty"`
}

// places returns where volumes are mounted; the rest of the image is a program.
// /proc leads to what other processes of the pod see, should the pod share
// their namespace.
func places() []string { return []string{"/var", "/run", "/etc", "/tmp", "/mnt", "/session"} }

// Make looks around.
func Make(began time.Time) *Report {
	r := &Report{Began: began, UID: os.Getuid(), GID: os.Getgid(), TokenFile: os.Getenv("GATEPASS_TOKEN_FILE")}
	var err error
	if r.Groups, err = os.Getgroups(); err != nil {
		r.Problem = err.Error()
	}
	if r.TokenFile != "" {
		r.readSession()
	}
	roots := places()
	others, err := filepath.Glob("/proc/[0-9]*/root")
	if err == nil {
		for _, root := range others {
			for _, p := range places() {
				roots = append(roots, root+p)
			}
		}
	}
	for _, root := range roots {
		r.Files = append(r.Files, list(root)...)
	}
	probe := "/gatepass-writes-here"
	if err := os.WriteFile(probe, nil, 0o600); err == nil {
		r.WritesRoot = true
		_ = os.Remove(probe)
	}
	return r
}

func (r *Report) readSession() {
	content, err := os.ReadFile(r.TokenFile)
	if err != nil {
		r.Problem = err.Error()
		return
	}
	r.Session = string(content)
	details, err := os.ReadFile(filepath.Join(filepath.Dir(r.TokenFile), "session.json"))
	if err != nil {
		r.Problem = err.Error()
		return
	}
	r.Details = details
}

func list(root string) []File {
	var files []File
	// What can't be looked into holds nothing that can be read either: errors are
	// no findings.
	_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, look(path)...)
		}
		return nil
	})
	return files
}

// look returns a regular file, followed through links, or nothing.
func look(path string) []File {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return nil
	}
	f := File{Path: path, Mode: info.Mode().Perm()}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		f.UID, f.GID = int(stat.Uid), int(stat.Gid)
	}
	content, err := os.ReadFile(path)
	f.Readable = err == nil
	f.Audience, f.Session = audience(string(content))
	return []File{f}
}

// token is a JSON Web Token of RFC 7515's compact form.
var token = regexp.MustCompile(`eyJ[\w-]+\.([\w-]+)\.[\w-]+`)

func audience(content string) (names []string, session bool) {
	found := token.FindStringSubmatch(content)
	if found == nil {
		return nil, false
	}
	claims, err := Claims(found[0])
	if err != nil {
		return nil, false
	}
	switch aud := claims["aud"].(type) {
	case string:
		names = []string{aud}
	case []any:
		for _, a := range aud {
			if s, ok := a.(string); ok {
				names = append(names, s)
			}
		}
	}
	_, session = claims["access_id"]
	return names, session
}

// Claims decodes a token's claims without verifying anything.
func Claims(jwt string) (map[string]any, error) {
	parts := strings.Split(jwt, ".")
	if len(parts) != 3 {
		return nil, fmt.Errorf("a token has 3 parts, not %d", len(parts))
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil, fmt.Errorf("decode the claims: %w", err)
	}
	claims := map[string]any{}
	if err := json.Unmarshal(payload, &claims); err != nil {
		return nil, fmt.Errorf("decode the claims: %w", err)
	}
	return claims, nil
}
