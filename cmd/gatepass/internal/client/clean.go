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
// somebody's token. Folding may put the pieces of a secret together, so it is looked
// for before and afterwards.
func clean(text string, secrets []string) string {
	text = strings.ToValidUTF8(text, "")
	for _, secret := range secrets {
		text = without(text, strings.TrimSpace(secret))
	}
	text = line.Fold(text, len(text)+maxReason)
	for _, secret := range secrets {
		text = without(text, line.Fold(secret, len(secret)+maxReason))
	}
	return line.Fold(tokens().ReplaceAllString(text, removed), maxReason)
}

func without(text, secret string) string {
	if len(secret) < shortest {
		return text
	}
	return strings.ReplaceAll(text, secret, removed)
}
