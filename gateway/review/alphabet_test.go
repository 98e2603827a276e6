package review

import (
	"strings"
	"testing"
)

func TestTheAlphabetOfAToken(t *testing.T) {
	t.Parallel()
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	for b := range 256 {
		letter := string([]byte{byte(b)})
		if got, want := lengthOfPart(letter), strings.Count(alphabet, letter); got != want {
			t.Errorf("%q: %d", letter, got)
		}
	}
}

func BenchmarkIsJWT(b *testing.B) {
	part := strings.Repeat("aZ0-_9Yb", 50)
	token := part + "." + part + "." + part
	for b.Loop() {
		if !IsJWT(token) {
			b.Fatal("not a JWT")
		}
	}
}
