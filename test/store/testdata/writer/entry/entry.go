// Package entry is what the writer and the test that kills it agree on.
package entry

import (
	"bytes"
	"fmt"
)

const (
	// Workers is how many commit side by side.
	Workers = 4
	// Kept is how many entries each worker keeps.
	Kept = 100
)

// Left is the key of the first of a worker's counters.
func Left(w int) string { return fmt.Sprintf("counter/%d/left", w) }

// Right is the key of the other.
func Right(w int) string { return fmt.Sprintf("counter/%d/right", w) }

// Prefix is that of a worker's entries.
func Prefix(w int) string { return fmt.Sprintf("entry/%d/", w) }

// Key is that of a worker's n-th entry.
func Key(w, n int) string { return fmt.Sprintf("%s%08d", Prefix(w), n) }

// Value is that of a worker's n-th entry: up to 3 KB that are like no other's.
func Value(w, n int) []byte {
	return bytes.Repeat(fmt.Appendf(nil, "%d.%d;", w, n), 1+n%300)
}
