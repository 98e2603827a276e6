package config

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const whole = `
apiVersion: config.gatepass.dev/v1alpha1
kind: GatewayConfig
issuer: https://gatepass-gateway.gatepass-system.svc:8000
authMethods:
- name: my-k8s-auth-method
  accessID: p-abcdefghij12km
  accessExpires: "2030-01-01T00:00:00Z"
  sessionTTL: 20m
  sessionMaxTTL: 1h
  boundIPs: [10.0.0.0/8, 192.0.2.7, "2001:db8::/32"]
  kubernetes:
    audience: gatepass
    boundNamespaces: [my-namespace-a]
    boundPodNames: [mypod1, "mypod?"]
    boundServiceAccountNames: ["*"]
kubernetesAuthConfigs:
- name: k8s-conf
  accessID: p-abcdefghij12km
  host: https://10.0.0.1:6443
  caFile: /etc/gatepass/ca.crt
  reviewer:
    type: certificate
    certFile: /etc/gatepass/tls.crt
    keyFile: /etc/gatepass/tls.key
- name: own
  accessID: p-abcdefghij12km
  reviewer: {type: gateway}
`

const head = "apiVersion: config.gatepass.dev/v1alpha1\nkind: GatewayConfig\nissuer: https://g:8000\n"

func TestParse(t *testing.T) {
	t.Parallel()
	got, err := Parse([]byte(whole))
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{
		Issuer: "https://gatepass-gateway.gatepass-system.svc:8000",
		AuthMethods: []AuthMethod{{
			Name: "my-k8s-auth-method", AccessID: "p-abcdefghij12km",
			AccessExpires: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC), SessionTTL: 20 * time.Minute, SessionMaxTTL: time.Hour,
			BoundIPs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.7/32"),
				netip.MustParsePrefix("2001:db8::/32")},
			Kubernetes: KubernetesRules{Audience: "gatepass", BoundNamespaces: []string{"my-namespace-a"},
				BoundPodNames: []string{"mypod1", "mypod?"}, BoundServiceAccountNames: []string{"*"}},
		}},
		KubernetesAuthConfigs: []KubernetesAuthConfig{
			{Name: "k8s-conf", AccessID: "p-abcdefghij12km", Host: "https://10.0.0.1:6443", CAFile: "/etc/gatepass/ca.crt",
				Reviewer: Reviewer{Type: ReviewerCertificate, CertFile: "/etc/gatepass/tls.crt", KeyFile: "/etc/gatepass/tls.key"}},
			{Name: "own", AccessID: "p-abcdefghij12km", Reviewer: Reviewer{Type: ReviewerGateway}},
		},
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
		t.Error(diff)
	}
}

func TestParseDefaults(t *testing.T) {
	t.Parallel()
	got, err := Parse([]byte(head + "authMethods:\n- {name: m, accessID: p-abcdefghij12km, kubernetes: {}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if got.AuthMethods[0].SessionTTL != 15*time.Minute || !got.AuthMethods[0].AccessExpires.IsZero() {
		t.Errorf("%+v", got.AuthMethods[0])
	}
}

func TestParseMappedAddresses(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"::ffff:127.0.0.1": "127.0.0.1/32", "::ffff:10.1.2.3/104": "10.0.0.0/8", "::ffff:0:0/96": "0.0.0.0/0", "10.1.2.3/8": "10.0.0.0/8", "::/0": "::/0",
	} {
		got, err := Parse([]byte(method("  boundIPs: [\"" + text + "\"]\n")))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got.AuthMethods[0].BoundIPs[0] != netip.MustParsePrefix(want) {
			t.Errorf("%s is %s, want %s", text, got.AuthMethods[0].BoundIPs[0], want)
		}
	}
}

// method is a file with one auth method that has a mistake.
func method(fields string) string {
	return head + "authMethods:\n- name: m\n  accessID: p-abcdefghij12km\n  kubernetes: {}\n" + fields
}

// authConfig is a file with one auth config that has a mistake.
func authConfig(fields string) string {
	return method("kubernetesAuthConfigs:\n- name: c\n  accessID: p-abcdefghij12km\n" + fields)
}

