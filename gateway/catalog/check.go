package catalog

import (
	"crypto/rand"
	"encoding/hex"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gatepass/gatepass/gateway/config"
	"github.com/gatepass/gatepass/internal/visible"
)

// newID makes an id that nothing else has, of 128 random bits.
func newID() string {
	random := make([]byte, 16)
	_, _ = rand.Read(random) // it never fails
	return hex.EncodeToString(random)
}

// alphabet has 32 letters, so that each of a random byte is as likely as the others.
const alphabet = "abcdefghijklmnopqrstuvwxyz234567"

func randomText(length int) string {
	random := make([]byte, length)
	_, _ = rand.Read(random) // it never fails
	for i, b := range random {
		random[i] = alphabet[int(b)%len(alphabet)]
	}
	return string(random)
}

// newAccessID makes one of 14 letters and digits. The last but one tells clients
// the type of the auth method.
func newAccessID(t MethodType) string {
	letter := "k"
	if t == TypeAccessKey {
		letter = "a"
	}
	return "p-" + randomText(12) + letter + randomText(1)
}

// checkVisible refuses a text that holds what can't be seen, so that two that look the
// same are the same. It is for what is new: objects that an earlier version let in keep
// working.
func checkVisible(what, text string) error {
	if r, hidden := visible.Hidden(text); hidden {
		return invalid("%s must not hold the character %U: it can't be seen", what, r)
	}
	return nil
}

// checkText checks what people write beside an object.
func checkText(description string, tags []string) error {
	switch {
	case len(description) > maxDescription || !utf8.ValidString(description):
		return invalid("the description must be UTF-8 of at most %d bytes", maxDescription)
	case len(tags) > maxTags:
		return invalid("there are %d tags; at most %d are kept", len(tags), maxTags)
	}
	for _, tag := range tags {
		if tag == "" || len(tag) > maxTag || !utf8.ValidString(tag) {
			return invalid("each tag must be UTF-8 of 1 to %d bytes", maxTag)
		}
		if err := checkVisible("a tag", tag); err != nil {
			return err
		}
	}
	return nil
}

// checkList checks texts that are kept and given back.
func checkList(field string, list []string) error {
	const most, longest = 256, 1024
	if len(list) > most {
		return invalid("%s has %d entries; at most %d are kept", field, len(list), most)
	}
	for _, entry := range list {
		if strings.TrimSpace(entry) == "" || len(entry) > longest || !utf8.ValidString(entry) {
			return invalid("each entry of %s must be text of at most %d bytes", field, longest)
		}
	}
	return nil
}

// check says what is wrong with an auth method.
func (m *Method) check() error {
	if m.Type != TypeK8s && m.Type != TypeAccessKey {
		return invalid("an auth method's type is %s or %s", TypeK8s, TypeAccessKey)
	}
	if err := checkText(m.Description, nil); err != nil {
		return err
	}
	for name, ttl := range map[string]time.Duration{"life": m.SessionTTL, "longest life": m.SessionMaxTTL} {
		if ttl != 0 && (ttl < config.MinSessionTTL || ttl > config.MaxSessionTTL || ttl%time.Second != 0) {
			return invalid("the %s of a session must be whole seconds from %s to %s, or 0 for the default", name, config.MinSessionTTL, config.MaxSessionTTL)
		}
	}
	for _, text := range m.BoundIPs {
		if _, err := config.ParsePrefix(text); err != nil {
			return invalid("the bound address %q must be an address or a CIDR, for example 10.0.0.0/8", shorten(text))
		}
	}
	if err := checkList("the bound addresses", m.BoundIPs); err != nil {
		return err
	}
	if err := checkList("the gateway's bound addresses", m.GatewayBoundIPs); err != nil {
		return err
	}
	return m.checkRules()
}

// checkRules checks the bound rules.
func (m *Method) checkRules() error {
	bound := len(m.Namespaces) + len(m.PodNames) + len(m.ServiceAccounts) + len(m.AuthConfigs)
	if m.Type != TypeK8s && (bound > 0 || m.Audience != "" || m.PublicKey != "") {
		return invalid("audience, bound names, auth configs and public key are for auth methods of type %s", TypeK8s)
	}
	if len(m.Audience) > maxTag || m.Audience != strings.TrimSpace(m.Audience) || !utf8.ValidString(m.Audience) {
		return invalid("the audience must be text of at most %d bytes without white space at its ends", maxTag)
	}
	if err := checkVisible("the audience", m.Audience); err != nil {
		return err
	}
	for _, list := range []struct {
		name    string
		entries []string
	}{
		{"bound namespaces", m.Namespaces},
		{"bound pod names", m.PodNames},
		{"bound service accounts", m.ServiceAccounts},
	} {
		if err := checkList("the "+list.name, list.entries); err != nil {
			return err
		}
		for _, pattern := range list.entries {
			if !config.ValidPattern(pattern) {
				return invalid("%q in the %s must be one name of lower case letters, digits, '-' and '.', with * and ? as wildcards", shorten(pattern), list.name)
			}
		}
	}
	return checkList("the auth configs", m.AuthConfigs)
}

// shorten keeps what somebody sent from filling an error.
func shorten(text string) string {
	const enough = 64
	if len(text) <= enough {
		return text
	}
	return strings.ToValidUTF8(text[:enough], "") + "…"
}
