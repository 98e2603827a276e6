package config

import (
	"io/fs"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func valid() Config {
	c := Default()
	c.GatewayURL = "https://gatepass-gateway.gatepass-system.svc:8000"
	c.AccessID, c.AuthConfig = "p-abcdefghij12km", "k8s-conf"
	return c
}

func lookup(vars []Variable) func(string) (string, bool) {
	m := map[string]string{}
	for _, v := range vars {
		m[v.Name] = v.Value
	}
	return func(name string) (string, bool) { v, ok := m[name]; return v, ok }
}

func TestEnvAndBack(t *testing.T) {
	t.Parallel()
	vault := valid()
	vault.Protocol, vault.AccessID, vault.AuthConfig = ProtocolVault, "", ""
	vault.Role, vault.AuthPath, vault.AuthNamespace = "r", "auth/k8s", "team"
	full := valid()
	full.Mode, full.TokenMode, full.Timeout, full.LogLevel = ModeSidecar, 0o444, 90*time.Second, slog.LevelDebug
	full.RevokeOnExit, full.MetricsAddress = true, "127.0.0.1:9465"
	full.Proxy = "http://proxy.example:3128"
	full.CABundle, full.TerminationMessageFile = "-----BEGIN CERTIFICATE-----\n", "/tmp/x"
	for name, c := range map[string]Config{"the least": valid(), "everything": full, "the vault protocol": vault} {
		t.Run(name+" survives the environment", func(t *testing.T) {
			t.Parallel()
			got, err := FromEnv(lookup(c.Env()))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if err := got.Validate(); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("settings of the other protocol and mode are left out", func(t *testing.T) {
		t.Parallel()
		c := valid()
		c.MetricsAddress = ":9465"
		for _, v := range c.Env() {
			if strings.Contains(v.Name, "METRICS") || strings.Contains(v.Name, "ROLE") || strings.Contains(v.Name, "AUTH_PATH") || v.Value == "" {
				t.Errorf("%s=%q", v.Name, v.Value)
			}
		}
	})
}

func TestFromEnvReportsEverything(t *testing.T) {
	t.Parallel()
	_, err := FromEnv(lookup([]Variable{
		{"GATEPASS_REVOKE_ON_EXIT", "yes"}, {"GATEPASS_METRICS_ADDRESS", "localhost"},
		{"GATEPASS_MODE", "once"}, {"GATEPASS_TOKEN_MODE", "777"}, {"GATEPASS_TIMEOUT", "5"}, {"GATEPASS_LOG_LEVEL", "loud"}, {"GATEPASS_PROTOCOL", "ldap"},
	}))
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"GATEPASS_MODE: ", "GATEPASS_TOKEN_MODE: ", "GATEPASS_TIMEOUT: ", "GATEPASS_LOG_LEVEL: ", "GATEPASS_PROTOCOL: ", "GATEPASS_REVOKE_ON_EXIT: ", "GATEPASS_METRICS_ADDRESS: "} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not reported: %v", want, err)
		}
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"no address":                    {func(c *Config) { c.GatewayURL = "" }, "GATEPASS_GATEWAY_URL: must be set"},
		"no access id":                  {func(c *Config) { c.AccessID = "" }, "GATEPASS_ACCESS_ID: "},
		"no auth config":                {func(c *Config) { c.AuthConfig = "" }, "GATEPASS_AUTH_CONFIG: "},
		"no role":                       {func(c *Config) { c.Protocol = ProtocolVault }, "GATEPASS_ROLE: "},
		"no auth path":                  {func(c *Config) { c.Protocol, c.Role, c.AuthPath = ProtocolVault, "r", "" }, "GATEPASS_AUTH_PATH: "},
		"a revocation in mode init":     {func(c *Config) { c.RevokeOnExit = true }, "GATEPASS_REVOKE_ON_EXIT: needs mode sidecar"},
		"a relative identity file":      {func(c *Config) { c.IdentityFile = "token" }, "GATEPASS_IDENTITY_FILE: "},
		"a token file that climbs":      {func(c *Config) { c.TokenFile = "/var/run/gatepass/../x" }, "GATEPASS_TOKEN_FILE: "},
		"a token file that is a folder": {func(c *Config) { c.TokenFile = "/var/run/gatepass/" }, "GATEPASS_TOKEN_FILE: "},
		"the root as token file":        {func(c *Config) { c.TokenFile = "/" }, "GATEPASS_TOKEN_FILE: "},
		"a zero byte in a file":         {func(c *Config) { c.TokenFile = "/a\x00b" }, "GATEPASS_TOKEN_FILE: "},
		"the authority as token file":   {func(c *Config) { c.TokenFile = "/var/run/gatepass/ca.crt" }, "GATEPASS_TOKEN_FILE: "},
		"the description as token file": {func(c *Config) { c.TokenFile = "/var/run/gatepass/session.json" }, "GATEPASS_TOKEN_FILE: "},
		"a relative termination log":    {func(c *Config) { c.TerminationMessageFile = "log" }, "GATEPASS_TERMINATION_MESSAGE_FILE: "},
	} {
		t.Run(name+" is refused", func(t *testing.T) {
			t.Parallel()
			c := valid()
			tt.change(&c)
			if err := c.Validate(); err == nil || !strings.HasPrefix(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestCheckURL(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"https://g", "https://g:8000", "https://g:65535/api/v2", "https://[::1]:8000", "https://10.0.0.1"} {
		t.Run(good+" is taken", func(t *testing.T) {
			t.Parallel()
			if err := CheckURL(good); err != nil {
				t.Error(err)
			}
		})
	}
	for bad, want := range map[string]string{
		"":                         "must be set",
		"http://g":                 "https://",
		"g:8000":                   "https://",
		"https://":                 "names no host",
		"https://:8000":            "names no host",
		"https://g:0":              "port",
		"https://g:70000":          "port",
		"https://g/?x=hunter2":     "query",
		"https://g/?":              "query",
		"https://g/#hunter2":       "query or fragment",
		"https://g/#":              "query or fragment",
		"https://u:hunter2@g":      "user or password",
		"http://u:hunter2@g":       "user or password",
		"https://u:hunter2@g:x":    "is not a URL",
		"https://u:hunter2@g\x7f/": "is not a URL",
	} {
		t.Run("\""+bad+"\" is refused", func(t *testing.T) {
			t.Parallel()
			err := CheckURL(bad)
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Fatalf("got %v, want %q", err, want)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error holds a password: %v", err)
			}
		})
	}
}

func TestCheckProxy(t *testing.T) {
	t.Parallel()
	for _, v := range []string{"", "none", "http://proxy.example:3128", "https://proxy.example", "http://10.0.0.1:3128/", "http://[fd00::1]:3128"} {
		if err := CheckProxy(v); err != nil {
			t.Errorf("%q: %v", v, err)
		}
	}
	for v, want := range map[string]string{
		"proxy.example:3128":                    "is not a proxy's address",
		"proxy":                                 "is not a proxy's address",
		"http://":                               "is not a proxy's address",
		"http://proxy.example:3128/path":        "is not a proxy's address",
		"http://me:hunter2@proxy.example:3128":  "must not hold a user or password",
		"http://me:hunter2@proxy.example:31x28": "is not a proxy's address",
		"socks5://proxy.example:1080":           `"socks5://proxy.example:1080" must begin with http:// or https://`,
		"http://proxy.example:3128?x=1":         "must not have a query or fragment",
		"http://proxy.example:99999":            "has no valid port",
	} {
		if err := CheckProxy(v); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: want %q, got %v", v, want, err)
		}
	}
	c := valid()
	if c.FirstHop() != c.GatewayURL {
		t.Errorf("want the server first, got %q", c.FirstHop())
	}
	if c.Proxy = "http://p.example"; c.FirstHop() != c.Proxy {
		t.Errorf("want the proxy first, got %q", c.FirstHop())
	}
	if c.Proxy = ProxyNone; c.FirstHop() != c.GatewayURL {
		t.Errorf("want the server first, got %q", c.FirstHop())
	}
}

func TestParseFileMode(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]fs.FileMode{"0400": 0o400, "400": 0o400, "0440": 0o440, "444": 0o444, "0660": 0o660} {
		if got, err := ParseFileMode(in); got != want || err != nil {
			t.Errorf("ParseFileMode(%q) = %v, %v", in, got, err)
		}
	}
	for in, want := range map[string]string{"": "not an octal", "8": "not an octal", "-1": "not an octal", "01777": "not an octal", "0040": "owner", "0700": "executable", "0646": "everybody"} {
		if _, err := ParseFileMode(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseFileMode(%q): %v, want %q", in, err, want)
		}
	}
	for m := range fs.FileMode(0o1000) {
		parsed, err := ParseFileMode(FormatFileMode(m))
		if err == nil && parsed != m || err != nil && m == 0o400 {
			t.Errorf("%#o is written %s and read back %#o, %v", m, FormatFileMode(m), parsed, err)
		}
	}
}

func TestParseTimeout(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]time.Duration{"1s": time.Second, "60s": time.Minute, "1h": time.Hour} {
		if got, err := ParseTimeout(in); got != want || err != nil {
			t.Errorf("ParseTimeout(%q) = %v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "5", "999ms", "1h1s", "-5s", "1e9h"} {
		if got, err := ParseTimeout(in); err == nil {
			t.Errorf("ParseTimeout(%q) = %v", in, got)
		}
	}
}

func TestParseCheckInterval(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]time.Duration{"0": 0, "0s": 0, "10s": 10 * time.Second, "45s": 45 * time.Second, "1h": time.Hour} {
		if got, err := ParseCheckInterval(in); got != want || err != nil {
			t.Errorf("ParseCheckInterval(%q) = %v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "45", "9s", "1h1s", "-45s", "1e9h"} {
		if got, err := ParseCheckInterval(in); err == nil {
			t.Errorf("ParseCheckInterval(%q) = %v", in, got)
		}
	}
}

// What every pod would have is in none.
func TestTheCheckIntervalIsWrittenWhereItIsChanged(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		mode     Mode
		interval time.Duration
		want     string
	}{
		{ModeSidecar, DefaultCheckInterval, ""},
		{ModeSidecar, 0, "0s"},
		{ModeSidecar, 90 * time.Second, "1m30s"},
		{ModeInit, 0, ""},
	} {
		c := valid()
		c.Mode, c.CheckInterval = row.mode, row.interval
		vars := c.Env()
		got, _ := lookup(vars)("GATEPASS_CHECK_INTERVAL")
		if got != row.want {
			t.Errorf("%s, %s: %q, want %q", row.mode, row.interval, got, row.want)
		}
		if again, err := FromEnv(lookup(vars)); err != nil || row.mode == ModeSidecar && again.CheckInterval != row.interval {
			t.Errorf("%s is read back as %s, %v", row.interval, again.CheckInterval, err)
		}
	}
}

func TestSettingsAreNamedOnce(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, s := range Settings() {
		if seen[s.Env] || seen[s.Flag] || s.Usage == "" || !strings.HasPrefix(s.Env, "GATEPASS_") || s.Flag != strings.ToLower(s.Flag) {
			t.Errorf("%s, %s", s.Env, s.Flag)
		}
		seen[s.Env], seen[s.Flag] = true, true
	}
}

// FuzzFromEnv: no environment makes the agent panic, and one that it accepts
// is written and read back as the same.
func FuzzFromEnv(f *testing.F) {
	f.Add("init", "gateway", "https://g:8000", "p-1", "k8s-conf", "", "/i/token", "/s/token", "0400", "60s", "info")
	f.Add("sidecar", "vault", "https://[::1]", "", "", "role", "/i", "/s", "444", "1h", "debug")
	f.Add("x", "y", "http://u:p@h", "", "", "", "i", "../s", "0777", "5", "loud")
	names := []string{
		"GATEPASS_MODE", "GATEPASS_PROTOCOL", "GATEPASS_GATEWAY_URL", "GATEPASS_ACCESS_ID", "GATEPASS_AUTH_CONFIG", "GATEPASS_ROLE",
		"GATEPASS_IDENTITY_FILE", "GATEPASS_TOKEN_FILE", "GATEPASS_TOKEN_MODE", "GATEPASS_TIMEOUT", "GATEPASS_LOG_LEVEL",
	}
	f.Fuzz(func(t *testing.T, a, b, c, d, e, g, h, i, j, k, l string) {
		var vars []Variable
		for n, v := range []string{a, b, c, d, e, g, h, i, j, k, l} {
			vars = append(vars, Variable{names[n], v})
		}
		got, err := FromEnv(lookup(vars))
		if err != nil || got.Validate() != nil {
			return
		}
		// Only the settings of its own protocol travel.
		switch got.Protocol {
		case ProtocolGateway:
			got.Role, got.AuthPath, got.AuthNamespace = "", DefaultAuthPath, ""
		case ProtocolVault:
			got.AccessID, got.AuthConfig = "", ""
		}
		again, err := FromEnv(lookup(got.Env()))
		if err != nil {
			t.Fatalf("%+v can't be read back: %v", got, err)
		}
		if diff := cmp.Diff(got, again); diff != "" {
			t.Errorf("(-first +again):\n%s", diff)
		}
		if got.Timeout < MinTimeout || got.Timeout > MaxTimeout || got.TokenMode&0o113 != 0 {
			t.Errorf("out of bounds: %+v", got)
		}
	})
}

// Kubernetes puts a container's env over its envFrom, empty entries too.
func TestTheSealedEnvironmentNamesEveryTrustedSetting(t *testing.T) {
	t.Parallel()
	with := valid()
	with.CABundle = "-----BEGIN CERTIFICATE-----\n"
	for name, c := range map[string]Config{"without a CA": valid(), "with a CA": with} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			set := map[string]int{}
			for _, v := range c.SealedEnv() {
				set[v.Name]++
			}
			for _, s := range Settings() {
				if n := set[s.Env]; n > 1 || n == 0 && s.Trust == Trusted {
					t.Errorf("%s is set %d times", s.Env, n)
				}
			}
			if set["GODEBUG"] != 1 || (set["SSL_CERT_FILE"] == 1) != (c.CABundle == "") || (set["SSL_CERT_DIR"] == 1) != (c.CABundle == "") {
				t.Errorf("the runtime's variables: %v", set)
			}
			got, err := FromEnv(lookup(c.SealedEnv()))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
