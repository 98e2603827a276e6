// Package config is the contract between the injector, which writes the
// agent's configuration into a pod, and the agent, which reads it there.
//
// It is the one place where the names, defaults and formats of the agent's
// environment variables are written down. It imports the standard library
// only, so that the agent stays free of Kubernetes code.
package config

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path"
	"strings"
	"time"
)

// Mode says for how long the agent works.
type Mode string

// The agent's modes.
const (
	// ModeInit logs in once, before the application starts.
	ModeInit Mode = "init"
	// ModeSidecar also keeps the session fresh for the pod's life.
	ModeSidecar Mode = "sidecar"
)

// Protocol says which server the agent logs in to.
type Protocol string

// The agent's protocols.
const (
	// ProtocolGateway is the V2 API of the Gatepass gateway.
	ProtocolGateway Protocol = "gateway"
	// ProtocolVault is auth/<path>/login of Vault and OpenBao.
	ProtocolVault Protocol = "vault"
)

// Where the agent's container has its two volumes, and the projected token's
// name in one of them.
const (
	SessionDir       = "/var/run/gatepass"
	IdentityDir      = "/var/run/gatepass-identity"
	IdentityFileName = "token"
)

// Defaults of settings that have one.
const (
	DefaultAuthPath     = "auth/kubernetes"
	DefaultIdentityFile = IdentityDir + "/" + IdentityFileName
	DefaultTokenFile    = SessionDir + "/token"
	DefaultTokenMode    = fs.FileMode(0o400)
	DefaultTimeout      = 60 * time.Second
	// DefaultCheckInterval, with what is added to spread the checks, lets no
	// revocation go unnoticed for a minute.
	DefaultCheckInterval = 45 * time.Second
	// DefaultTerminationMessageFile is where the kubelet looks for a
	// container's last words unless the container names another path.
	DefaultTerminationMessageFile = "/dev/termination-log"
)

// SessionFile is the name of the file beside the token that describes the
// session without holding a secret.
const SessionFile = "session.json"

// CAFile is the name of the file beside the token with the certificates that the
// gateway is verified with, if the agent was given any.
const CAFile = "ca.crt"

// Limits of the interval of checks, unless there are none. 10,000 pods at the
// lower one are 1,000 checks a second.
const (
	MinCheckInterval = 10 * time.Second
	MaxCheckInterval = time.Hour
)

// Limits of the timeout. A pod that waits longer than an hour for a session
// is a pod that nobody watches.
const (
	MinTimeout = time.Second
	MaxTimeout = time.Hour
)

// Config is everything that the agent is told.
type Config struct {
	Mode     Mode
	Protocol Protocol

	// GatewayURL is the server's base address, https only.
	GatewayURL string
	// CABundle holds PEM certificates to verify the server with. Empty means
	// the system's roots, or the bundle compiled into the agent.
	CABundle string
	// Proxy is the address of the HTTP proxy that the server is reached through.
	// ProxyNone is none, and empty what HTTPS_PROXY and NO_PROXY say. TLS is with
	// the server in any case.
	Proxy string

	// AccessID and AuthConfig belong to ProtocolGateway.
	AccessID   string
	AuthConfig string

	// Role, AuthPath and AuthNamespace belong to ProtocolVault.
	Role          string
	AuthPath      string
	AuthNamespace string

	// IdentityFile holds the projected service-account token.
	IdentityFile string
	// TokenFile is where the session token goes; session.json and ca.crt lie
	// beside it.
	TokenFile string
	TokenMode fs.FileMode

	// Timeout bounds the whole work of ModeInit, and the first login of
	// ModeSidecar.
	Timeout time.Duration
	// CheckInterval is how often a sidecar asks the server whether its session is
	// still good; 0 is never.
	CheckInterval time.Duration
	// RevokeOnExit has a sidecar end its sessions when it is asked to stop.
	RevokeOnExit bool
	// MetricsAddress is where a sidecar serves /metrics, host:port or :port;
	// empty means nowhere.
	MetricsAddress string
	LogLevel       slog.Level
	// TerminationMessageFile receives one line that names the cause when the
	// agent fails.
	TerminationMessageFile string
}

// Default returns a Config in which every setting that has a default has it.
func Default() Config {
	return Config{
		Mode:                   ModeInit,
		Protocol:               ProtocolGateway,
		AuthPath:               DefaultAuthPath,
		IdentityFile:           DefaultIdentityFile,
		TokenFile:              DefaultTokenFile,
		TokenMode:              DefaultTokenMode,
		Timeout:                DefaultTimeout,
		CheckInterval:          DefaultCheckInterval,
		LogLevel:               slog.LevelInfo,
		TerminationMessageFile: DefaultTerminationMessageFile,
	}
}

