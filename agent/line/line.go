// Package line makes text from outside safe for one line of a log, a terminal
// or a termination message.
package line

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Fold puts text on one line of that many bytes at the most: what is not printable
// becomes a space, several become one, and what is too long ends with "…".
func Fold(text string, most int) string {
	var b strings.Builder
	space := false
	for _, r := range text {
		if unicode.IsSpace(r) || !unicode.IsPrint(r) {
			space = b.Len() > 0
			continue
		}
		if b.Len()+utf8.UTFMax+len(" …") > most {
			b.WriteString("…")
			break
		}
		if space {
			b.WriteByte(' ')
			space = false
		}
		b.WriteRune(r)
	}
	return b.String()
}
