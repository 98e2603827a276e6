package profile_test

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/agent/config"
	"github.com/gatepass/gatepass/injector/profile"
)

const good = `
apiVersion: config.gatepass.dev/v1alpha1
kind: InjectorConfig
profiles:
  default:
    gateway: {url: https://gateway.example.com}
    login: {accessID: p-abcdefg1234km, authConfig: k8s-conf}
    agent: {image: ghcr.io/gatepass/agent:v0.1.0}
    overrides: [mode]
`

func options(files map[string]string) profile.Options {
	return profile.Options{
		Overridable: []string{"mode", "timeout"},
		ReadFile: func(name string) ([]byte, error) {
			if data, ok := files[name]; ok {
				return []byte(data), nil
			}
			return nil, &fs.PathError{Op: "open", Path: name, Err: errors.New("no such file or directory")}
		},
	}
}

func TestDefaults(t *testing.T) {
	set, err := profile.Parse([]byte(good), options(nil))
	if err != nil {
		t.Fatal(err)
	}
	p := set.Get("default")
	switch {
	case p == nil, set.Get("other") != nil:
		t.Fatal("want the profile default and no other")
	case p.Audience != "gatepass", p.ExpirationSeconds != 600:
		t.Errorf("token: %q, %d s", p.Audience, p.ExpirationSeconds)
	case p.Agent.Mode != config.ModeInit, p.Agent.Timeout != time.Minute, p.Agent.Protocol != config.ProtocolGateway:
		t.Errorf("agent: %+v", p.Agent)
	case !p.MayOverride("mode"), p.MayOverride("timeout"):
		t.Errorf("overrides: %v", p.Overrides())
	}
	if err := p.Agent.Validate(); err != nil {
		t.Errorf("the agent would refuse the profile: %v", err)
	}
}