// Setting is one entry of the contract: an environment variable and the flag
// of the same name.
type Setting struct {
	// Env is the variable, for example GATEPASS_GATEWAY_URL.
	Env string
	// Flag is the flag, without dashes: gateway-url.
	Flag string
	// Usage is one line for --help.
	Usage string

	// Get formats the setting's value; "" means not set.
	Get func(*Config) string
	// Set parses a value. Its error names neither Env nor Flag; the caller does.
	Set func(*Config, string) error

	// Trust says what another value in a pod would cost.
	Trust Trust
}

// Trust says whether the agent of a pod may have another value of a setting
// than its profile and annotations give. The zero value is Trusted, so that a
// setting is Harmless only where that was decided.
type Trust int

const (
	// Trusted settings decide where the token goes, which certificates are
	// trusted, as what the agent logs in, or what it reads, writes and opens.
	// A pod whose agent has another value is refused.
	Trusted Trust = iota
	// Harmless settings decide none of that; another value is a warning.
	Harmless
)

// Settings lists the contract in the order in which the injector writes it.
func Settings() []Setting {
	return []Setting{
		{"GATEPASS_MODE", "mode", "how long to work: init or sidecar",
			func(c *Config) string { return string(c.Mode) }, setMode, Trusted},
		{"GATEPASS_PROTOCOL", "protocol", "what to log in to: gateway or vault",
			func(c *Config) string { return string(c.Protocol) }, setProtocol, Trusted},
		{"GATEPASS_GATEWAY_URL", "gateway-url", "the server's address (https)",
			func(c *Config) string { return c.GatewayURL }, func(c *Config, v string) error { c.GatewayURL = v; return nil }, Trusted},
		{"GATEPASS_CA_BUNDLE", "ca-bundle", "PEM certificates that the server is verified with; default: the system's, else the built-in roots",
			func(c *Config) string { return c.CABundle }, func(c *Config, v string) error { c.CABundle = v; return nil }, Trusted},
		{"GATEPASS_PROXY", "proxy", "HTTP proxy that the server is reached through, or none; default: what HTTPS_PROXY and NO_PROXY say",
			func(c *Config) string { return c.Proxy }, func(c *Config, v string) error { c.Proxy = v; return CheckProxy(v) }, Trusted},
		{"GATEPASS_ACCESS_ID", "access-id", "access id of the auth method (protocol gateway)",
			func(c *Config) string { return c.AccessID }, func(c *Config, v string) error { c.AccessID = v; return nil }, Trusted},
		{"GATEPASS_AUTH_CONFIG", "auth-config", "name of the gateway's Kubernetes auth config (protocol gateway)",
			func(c *Config) string { return c.AuthConfig }, func(c *Config, v string) error { c.AuthConfig = v; return nil }, Trusted},
		{"GATEPASS_ROLE", "role", "role to log in with (protocol vault)",
			func(c *Config) string { return c.Role }, func(c *Config, v string) error { c.Role = v; return nil }, Trusted},
		{"GATEPASS_AUTH_PATH", "auth-path", "mount path of the auth method (protocol vault)",
			func(c *Config) string { return c.AuthPath }, func(c *Config, v string) error { c.AuthPath = v; return nil }, Trusted},
		{"GATEPASS_AUTH_NAMESPACE", "auth-namespace", "namespace of the auth method (protocol vault)",
			func(c *Config) string { return c.AuthNamespace }, func(c *Config, v string) error { c.AuthNamespace = v; return nil }, Trusted},
		{"GATEPASS_IDENTITY_FILE", "identity-file", "file with the projected service-account token",
			func(c *Config) string { return c.IdentityFile }, func(c *Config, v string) error { c.IdentityFile = v; return nil }, Trusted},
		{"GATEPASS_TOKEN_FILE", "token-file", "file that receives the session token",
			func(c *Config) string { return c.TokenFile }, func(c *Config, v string) error { c.TokenFile = v; return nil }, Trusted},
		{"GATEPASS_TOKEN_MODE", "token-mode", "mode of that file, octal",
			func(c *Config) string { return FormatFileMode(c.TokenMode) }, setTokenMode, Harmless},
		{"GATEPASS_TIMEOUT", "timeout", "give up after this time, for example 60s",
			func(c *Config) string { return c.Timeout.String() }, setTimeout, Harmless},
		{"GATEPASS_CHECK_INTERVAL", "check-interval", "ask the server this often whether the session was revoked, 10s to 1h; 0 for never (mode sidecar); default: 45s",
			getCheckInterval, setCheckInterval, Trusted},
		{"GATEPASS_REVOKE_ON_EXIT", "revoke-on-exit", "true: end the session when the agent is asked to stop (mode sidecar)",
			getRevoke, setRevoke, Harmless},
		{"GATEPASS_METRICS_ADDRESS", "metrics-address", "serve /metrics here, for example :9465 (mode sidecar); default: nowhere",
			func(c *Config) string { return c.MetricsAddress }, func(c *Config, v string) error { c.MetricsAddress = v; return CheckAddress(v) }, Trusted},
		{"GATEPASS_LOG_LEVEL", "log-level", "debug, info, warn or error",
			func(c *Config) string { return strings.ToLower(c.LogLevel.String()) }, setLogLevel, Harmless},
		{"GATEPASS_TERMINATION_MESSAGE_FILE", "termination-message-file", "file that receives the cause of a failure",
			func(c *Config) string { return c.TerminationMessageFile }, func(c *Config, v string) error { c.TerminationMessageFile = v; return nil }, Trusted},
	}
}

