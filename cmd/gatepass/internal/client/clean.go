package client

import (
	"regexp"
	"strings"

	"github.com/gatepass/gatepass/agent/line"
)

const (
	// maxReason bounds what is shown of a gateway's error, in bytes.
	maxReason = 1000
	// shortest is the length, in bytes, from which on a secret is taken out of a
	// text. A shorter one occurs in words by chance, and guards nothing.
	shortest = 6
	removed  = "[removed]"
)

// tokens are texts that begin as every JWT does, or base64 of one.
func tokens() *regexp.Regexp { return regexp.MustCompile(`(?:eyJ|ZXlK)[A-Za-z0-9_.+/=-]{13,}`) }

// clean returns a text on one line, without secrets and without what looks like
// somebody's token.
func clean(text string, secrets []string) string {
	for _, secret := range secrets {
		if secret = strings.TrimSpace(secret); len(secret) >= shortest {
			text = strings.ReplaceAll(text, secret, removed)
		}
	}
	return line.Fold(tokens().ReplaceAllString(strings.ToValidUTF8(text, ""), removed), maxReason)
}