// Every mistake of a file is reported at once, with its field's path.
func TestMistakes(t *testing.T) {
	for _, c := range []struct {
		name, file string
		want       []string
	}{
		{"an empty file", " \n", []string{"the file is empty; it must hold a InjectorConfig of config.gatepass.dev/v1alpha1"}},
		{"no YAML", "a: [", []string{"not valid YAML"}},
		{"a list instead of an object", "[]", []string{"not a valid InjectorConfig"}},
		{"the wrong version and kind", "apiVersion: v1\nkind: ConfigMap\nprofiles: {}",
			[]string{`apiVersion: Unsupported value: "v1": supported values: "config.gatepass.dev/v1alpha1"`, `kind: Unsupported value: "ConfigMap"`, `profiles: Required value: at least one profile is needed`}},
		{"two unknown fields and a wrong value", strings.NewReplacer("url:", "ulr:", "image:", "imgae:", "overrides: [mode]", "overrides: [mood, mode, mode]").Replace(good), []string{
			`unknown field "profiles.default.gateway.ulr"`, `unknown field "profiles.default.agent.imgae"`,
			`profiles[default].gateway.url: Invalid value: "": must be set`, `profiles[default].agent.image: Invalid value: "": must be set`,
			`profiles[default].overrides[0]: Unsupported value: "mood": supported values: "mode", "timeout"`, `profiles[default].overrides[2]: Duplicate value: "mode"`}},
		{"a second document", good + "---\nkind: More\n", []string{"holds 2 YAML documents; put everything in one"}},
		{"values of other types, each at its path and beside other mistakes", strings.NewReplacer("{accessID: p-abcdefg1234km, authConfig: k8s-conf}", "{accessID: 12, authConfig: k8s-conf}",
			"{image: ghcr.io/gatepass/agent:v0.1.0}", "{image: x, mode: Init, timeout: 60, metricsPort: all}",
			"overrides:", "token: {audience: [gatepass, vault], expirationSeconds: \"600\"}\n    overrides:").Replace(good), []string{
			`profiles[default].login.accessID: Invalid value: must be a string, not a number; write it in quotes: "12"`,
			`profiles[default].token.audience: Invalid value: must be a string, not a list`,
			`profiles[default].token.expirationSeconds: Invalid value: must be an integer, not a string; write it without quotes: 600`,
			`profiles[default].agent.timeout: Invalid value: must be a string, not a number; write it in quotes: "60"`,
			`profiles[default].agent.metricsPort: Invalid value: must be an integer, not a string`,
			`profiles[default].agent.mode: Invalid value: "Init"`}},
		{"a field given twice", strings.Replace(good, "overrides:", "gateway: {url: https://x.example.com}\n    overrides:", 1), []string{`key "gateway" already set in map`}},
		{"fields in other letters", strings.Replace(good, "profiles:", "Profiles:", 1), []string{`unknown field "Profiles"`}},
		{"a profile's name that no annotation could hold", strings.Replace(good, "default:", "Some_Name:", 1), []string{`profiles[Some_Name]: Invalid value`}},
		{"an unencrypted gateway", strings.Replace(good, "https://", "http://", 1), []string{`gateway.url: Invalid value: "http://gateway.example.com": "http://gateway.example.com" must begin with https://`}},
		{"a proxy that is no address", strings.Replace(good, "{url:", "{proxy: 'proxy.example:3128', url:", 1), []string{`gateway.proxy: Invalid value: "": is not a proxy's address; use for example http://proxy.example:3128, or none`}},
		{"a proxy with a password", strings.Replace(good, "{url:", "{proxy: 'http://me:c2VjcmV0@proxy.example:3128', url:", 1), []string{`gateway.proxy: Invalid value: "": must not hold a user or password`}},
		{"an unknown protocol", strings.Replace(good, "{url:", "{protocol: ldap, url:", 1), []string{`gateway.protocol: Unsupported value: "ldap"`}},
		{"a login for the other protocol", strings.Replace(good, "{url:", "{protocol: vault, url:", 1),
			[]string{`login.role: Required value: protocol vault needs it`, `login.accessID: Forbidden: protocol vault has no use for it`, `login.authConfig: Forbidden`}},
		{"a login that lacks everything", strings.Replace(good, "{accessID: p-abcdefg1234km, authConfig: k8s-conf}", "{}", 1), []string{`login.accessID: Required`, `login.authConfig: Required`}},
		{"a CA file that is missing", strings.Replace(good, "{url:", "{caFile: /ca.crt, url:", 1), []string{`gateway.caFile: Invalid value: "/ca.crt": can't be read: open /ca.crt`}},
		{"both a CA file and a bundle", strings.Replace(good, "{url:", "{caFile: /ca.crt, caBundle: x, url:", 1), []string{`gateway.caFile: Forbidden: caBundle is given as well`}},
		{"a bundle without certificates", strings.Replace(good, "{url:", "{caBundle: x, url:", 1), []string{`gateway.caBundle: Invalid value: "": holds no PEM certificate`}},
		{"a private key as bundle", strings.Replace(good, "{url:", `{caBundle: "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n", url:`, 1), []string{`holds a PEM block "PRIVATE KEY"; only CERTIFICATE blocks may be given to pods`}},
		{"a certificate that is none", strings.Replace(good, "{url:", `{caBundle: "-----BEGIN CERTIFICATE-----\nc2VjcmV0\n-----END CERTIFICATE-----\n", url:`, 1), []string{`can't be parsed`}},
		{"a bundle that is cut off", strings.Replace(good, "{url:", `{caBundle: "-----BEGIN CERTIFICATE-----\nc2VjcmV0\n", url:`, 1), []string{`holds a PEM block that is cut off or damaged`}},
		{"a token life out of range", strings.Replace(good, "overrides:", "token: {expirationSeconds: 60, audience: 'a b'}\n    overrides:", 1), []string{`token.expirationSeconds: Invalid value: 60: 60 is out of range`, `token.audience: Invalid value`}},
		{"amounts that can't be meant", strings.Replace(good, "agent:v0.1.0}", "agent:v0.1.0, resources: {requests: {cpu: 10Mi, memory: 64m, ephemeral-storage: '8'}, limits: {cpu: '100', memory: 8Mi, ephemeral-storage: 8k}}}", 1),
			[]string{`resources.requests.cpu: Invalid value: "10Mi": "10Mi" is 10485760 cores; did you mean 10m`, `resources.requests.memory: Invalid value: "64m": "64m" is 0.064 bytes; did you mean 64Mi?`,
				`resources.requests.ephemeral-storage: Invalid value: "8": "8" is 8 bytes; did you mean 8Mi?`, `resources.limits.cpu: Invalid value: "100": "100" is 100 cores`,
				`resources.limits.memory: Invalid value: "8Mi": "8Mi" is less than the agent needs`, `resources.limits.ephemeral-storage: Invalid value: "8k": "8k" is 8000 bytes`}},
		{"names that no container could have", strings.Replace(good, "overrides:", "excludeContainers: [Log_Shipper, a, a]\n    overrides:", 1),
			[]string{`excludeContainers[0]: Invalid value: "Log_Shipper"`, `excludeContainers[2]: Duplicate value: "a"`}},
		{"names that no Secret could have", strings.Replace(good, "agent:v0.1.0}", "agent:v0.1.0, imagePullSecrets: [{name: Pull Me}, {name: a}, {name: a}, {}]}", 1),
			[]string{`agent.imagePullSecrets[0].name: Invalid value: "Pull Me"`, `agent.imagePullSecrets[2].name: Duplicate value: "a"`, `agent.imagePullSecrets[3].name: Invalid value: ""`}},
		{"an agent that is wrong throughout", strings.Replace(good, "{image: ghcr.io/gatepass/agent:v0.1.0}",
			"{image: 'a b', imagePullPolicy: Sometimes, mode: sidcar, timeout: soon, checkInterval: 5s, logLevel: trace, metricsPort: 80, runAsUser: 0, runAsGroup: -1, resources: {requests: {cpu: lots, memory: 2Mi}, limits: {memory: 1Mi}}}", 1),
			[]string{`agent.image: Invalid`, `agent.imagePullPolicy: Unsupported value: "Sometimes"`, `agent.mode: Invalid value: "sidcar"`, `agent.timeout: Invalid value: "soon"`, `agent.checkInterval: Invalid value: "5s": 5s is out of range; use 10s to 1h0m0s, or 0 for never`, `agent.logLevel: Invalid value: "trace"`, `agent.metricsPort: Invalid value: 80: must be 1024 to 65535`,
				`agent.runAsUser: Invalid value: 0`, `agent.runAsGroup: Invalid value: -1`, `agent.resources.requests.cpu: Invalid value: "lots"`, `the request for memory (2Mi) is above its limit (1Mi)`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			set, err := profile.Parse([]byte(c.file), options(nil))
			if err == nil || set != nil {
				t.Fatalf("want the file refused, got profiles %v", set.Names())
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("want\n\t%s\nin\n\t%v", want, err)
				}
			}
			if strings.Contains(err.Error(), "c2VjcmV0") {
				t.Error("the error repeats what may be a secret")
			}
		})
	}
}