// TrustOf returns the trust of the setting of an environment variable. What is
// not known is trusted.
func TrustOf(env string) Trust {
	for _, s := range Settings() {
		if s.Env == env {
			return s.Trust
		}
	}
	return Trusted
}

func setMode(c *Config, v string) (err error) {
	c.Mode, err = ParseMode(v)
	return err
}

func setProtocol(c *Config, v string) (err error) {
	c.Protocol, err = ParseProtocol(v)
	return err
}

func setTokenMode(c *Config, v string) (err error) {
	c.TokenMode, err = ParseFileMode(v)
	return err
}

func getRevoke(c *Config) string {
	if c.RevokeOnExit {
		return "true"
	}
	return ""
}

func setRevoke(c *Config, v string) (err error) {
	c.RevokeOnExit, err = ParseBool(v)
	return err
}

func setTimeout(c *Config, v string) (err error) {
	c.Timeout, err = ParseTimeout(v)
	return err
}

// getCheckInterval leaves the default out: it need not be in every pod.
func getCheckInterval(c *Config) string {
	if c.CheckInterval == DefaultCheckInterval {
		return ""
	}
	return c.CheckInterval.String()
}

func setCheckInterval(c *Config, v string) (err error) {
	c.CheckInterval, err = ParseCheckInterval(v)
	return err
}

func setLogLevel(c *Config, v string) (err error) {
	c.LogLevel, err = ParseLogLevel(v)
	return err
}

// Variable is an environment variable of the agent's container.
type Variable struct{ Name, Value string }

// Env formats the configuration as the environment that FromEnv reads back.
// Settings without a value are left out, and so are those of the other
// protocol or mode. The order is that of Settings.
func (c Config) Env() []Variable {
	switch c.Protocol {
	case ProtocolGateway:
		c.Role, c.AuthPath, c.AuthNamespace = "", "", ""
	case ProtocolVault:
		c.AccessID, c.AuthConfig = "", ""
	}
	if c.Mode != ModeSidecar {
		c.MetricsAddress, c.CheckInterval = "", DefaultCheckInterval
	}
	settings := Settings()
	vars := make([]Variable, 0, len(settings))
	for _, s := range settings {
		if v := s.Get(&c); v != "" {
			vars = append(vars, Variable{s.Env, v})
		}
	}
	return vars
}

// SealedEnv is Env with, in addition, an empty entry for every trusted setting
// that Env leaves out, and for what else decides whom the agent trusts or what
// it prints. Kubernetes puts entries of a container's env over those of its
// envFrom, also empty ones, so that no ConfigMap can fill what is not set.
func (c Config) SealedEnv() []Variable {
	vars := c.Env()
	set := make(map[string]bool, len(vars))
	for _, v := range vars {
		set[v.Name] = true
	}
	for _, s := range Settings() {
		if s.Trust != Harmless && !set[s.Env] {
			vars = append(vars, Variable{s.Env, ""})
		}
	}
	for _, name := range c.runtimeVariables() {
		vars = append(vars, Variable{name, ""})
	}
	return vars
}

