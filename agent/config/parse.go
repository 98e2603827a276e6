package config

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// ParseMode reads init or sidecar.
func ParseMode(v string) (Mode, error) {
	switch m := Mode(v); m {
	case ModeInit, ModeSidecar:
		return m, nil
	}
	return "", fmt.Errorf("%q is not a mode; use init or sidecar", v)
}

// ParseProtocol reads gateway or vault.
func ParseProtocol(v string) (Protocol, error) {
	switch p := Protocol(v); p {
	case ProtocolGateway, ProtocolVault:
		return p, nil
	}
	return "", fmt.Errorf("%q is not a protocol; use gateway or vault", v)
}

// ParseFileMode reads an octal file mode such as 0400. Only permission bits
// are taken, the owner must be able to read, and nobody may execute.
func ParseFileMode(v string) (fs.FileMode, error) {
	n, err := strconv.ParseUint(v, 8, 32)
	if err != nil || n > 0o777 {
		return 0, fmt.Errorf("%q is not an octal file mode; use for example 0400 or 0440", v)
	}
	m := fs.FileMode(n)
	if m&0o400 == 0 {
		return 0, fmt.Errorf("%q does not let the owner read the file; use for example 0400 or 0440", v)
	}
	if m&0o111 != 0 {
		return 0, fmt.Errorf("%q makes the token executable; use for example 0400 or 0440", v)
	}
	if m&0o002 != 0 {
		return 0, fmt.Errorf("%q lets everybody write the token; use for example 0400 or 0440", v)
	}
	return m, nil
}

// FormatFileMode writes a mode as ParseFileMode reads it, with four digits.
func FormatFileMode(m fs.FileMode) string {
	const digits = "01234567"
	p := m.Perm()
	return string([]byte{'0', digits[p>>6&7], digits[p>>3&7], digits[p&7]})
}

// ParseTimeout reads a Go duration between MinTimeout and MaxTimeout.
func ParseTimeout(v string) (time.Duration, error) {
	d, err := time.ParseDuration(v)
	if err != nil {
		return 0, fmt.Errorf("%q is not a duration; use for example 60s or 2m", v)
	}
	if d < MinTimeout || d > MaxTimeout {
		return 0, fmt.Errorf("%s is out of range; use %s to %s", v, MinTimeout, MaxTimeout)
	}
	return d, nil
}

// ParseCheckInterval reads a Go duration between MinCheckInterval and
// MaxCheckInterval, or 0.
func ParseCheckInterval(v string) (time.Duration, error) {
	d, err := time.ParseDuration(v)
	if err != nil {
		return 0, fmt.Errorf("%q is not a duration; use for example 45s, or 0 for never", v)
	}
	if d != 0 && (d < MinCheckInterval || d > MaxCheckInterval) {
		return 0, fmt.Errorf("%s is out of range; use %s to %s, or 0 for never", v, MinCheckInterval, MaxCheckInterval)
	}
	return d, nil
}

// ParseBool reads true or false.
func ParseBool(v string) (bool, error) {
	switch v {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, fmt.Errorf("%q is neither true nor false", v)
}

// CheckAddress reports why v can't be an address to listen at.
func CheckAddress(v string) error {
	colon := strings.LastIndexByte(v, ':')
	if colon < 0 {
		return fmt.Errorf("%q has no port; use for example :9465", v)
	}
	if _, err := strconv.ParseUint(v[colon+1:], 10, 16); err != nil {
		return fmt.Errorf("%q has no valid port; use for example :9465", v)
	}
	return nil
}

// ParseLogLevel reads debug, info, warn or error.
func ParseLogLevel(v string) (slog.Level, error) {
	switch v {
	case "debug":
		return slog.LevelDebug, nil
	case "info":
		return slog.LevelInfo, nil
	case "warn":
		return slog.LevelWarn, nil
	case "error":
		return slog.LevelError, nil
	}
	return 0, fmt.Errorf("%q is not a log level; use debug, info, warn or error", v)
}

// CheckURL reports why v can't be the address of a server that is trusted
// with a service-account token: it must be https, with a host and nothing
// that is not part of an address.
func CheckURL(v string) error {
	if v == "" {
		return errors.New("must be set, for example https://gatepass-gateway.gatepass-system.svc:8000")
	}
	u, err := url.Parse(v)
	if err != nil {
		// Not quoted, and neither is url.Parse's error: what can't be parsed
		// may hold a password all the same.
		return errors.New("is not a URL; use for example https://gatepass-gateway.gatepass-system.svc:8000")
	}
	switch {
	case u.User != nil:
		return errors.New("must not hold a user or password")
	case u.RawQuery != "" || u.ForceQuery || strings.Contains(v, "#"):
		return fmt.Errorf("%q must not have a query or fragment", u.Scheme+"://"+u.Host+u.Path)
	case u.Scheme != "https":
		return fmt.Errorf("%q must begin with https://: the token is never sent unencrypted", v)
	case u.Hostname() == "":
		return fmt.Errorf("%q names no host", v)
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return fmt.Errorf("%q has no valid port; use 1 to 65535", v)
		}
	}
	return nil
}

// ProxyNone is a proxy that stands for none, whatever the environment says.
const ProxyNone = "none"

// CheckProxy reports why v can't be the address of a proxy: it is http or
// https, with a host and a port perhaps. A user or password is refused, for
// everybody who can read the pod would read it too.
func CheckProxy(v string) error {
	if v == "" || v == ProxyNone {
		return nil
	}
	u, err := url.Parse(v)
	if err != nil || u.Hostname() == "" || strings.Trim(u.Path, "/") != "" {
		// Not quoted: what is only half understood may hold a password.
		return errors.New("is not a proxy's address; use for example http://proxy.example:3128, or none")
	}
	switch {
	case u.User != nil:
		return errors.New("must not hold a user or password: everybody who can read the pod could read them; let the proxy know its clients by their addresses")
	case u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("%q must begin with http:// or https://, by which the proxy itself is spoken to", u.Scheme+"://"+u.Host)
	case u.RawQuery != "" || u.ForceQuery || strings.Contains(v, "#"):
		return fmt.Errorf("%q must not have a query or fragment", u.Scheme+"://"+u.Host)
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return fmt.Errorf("%q has no valid port; use 1 to 65535", u.Scheme+"://"+u.Host)
		}
	}
	return nil
}
