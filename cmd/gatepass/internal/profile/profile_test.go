package profile_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatepass/gatepass/cmd/gatepass/internal/profile"
)

func TestWhatIsSavedIsLoaded(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "gatepass", "config.yaml")
	c, err := profile.Load(path)
	if err != nil || len(c.Profiles) != 0 {
		t.Fatalf("a file that does not exist: %+v, %v", c, err)
	}
	c.Profiles["default"] = profile.Profile{GatewayURL: "https://gateway.example:8000", CAFile: "/ca.crt", AccessID: "p-1", AccessType: "access_key", AccessKeyFile: "/key"}
	c.Profiles["env"] = profile.Profile{GatewayURL: "https://gateway.example:8000", AccessID: "p-1", AccessType: "access_key", AccessKeyEnv: "KEY"}
	c.Profiles["pod"] = profile.Profile{GatewayURL: "https://gateway.example:8000", AccessID: "p-2", AccessType: "k8s", AuthConfig: "k8s-conf", ServiceAccountTokenFile: "/token"}
	for range 2 { // the second replaces the first
		if err := c.Save(path); err != nil {
			t.Fatal(err)
		}
	}
	got, err := profile.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(c, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"default", "env", "pod"}, got.Names()); diff != "" {
		t.Error(diff)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("the folder holds %v, %v", entries, err)
	}
}

func TestMistakesAreToldWithTheirPlace(t *testing.T) {
	t.Parallel()
	const header = "apiVersion: config.gatepass.dev/v1alpha1\nkind: CommandLineConfig\n"
	const url = "gatewayURL: https://gateway.example:8000"
	for _, tt := range []struct{ name, text, want string }{
		{"an empty file", " \n", "it is empty"},
		{"no YAML", "a: [", "not valid YAML"},
		{"another version", "apiVersion: v1\nkind: CommandLineConfig\n", `apiVersion: Unsupported value: "v1"`},
		{"another kind", "apiVersion: config.gatepass.dev/v1alpha1\nkind: InjectorConfig\n", `kind: Unsupported value: "InjectorConfig"`},
		{"an unknown field", header + "profiles: {a: {" + url + ", accessKey: secret}}", `unknown field "profiles.a.accessKey"`},
		{"a field given twice", header + "profiles: {a: {" + url + ", " + url + "}}", "already"},
		{"a text where profiles belong", header + "profiles: text", "profiles: Invalid value: must be an object, not a string"},
		{"a name that is none", header + "profiles: {A b: {" + url + "}}", `profiles[A b]: Invalid value: "A b"`},
		{"no address", header + "profiles: {a: {}}", "profiles[a].gatewayURL: Invalid value: must be set"},
		{"a password in the address", header + "profiles: {a: {gatewayURL: 'https://me:hunter2@gateway.example'}}", "must not hold a user or password"},
		{"a way to log in for nobody", header + "profiles: {a: {" + url + ", accessType: k8s}}", "profiles[a].accessType: Forbidden: it is of no use without accessID"},
		{"two places of the key", header + "profiles: {a: {" + url + ", accessID: p-1, accessType: access_key, accessKeyFile: /a, accessKeyEnv: B}}", "not both"},
		{"a key for a pod", header + "profiles: {a: {" + url + ", accessID: p-1, accessType: k8s, authConfig: c, accessKeyEnv: B}}", "are for accessType access_key"},
		{"a pod's token for a key", header + "profiles: {a: {" + url + ", accessID: p-1, accessType: access_key, accessKeyEnv: B, authConfig: c}}", "are for accessType k8s"},
		{"a type that is none", header + "profiles: {a: {" + url + ", accessID: p-1}}", "accessType: Unsupported value"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "config.yaml")
			if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := profile.Load(path)
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("%v, want %q", err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error holds the password: %v", err)
			}
		})
	}
}

func TestAMistakeIsNotSaved(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "config.yaml")
	c, err := profile.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	c.Profiles["a"] = profile.Profile{GatewayURL: "http://gateway.example"}
	if err := c.Save(path); err == nil {
		t.Error("it was saved")
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("there is a file: %v", err)
	}
}
