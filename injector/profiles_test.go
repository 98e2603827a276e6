package injector_test

import (
	"os"
	"testing"

	"github.com/gatepass/gatepass/injector"
	"github.com/gatepass/gatepass/injector/profile"
)

const minimal = `
apiVersion: config.gatepass.dev/v1alpha1
kind: InjectorConfig
profiles:
  default:
    gateway: {url: https://gateway.example.com}
    login: {accessID: p-abcdefg1234km, authConfig: k8s-conf}
    agent: {image: ghcr.io/gatepass/agent:v0.1.0}
`

func parse(t testing.TB, file string) *profile.Set {
	t.Helper()
	set, err := profile.Parse([]byte(file), profile.Options{ReadFile: os.ReadFile, Overridable: injector.Overridable()})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func profiles(t testing.TB) *profile.Set {
	t.Helper()
	data, err := os.ReadFile("testdata/config.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, string(data))
}
