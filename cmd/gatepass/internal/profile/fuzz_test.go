package profile

import (
	"net/url"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzParse: a file that is taken names only gateways that can be verified, and is
// the same when it was saved and loaded.
func FuzzParse(f *testing.F) {
	const header = "apiVersion: config.gatepass.dev/v1alpha1\nkind: CommandLineConfig\n"
	f.Add([]byte(header))
	f.Add([]byte(header + "profiles: {a: {gatewayURL: 'https://gateway.example:8000', accessID: p-1, accessType: access_key, accessKeyFile: /key}}"))
	f.Add([]byte(header + "profiles: {a: {gatewayURL: 'https://gateway.example', accessID: p-1, accessType: k8s, authConfig: c}, b: null}"))
	f.Add([]byte(header + "profiles: {a: {gatewayURL: 'https://me:hunter2@gateway.example'}}"))
	f.Add([]byte("a: &a [*a, *a]"))
	path := filepath.Join(f.TempDir(), "config.yaml")
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := parse(data)
		if (c == nil) == (err == nil) {
			t.Fatalf("configuration %v and error %v", c, err)
		}
		if err != nil {
			return
		}
		for name, p := range c.Profiles {
			if u, err := url.Parse(p.GatewayURL); err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
				t.Errorf("profile %s is at %q", name, p.GatewayURL)
			}
		}
		if err := c.Save(path); err != nil {
			t.Fatalf("what was parsed can't be saved: %v", err)
		}
		again, err := Load(path)
		if err != nil {
			t.Fatalf("what was saved can't be loaded: %v", err)
		}
		if diff := cmp.Diff(c, again); diff != "" {
			t.Error(diff)
		}
	})
}
