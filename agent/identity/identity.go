// Package identity reads the service-account token that the kubelet projects
// into the pod and that proves to the gateway who the pod is.
package identity

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
)

// MaxSize bounds the token file, in bytes. The API server's tokens are some
// 1 to 2 KiB; a JWT travels in HTTP headers of 8 KiB elsewhere, so that a
// larger one would not be usable as a bearer token anyway.
const MaxSize = 64 << 10

// swaps is how often Read looks again for a file that is missing. The kubelet
// removes the folder that a token was in right after it has turned a link to
// the next one (AtomicWriter in its pkg/volume/util), so that whoever is between
// the two finds nothing, and finds the next token when looking again.
const swaps = 5

// Read returns the token in the file at path, without surrounding white
// space. The kubelet replaces the file before the token expires: read it
// afresh for each login. The error names the file and what to do, never what
// the file holds.
func Read(path string) (token string, err error) {
	for range swaps {
		if token, err = read(path); !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return token, err
}

func read(path string) (string, error) {
	// Without the flag, opening a pipe would block for ever.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) //nolint:gosec // G304: the path is the configuration's
	if err != nil {
		return "", explain(path, err)
	}
	defer func() { _ = f.Close() }() // nothing was written
	info, err := f.Stat()
	if err != nil {
		return "", explain(path, err)
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s is not a regular file; it must be the projected service-account token", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err != nil {
		return "", explain(path, err)
	}
	if len(data) > MaxSize {
		return "", fmt.Errorf("%s is larger than %d bytes; it must hold one service-account token and nothing else", path, MaxSize)
	}
	token, err := Parse(string(data))
	if err != nil {
		return "", fmt.Errorf("%s %w", path, err)
	}
	return token, nil
}

// Parse trims white space from text and reports why the rest can't be a
// service-account token. The error never quotes the text.
func Parse(text string) (string, error) {
	token := strings.TrimSpace(text)
	if token == "" {
		return "", errors.New("is empty; it must hold a service-account token")
	}
	for i := range len(token) {
		if token[i] <= ' ' || token[i] >= 0x7f {
			return "", errors.New("holds something other than one service-account token")
		}
	}
	return token, nil
}

func explain(path string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s does not exist; the pod needs a projected serviceAccountToken volume there: %w", path, fs.ErrNotExist)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s may not be read by user %d; the kubelet lets only the pod's common runAsUser or its fsGroup read a projected token, so set one of them: %w",
			path, os.Getuid(), fs.ErrPermission)
	}
	return fmt.Errorf("reading the service-account token: %w", err)
}