func TestParseMistakes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, file, want string }{
		{"an empty file", "", "the file is empty"},
		{"a file of comments has no kind", "# nothing\n", "kind: Unsupported value"},
		{"a file that is not YAML", "a: [", "the file is not valid YAML"},
		{"a second document", head + "---\nkind: More\n", "holds 2 YAML documents"},
		{"a key given twice", head + "issuer: https://h\n", `key "issuer" already set`},
		{"a list where an object belongs", "[]", "does not have the shape"},
		{"a number where text belongs", head + "authMethods: [{name: 1}]", `authMethods[0].name: Invalid value: must be a string, not a number; write it in quotes: "1"`},
		{"another apiVersion", strings.Replace(head, "v1alpha1", "v2", 1), `apiVersion: Unsupported value: "config.gatepass.dev/v2"`},
		{"another kind", strings.Replace(head, "GatewayConfig", "InjectorConfig", 1), `kind: Unsupported value: "InjectorConfig"`},
		{"an unknown field at the top", head + "authMethod: []", "authMethod: Forbidden: unknown field"},
		{"an unknown field in a list", method("  boundIps: []"), "authMethods[0].boundIps: Forbidden: unknown field"},
		{"a field in another case", strings.Replace(head, "issuer", "Issuer", 1), "Issuer: Forbidden: unknown field"},
		{"no issuer", strings.Replace(head, "issuer: https://g:8000", "", 1), "issuer: Required value"},
		{"an issuer without TLS", strings.Replace(head, "https", "http", 1), "issuer: Invalid value: \"http://g:8000\": must begin with https://"},
		{"an issuer with a slash at its end", strings.Replace(head, "8000", "8000/", 1), "must not end with a slash"},
		{"an issuer with a path", strings.Replace(head, "8000", "8000/foo", 1), "must not have a path"},
		{"an issuer without a host", strings.Replace(head, "//g:", "//:", 1), "must name a host"},
		{"an empty list of namespaces", head + "authMethods: [{name: m, accessID: p-abcdefghij12km, kubernetes: {boundNamespaces: []}}]", "authMethods[0].kubernetes.boundNamespaces: Invalid"},
		{"an empty list of pods", head + "authMethods: [{name: m, accessID: p-abcdefghij12km, kubernetes: {boundPodNames: []}}]", "authMethods[0].kubernetes.boundPodNames: Invalid"},
		{"an empty list of accounts", head + "authMethods: [{name: m, accessID: p-abcdefghij12km, kubernetes: {boundServiceAccountNames: []}}]", "an empty list would let everybody in"},
		{"an empty list of addresses", method("  boundIPs: []"), "authMethods[0].boundIPs: Invalid"},
		{"an issuer with a query", strings.Replace(head, "8000", "8000?x=1", 1), "must not have a query"},
		{"an issuer with a password", strings.Replace(head, "//g", "//u:p@g", 1), "must not hold a user"},
		{"no method name", head + "authMethods: [{accessID: p-abcdefghij12km, kubernetes: {}}]", "authMethods[0].name: Required"},
		{"a method name with a line break", head + "authMethods: [{name: \"a\\nb\", accessID: p-abcdefghij12km, kubernetes: {}}]", "authMethods[0].name: Invalid"},
		{"a method name that is too long", head + "authMethods: [{name: " + strings.Repeat("x", 254) + ", accessID: p-abcdefghij12km, kubernetes: {}}]", "authMethods[0].name: Too long"},
		{"the administrator's method", head + "authMethods: [{name: /admin, accessID: p-abcdefghij12km, kubernetes: {}}]", "authMethods[0].name: Forbidden"},
		{"no access id", head + "authMethods: [{name: m, kubernetes: {}}]", "authMethods[0].accessID: Required"},
		{"an access id of another form", head + "authMethods: [{name: m, accessID: ../x, kubernetes: {}}]", "authMethods[0].accessID: Invalid"},
		{"two methods of one name", method("- {name: m, accessID: p-abcdefghij13km, kubernetes: {}}"), "authMethods[1].name: Duplicate"},
		{"two methods of one access id", method("- {name: m2, accessID: p-abcdefghij12km, kubernetes: {}}"), "authMethods[1].accessID: Duplicate"},
		{"a method without rules", head + "authMethods: [{name: m, accessID: p-abcdefghij12km}]", "authMethods[0].kubernetes: Required"},
		{"a role without a name", head + "roles:\n- {rules: []}\n", "roles[0].name: Required"},
		{"a role whose name is no path", head + "roles:\n- {name: a//b}\n", "roles[0].name: Invalid"},
		{"the built-in role", head + "roles:\n- {name: /admin}\n", "roles[0].name: Forbidden"},
		{"two roles of one name", head + "roles:\n- {name: a}\n- {name: /a}\n", "roles[1].name: Duplicate"},
		{"a rule of another type", head + "roles:\n- {name: a, rules: [{type: x, path: /a, capabilities: [read]}]}\n", "roles[0].rules[0].type: Unsupported"},
		{"a rule that is there twice", head + "roles:\n- {name: a, rules: [{type: item-rule, path: /a, capabilities: [read]}, {type: item-rule, path: /a, capabilities: [list]}]}\n", "roles[0].rules[1].path: Duplicate"},
		{"a role for an auth method that is not there", head + "roles:\n- {name: a, associations: [{authMethod: b}]}\n", "roles[0].associations[0].authMethod: Not found"},
		{"a role for nobody", head + "roles:\n- {name: a, associations: [{subClaims: {}}]}\n", "roles[0].associations[0].authMethod: Required"},
		{"an expiry that is a date", method("  accessExpires: \"2030-01-01\""), "authMethods[0].accessExpires: Invalid"},
		{"a session that lives too short", method("  sessionTTL: 1s"), "authMethods[0].sessionTTL: Invalid"},
		{"a session that lives too long", method("  sessionTTL: 25h"), "authMethods[0].sessionTTL: Invalid"},
		{"a renewed session that lives too long", method("  sessionMaxTTL: 25h"), "authMethods[0].sessionMaxTTL: Invalid"},
		{"a session's life without a unit", method("  sessionTTL: \"900\""), "authMethods[0].sessionTTL: Invalid"},
		{"a signing key of an auth method", method("  signingKeyFile: /key.pem"), "authMethods[0].signingKeyFile: Forbidden: sessions are signed with keys of the gateway, and of no auth method; remove the field, and start the gateway with --signing-keys-file"},
		{"an address that is none", method("  boundIPs: [10.0.0.0/8, 10.0.0.0/33]"), "authMethods[0].boundIPs[1]: Invalid"},
		{"a host name as an address", method("  boundIPs: [localhost]"), "authMethods[0].boundIPs[0]: Invalid"},
		{"two names in one pattern", head + "authMethods: [{name: m, accessID: p-abcdefghij12km, kubernetes: {boundNamespaces: [\"a,b\"]}}]", "authMethods[0].kubernetes.boundNamespaces[0]: Invalid"},
		{"an empty pattern", head + "authMethods: [{name: m, accessID: p-abcdefghij12km, kubernetes: {boundPodNames: [\"\"]}}]", "authMethods[0].kubernetes.boundPodNames[0]: Invalid"},
		{"an audience with a space at its end", head + "authMethods: [{name: m, accessID: p-abcdefghij12km, kubernetes: {audience: \"a \"}}]", "authMethods[0].kubernetes.audience: Invalid"},
		{"an auth config of an unknown method", method("kubernetesAuthConfigs: [{name: c, accessID: p-unknownunkn12km, reviewer: {type: gateway}}]"), "kubernetesAuthConfigs[0].accessID: Not found"},
		{"an auth config without a method", method("kubernetesAuthConfigs: [{name: c, reviewer: {type: gateway}}]"), "kubernetesAuthConfigs[0].accessID: Required"},
		{"two auth configs of one name", authConfig("  reviewer: {type: gateway}\n- {name: c, accessID: p-abcdefghij12km, reviewer: {type: gateway}}"), "kubernetesAuthConfigs[1].name: Duplicate"},
		{"a host without TLS", authConfig("  host: http://x\n  reviewer: {type: gateway}"), "kubernetesAuthConfigs[0].host: Invalid"},
		{"two CAs", authConfig("  caFile: /ca\n  caBundle: x\n  reviewer: {type: gateway}"), "kubernetesAuthConfigs[0].caBundle: Forbidden"},
		{"a CA bundle without a certificate", authConfig("  caBundle: x\n  reviewer: {type: gateway}"), "holds no PEM certificate"},
		{"a CA bundle whose certificates are not on lines of their own", authConfig(`  caBundle: "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE----------BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"` + "\n  reviewer: {type: gateway}"), "block 1 is cut off or is not valid PEM"},
		{"no reviewer", authConfig("  host: https://x"), "kubernetesAuthConfigs[0].reviewer: Required"},
		{"a reviewer without a type", authConfig("  reviewer: {}"), "kubernetesAuthConfigs[0].reviewer.type: Required"},
		{"a reviewer of an unknown type", authConfig("  reviewer: {type: pod}"), "kubernetesAuthConfigs[0].reviewer.type: Unsupported"},
		{"a token reviewer without a token", authConfig("  reviewer: {type: token}"), "kubernetesAuthConfigs[0].reviewer.tokenFile: Required"},
		{"a certificate reviewer without a key", authConfig("  reviewer: {type: certificate, certFile: /c}"), "kubernetesAuthConfigs[0].reviewer.keyFile: Required"},
		{"a file that the type does not use", authConfig("  reviewer: {type: gateway, tokenFile: /t}"), "kubernetesAuthConfigs[0].reviewer.tokenFile: Forbidden"},
		{"a file that is too large", head + "#" + strings.Repeat("x", MaxSize), "more than"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := Parse([]byte(tt.file))
			if err == nil {
				t.Fatalf("accepted: %+v", got)
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %q does not contain %q", err, tt.want)
			}
		})
	}
}

