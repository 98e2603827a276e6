// Package visible tells characters that a reader sees from those that only a program
// does. Two names that look the same and are not let one object pass for another.
package visible

import (
	"unicode"
	"unicode/utf8"
)

// Rune reports whether a character can be seen, or is a space (U+0020).
//
// What can't is what unicode.IsPrint leaves out, format characters among them, and what
// Unicode has the property Default_Ignorable_Code_Point for: characters that are drawn
// as nothing where they are not supported (UAX #44, DerivedCoreProperties.txt). Of that
// property's parts, Go has those that IsPrint would let through.
func Rune(r rune) bool {
	if r >= ' ' && r <= '~' { // most are, and the tables are slower
		return true
	}
	return unicode.IsPrint(r) && !unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector) && !blank(r)
}

// blank reports whether a character is one of the letters, marks and symbols whose glyph is
// empty by definition; their names in Unicode say so. No property has them.
func blank(r rune) bool {
	switch r {
	case 0x2800, // BRAILLE PATTERN BLANK
		0x13441, // EGYPTIAN HIEROGLYPH FULL BLANK
		0x13442, // EGYPTIAN HIEROGLYPH HALF BLANK
		0x16fe4, // KHITAN SMALL SCRIPT FILLER
		0x1d159: // MUSICAL SYMBOL NULL NOTEHEAD
		return true
	}
	return false
}

// Hidden returns the first character of a text that can't be seen, and whether there is
// one. A byte that is not UTF-8 counts as one: it returns utf8.RuneError then.
func Hidden(text string) (rune, bool) {
	for i, r := range text {
		if !Rune(r) {
			return r, true
		}
		if r == utf8.RuneError {
			if _, size := utf8.DecodeRuneInString(text[i:]); size == 1 {
				return r, true
			}
		}
	}
	return 0, false
}