// runtimeVariables are read by Go's runtime and standard library, and must not
// be set in a pod: GODEBUG loosens TLS and prints protocol frames (package
// runtime, "Environment Variables"); SSL_CERT_FILE and SSL_CERT_DIR replace the
// system's roots (crypto/x509, SystemCertPool), which nobody asks for where the
// agent has a bundle.
func (c Config) runtimeVariables() []string {
	if c.CABundle != "" {
		return []string{"GODEBUG"}
	}
	return []string{"GODEBUG", "SSL_CERT_FILE", "SSL_CERT_DIR"}
}

// SystemRoots are the directories in which crypto/x509 looks for the system's
// roots on Linux (certFiles and certDirectories in its root_linux.go).
func SystemRoots() []string {
	return []string{"/etc/ssl", "/etc/pki", "/system/etc/security/cacerts"}
}

// FromEnv reads the configuration from environment variables, given as
// os.LookupEnv gives them. It reports every variable that can't be read;
// call Validate afterwards. A variable that is set but empty counts as unset.
func FromEnv(lookup func(string) (string, bool)) (Config, error) {
	c := Default()
	var errs []error
	for _, s := range Settings() {
		v, ok := lookup(s.Env)
		if !ok || v == "" {
			continue
		}
		if err := s.Set(&c, v); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", s.Env, err))
		}
	}
	return c, errors.Join(errs...)
}

// FirstHop is the address that the agent connects to, as far as c says: the
// proxy's, or the server's.
func (c Config) FirstHop() string {
	if c.Proxy != "" && c.Proxy != ProxyNone {
		return c.Proxy
	}
	return c.GatewayURL
}

// Validate reports every reason why the agent can't work with c, each named
// by its environment variable.
func (c Config) Validate() error {
	var errs []error
	fail := func(env, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: %w", env, fmt.Errorf(format, args...)))
	}
	if err := CheckURL(c.GatewayURL); err != nil {
		fail("GATEPASS_GATEWAY_URL", "%w", err)
	}
	if err := CheckProxy(c.Proxy); err != nil {
		fail("GATEPASS_PROXY", "%w", err)
	}
	switch c.Protocol {
	case ProtocolGateway:
		if c.AccessID == "" {
			fail("GATEPASS_ACCESS_ID", "must be set for protocol gateway")
		}
		if c.AuthConfig == "" {
			fail("GATEPASS_AUTH_CONFIG", "must be set for protocol gateway")
		}
	case ProtocolVault:
		if c.Role == "" {
			fail("GATEPASS_ROLE", "must be set for protocol vault")
		}
		if c.AuthPath == "" {
			fail("GATEPASS_AUTH_PATH", "must be set for protocol vault")
		}
	}
	for _, f := range []struct{ env, path string }{
		{"GATEPASS_IDENTITY_FILE", c.IdentityFile},
		{"GATEPASS_TOKEN_FILE", c.TokenFile},
		{"GATEPASS_TERMINATION_MESSAGE_FILE", c.TerminationMessageFile},
	} {
		if err := checkFile(f.path); err != nil {
			fail(f.env, "%w", err)
		}
	}
	if c.Mode == ModeInit && c.RevokeOnExit {
		fail("GATEPASS_REVOKE_ON_EXIT", "needs mode sidecar; in mode init the agent ends before the application starts")
	}
	if path.Base(c.TokenFile) == SessionFile {
		fail("GATEPASS_TOKEN_FILE", "%q is the name of the file that describes the session; choose another", SessionFile)
	}
	if path.Base(c.TokenFile) == CAFile {
		fail("GATEPASS_TOKEN_FILE", "%q is the name of the file with the gateway's authority; choose another", CAFile)
	}
	return errors.Join(errs...)
}

// checkFile reports why p can't be a file that the agent reads or writes.
func checkFile(p string) error {
	switch {
	case !path.IsAbs(p):
		return fmt.Errorf("%q is not an absolute path", p)
	case strings.ContainsRune(p, 0):
		return fmt.Errorf("%q holds a zero byte", p)
	case path.Clean(p) != p || p == "/":
		return fmt.Errorf("%q is not a plain path to a file; leave out '..', '.', double and trailing slashes", p)
	}
	return nil
}

// The agent's image holds one program, and a sidecar's postStart hook runs it
// with one command.
const (
	// AgentPath is the program's path in the image.
	AgentPath = "/gatepass-agent"
	// WaitCommand blocks until the session's files are complete.
	WaitCommand = "wait"
)