func TestABundleIsReducedToItsCertificates(t *testing.T) {
	data, err := os.ReadFile("../testdata/config.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var pem []string
	for line := range strings.SplitSeq(string(data), "\n") {
		if strings.HasPrefix(line, "        ") {
			pem = append(pem, strings.TrimSpace(line))
		}
	}
	bundle := strings.Join(pem, "\n") + "\n"
	// Whoever wrote the file may have left notes in it, also as PEM headers.
	noted := strings.Replace(bundle, "CERTIFICATE-----\n", "CERTIFICATE-----\nKept-By: Somebody\n\n", 1)
	file := "# our authority, kept by Somebody\n" + noted + "\ntrailing words\n"
	set, err := profile.Parse([]byte(strings.Replace(good, "{url:", "{caFile: /ca.crt, url:", 1)), options(map[string]string{"/ca.crt": file}))
	if err != nil {
		t.Fatal(err)
	}
	if got := set.Get("default").Agent.CABundle; got != bundle {
		t.Errorf("want only the certificate, got %q", got)
	}
	if _, err := profile.Parse([]byte(strings.Replace(good, "{url:", "{caFile: /ca.crt, url:", 1)), options(map[string]string{"/ca.crt": strings.Repeat(bundle, 200)})); err == nil || !strings.Contains(err.Error(), "every injected pod carries a copy") {
		t.Errorf("want a huge bundle refused, got %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(good))
	data, err := os.ReadFile("../testdata/config.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte("a: &a [*a]"))
	f.Add([]byte("profiles: {default: {gateway: {url: https://[::1]:8000/x}}}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		set, err := profile.Parse(data, options(nil))
		if (err == nil) == (set == nil) {
			t.Fatalf("either an error or profiles: %v, %v", set, err)
		}
		if err != nil {
			return
		}
		// Whatever the file says, no profile may come out that agents refuse.
		for _, name := range set.Names() {
			p := set.Get(name)
			if err := p.Agent.Validate(); err != nil {
				t.Fatalf("profile %q is taken, but its agent would refuse it: %v", name, err)
			}
		}
	})
}
