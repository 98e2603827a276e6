// Command web is the application of the demo's pod. It knows nothing of
// Gatepass but one environment variable, and prints what it finds there.
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run() error {
	file := os.Getenv("GATEPASS_TOKEN_FILE")
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	token, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	parts := bytes.Split(token, []byte("."))
	if len(parts) != 3 {
		return fmt.Errorf("%s holds no JWT", file)
	}
	payload, err := base64.RawURLEncoding.AppendDecode(nil, parts[1])
	if err != nil {
		return fmt.Errorf("%s: decode the claims: %w", file, err)
	}
	var claims bytes.Buffer
	if err := json.Indent(&claims, payload, "", "  "); err != nil {
		return fmt.Errorf("%s: decode the claims: %w", file, err)
	}
	fmt.Printf("I am user %d. $GATEPASS_TOKEN_FILE is %s:\n", os.Getuid(), file)
	fmt.Printf("mode %s, %d bytes, a JWT with these claims:\n%s\n", info.Mode(), info.Size(), &claims)
	beside := os.WriteFile(filepath.Join(filepath.Dir(file), "mine"), nil, 0o600)
	fmt.Printf("Can I write beside it? %t. What else is in /var/run? %v\n", beside == nil, others("/var/run", filepath.Dir(file)))
	return nil
}

// others lists what a folder holds besides one entry.
func others(dir, except string) []string {
	names := []string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return names
	}
	for _, e := range entries {
		if name := filepath.Join(dir, e.Name()); name != except {
			names = append(names, name)
		}
	}
	return names
}