func TestParseReportsAllMistakesAtOnce(t *testing.T) {
	t.Parallel()
	_, err := Parse([]byte("kind: X\nissuer: ftp://x\nauthMethods: [{accessID: x, sessionTTL: long, boundIPs: [z]}]\nkubernetesAuthConfigs: [{nam: q}]\n"))
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"apiVersion", "kind", "issuer", "authMethods[0].name", "authMethods[0].accessID", "authMethods[0].sessionTTL",
		"authMethods[0].boundIPs[0]", "authMethods[0].kubernetes", "kubernetesAuthConfigs[0].nam:", "kubernetesAuthConfigs[0].name",
		"kubernetesAuthConfigs[0].accessID", "kubernetesAuthConfigs[0].reviewer"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no word of %s in %q", want, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(whole))
	f.Add([]byte(head))
	f.Add([]byte(method("  boundIPs: [::ffff:10.0.0.1/104]\n  accessExpires: \"0000-01-01T00:00:00Z\"")))
	f.Add([]byte("a: &a [*a]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		cfg, err := Parse(data)
		if (cfg == nil) == (err == nil) {
			t.Fatalf("configuration %v and error %v", cfg, err)
		}
		if err != nil {
			return
		}
		for _, m := range cfg.AuthMethods {
			if m.Name == "" || m.AccessID == "" || m.SessionTTL < MinSessionTTL || m.SessionTTL > MaxSessionTTL {
				t.Errorf("accepted %+v", m)
			}
			for _, p := range m.BoundIPs {
				if !p.IsValid() {
					t.Errorf("accepted the net %v", p)
				}
			}
		}
	})
}

