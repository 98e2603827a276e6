package seal

import (
	"strings"
	"testing"
	"time"
)

// FuzzKeyFile: a key file that can be read has keys in order, each of which seals
// and opens, and no error holds a key.
func FuzzKeyFile(f *testing.F) {
	good := line("k1", past, 1)
	f.Add([]byte(good + "\n"))
	f.Add([]byte(good + "\n" + line("k2", past, 2) + "\n"))
	f.Add([]byte(good + "\n" + line("k1", past, 2) + "\n"))
	f.Add([]byte(good + "\n" + line("k2", past, 1) + "\n"))
	f.Add([]byte("# a comment\n\n k1 2026-01-01T00:00:00+23:59 AAAA"))
	f.Fuzz(func(t *testing.T, content []byte) {
		words := strings.Fields(string(content))
		k, err := parse(content)
		if (k == nil) == (err == nil) {
			t.Fatalf("keys %v and error %v", k, err)
		}
		if err != nil {
			for _, word := range words {
				if len(word) > maxID && strings.Contains(err.Error(), word) {
					t.Errorf("the error holds %q: %v", word, err)
				}
			}
			return
		}
		seen, before := map[string]bool{}, time.Time{}
		for i, key := range k.keys {
			if seen[key.id] || !validID(key.id) || i > 0 && key.from.Before(before) {
				t.Errorf("key %s from %s after %s", key.id, key.from, before)
			}
			seen[key.id], before = true, key.from
		}
		s := &Sealer{}
		s.keys.Store(k)
		sealed, err := s.Seal("sealed/a", []byte("value"))
		if err != nil {
			return // no key seals yet
		}
		if opened, err := s.Open("sealed/a", sealed); err != nil || string(opened) != "value" {
			t.Errorf("%q, %v", opened, err)
		}
	})
}
