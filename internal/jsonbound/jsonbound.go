// Package jsonbound bounds what JSON of strangers makes a decoder allocate. A list
// of 2,300,000 empty objects has 7 MB, and as a slice of structs of 100 bytes it has
// 230 MB: the size of a text says little about what becomes of it, the number of its
// values says enough.
//
// [Bounds.Check] reads the text once, allocates nothing, and comes before the decoder.
package jsonbound

import (
	"bytes"
	"fmt"
)

// Bounds are the limits of a text.
type Bounds struct {
	// Values is how many values there may be: texts, numbers, literals, lists and
	// objects. A list or object that is empty counts as two.
	Values int
	// Depth is how many lists and objects there may be inside each other.
	Depth int
}

// OfBody are the bounds of a small request whose body may have so many bytes: a value for
// 16 of them, which is what an empty text takes in a list, so that lists take no more memory
// than the body may.
func OfBody(limit int64) Bounds { return Bounds{Values: int(limit / 16), Depth: 64} }

// Error says which bound a text is beyond.
type Error struct {
	text string
	// Deep is set if it is Depth.
	Deep bool
}

// Error implements error. It holds nothing of the text.
func (e *Error) Error() string { return e.text }

// Check returns how many values the text has, or an *Error. Text that is no JSON may
// pass: a decoder that stops at the mistake has seen no more values than were counted.
func (b Bounds) Check(text []byte) (values int, err error) {
	// Every value but the outermost is the first of a list or object, or follows a comma.
	values = 1
	depth := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			i = end(text, i+1)
			continue
		case ',':
		case '{', '[':
			if depth++; depth > b.Depth {
				return values, &Error{fmt.Sprintf("it has lists or objects more than %d deep inside each other", b.Depth), true}
			}
		case '}', ']':
			depth--
			continue
		default:
			continue
		}
		if values++; values > b.Values {
			return values, &Error{fmt.Sprintf("it has more than %d values (an empty list or object counts as two)", b.Values), false}
		}
	}
	return values, nil
}

// end finds the quotation mark that ends the text which begins at start.
func end(text []byte, start int) int {
	for i := start; ; i++ {
		n := bytes.IndexByte(text[i:], '"')
		if n < 0 {
			return len(text)
		}
		i += n
		escapes := 0
		for i-escapes > start && text[i-escapes-1] == '\\' {
			escapes++
		}
		if escapes%2 == 0 {
			return i
		}
	}
}
