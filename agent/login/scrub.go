package login

import (
	"strings"

	"github.com/gatepass/gatepass/agent/line"
)

// fragment is how many characters in a row of a secret make a text unsafe to
// show. Shorter matches happen by chance, and give nothing away.
const fragment = 16

// maxScrub bounds how much of a text is looked at, in bytes; more than the
// maxReason that are kept, and little enough that a hostile text costs no
// noticeable time.
const maxScrub = 4 * maxReason

// scrubber removes secrets from what a server sent back.
type scrubber struct{ secrets []string }

func newScrubber(secrets ...string) scrubber { return scrubber{secrets} }

// text returns t on one line, without any run of characters that holds a part
// of a secret, or that looks like a token of somebody else's.
func (s scrubber) text(t string) string {
	t = strings.ToValidUTF8(t[:min(len(t), maxScrub)], "")
	var b strings.Builder
	for len(t) > 0 {
		end := strings.IndexFunc(t, func(r rune) bool { return !tokenRune(r) })
		if end < 0 {
			end = len(t)
		}
		if run := t[:end]; s.unsafe(run) {
			b.WriteString("[removed]")
		} else {
			b.WriteString(run)
		}
		t = t[end:]
		next := strings.IndexFunc(t, tokenRune)
		if next < 0 {
			next = len(t)
		}
		b.WriteString(t[:next])
		t = t[next:]
	}
	return line.Fold(b.String(), maxReason)
}

// tokenRune reports whether r occurs in a JWT or its base64 form.
func tokenRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.+/=", r)
}

func (s scrubber) unsafe(run string) bool {
	// `{"` begins every JWT's header: eyJ in base64, ZXlK in base64 twice.
	if i := strings.Index(run, "eyJ"); i >= 0 && len(run)-i >= fragment {
		return true
	}
	if i := strings.Index(run, "ZXlK"); i >= 0 && len(run)-i >= fragment {
		return true
	}
	for _, secret := range s.secrets {
		size := min(fragment, len(secret))
		if size == 0 {
			continue
		}
		for i := 0; i+size <= len(run); i++ {
			if strings.Contains(secret, run[i:i+size]) {
				return true
			}
		}
	}
	return false
}
