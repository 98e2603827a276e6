package review

import (
	"strings"
	"testing"
)

func TestTheAlphabetOfAToken(t *testing.T) {
	t.Parallel()
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	for b := range 256 {
		if got, want := isBase64URL(byte(b)), strings.IndexByte(alphabet, byte(b)) >= 0; got != want {
			t.Errorf("%q: %t", byte(b), got)
		}
	}
}