// swap puts a file into a folder as the kubelet does: in a new folder, behind
// a symbolic link that is replaced.
func swap(t *testing.T, dir, content string) {
	t.Helper()
	fresh, err := os.MkdirTemp(dir, "..data-")
	if err == nil {
		err = os.WriteFile(filepath.Join(fresh, "config.yaml"), []byte(content), 0o600)
	}
	if err == nil {
		err = os.Symlink(filepath.Base(fresh), filepath.Join(dir, "..tmp"))
	}
	if err == nil {
		err = os.Rename(filepath.Join(dir, "..tmp"), filepath.Join(dir, "..data"))
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestWatch(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Symlink(filepath.Join("..data", "config.yaml"), filepath.Join(dir, "config.yaml")); err != nil {
		t.Fatal(err)
	}
	swap(t, dir, head)
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var applied []string
		var outcomes []error
		notUp := errors.New("the API server is not up")
		var mu sync.Mutex // what is below is written by two goroutines in turn
		refuse := false
		ended := make(chan error, 1)
		go func() {
			ended <- Watch(ctx, WatchOptions{
				File: filepath.Join(dir, "config.yaml"),
				Apply: func(_ context.Context, c *Config) error {
					mu.Lock()
					defer mu.Unlock()
					if refuse {
						return notUp
					}
					applied = append(applied, c.Issuer)
					return nil
				},
				Reloaded: func(err error) {
					mu.Lock()
					defer mu.Unlock()
					outcomes = append(outcomes, err)
				},
				Logger: slog.New(slog.DiscardHandler),
			})
		}()
		step := func(d time.Duration) {
			time.Sleep(d)
			synctest.Wait()
		}
		setRefuse := func(v bool) {
			mu.Lock()
			defer mu.Unlock()
			refuse = v
		}
		expect := func(what string, tries int, good bool, want ...string) {
			t.Helper()
			mu.Lock()
			defer mu.Unlock()
			if diff := cmp.Diff(want, applied); diff != "" {
				t.Errorf("%s: %s", what, diff)
			}
			if len(outcomes) != tries || (outcomes[len(outcomes)-1] == nil) != good {
				t.Errorf("%s: outcomes %v", what, outcomes)
			}
		}
		step(time.Millisecond)
		expect("at the start", 1, true, "https://g:8000")
		step(time.Minute)
		expect("an unchanged file is not applied again", 1, true, "https://g:8000")

		swap(t, dir, strings.Replace(head, "g:8000", "h:8000", 1))
		step(2 * time.Second)
		expect("a swapped file is applied", 2, true, "https://g:8000", "https://h:8000")

		swap(t, dir, "nonsense")
		step(2 * time.Second)
		expect("a broken file is not applied", 3, false, "https://g:8000", "https://h:8000")

		if err := os.Remove(filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
		step(2 * time.Second)
		expect("a missing file is not applied", 4, false, "https://g:8000", "https://h:8000")

		setRefuse(true)
		swap(t, dir, strings.Replace(head, "g:8000", "i:8000", 1))
		step(2 * time.Second)
		expect("a file that can't be taken into use is not applied", 5, false, "https://g:8000", "https://h:8000")
		setRefuse(false)
		step(retryInterval + time.Second)
		expect("it is tried again without a change", 6, true, "https://g:8000", "https://h:8000", "https://i:8000")

		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
