package visible_test

import (
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/gatepass/gatepass/internal/visible"
)

func TestCharactersThatCanNotBeSeen(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]rune{
		"NULL":                           0,
		"LINE FEED":                      '\n',
		"DELETE":                         0x7f,
		"NO-BREAK SPACE":                 0xa0,
		"SOFT HYPHEN":                    0xad,
		"COMBINING GRAPHEME JOINER":      0x34f,
		"HANGUL CHOSEONG FILLER":         0x115f,
		"HANGUL JUNGSEONG FILLER":        0x1160,
		"KHMER VOWEL INHERENT AQ":        0x17b4,
		"MONGOLIAN VARIATION SELECTOR":   0x180b,
		"ZERO WIDTH SPACE":               0x200b,
		"ZERO WIDTH JOINER":              0x200d,
		"RIGHT-TO-LEFT OVERRIDE":         0x202e,
		"LINE SEPARATOR":                 0x2028,
		"BRAILLE PATTERN BLANK":          0x2800,
		"IDEOGRAPHIC SPACE":              0x3000,
		"HANGUL FILLER":                  0x3164,
		"VARIATION SELECTOR-16":          0xfe0f,
		"ZERO WIDTH NO-BREAK SPACE":      0xfeff,
		"HALFWIDTH HANGUL FILLER":        0xffa0,
		"a private character":            0xe000,
		"EGYPTIAN HIEROGLYPH FULL BLANK": 0x13441,
		"KHITAN SMALL SCRIPT FILLER":     0x16fe4,
		"MUSICAL SYMBOL NULL NOTEHEAD":   0x1d159,
		"TAG SPACE":                      0xe0020,
		"VARIATION SELECTOR-17":          0xe0100,
	} {
		if visible.Rune(r) {
			t.Errorf("%s (%U) passes", name, r)
		}
		if got, hidden := visible.Hidden("a" + string(r) + "b"); !hidden || got != r {
			t.Errorf("%s: %U, %t", name, got, hidden)
		}
	}
}

func TestCharactersThatCanBeSeen(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", " ", "/apps/web v1.2/Köln", "東京", "한글", "Ελλάδα", "עברית", "हिन्दी", "a\u0301", "⚙", "☕", "😀", "\ufffd", "~!@#$%^&*"} {
		if r, hidden := visible.Hidden(text); hidden {
			t.Errorf("%q: %U is refused", text, r)
		}
	}
}

func TestBytesThatAreNotUTF8(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"\xff", "a\xc3", "a\xed\xa0\x80"} {
		if r, hidden := visible.Hidden(text); !hidden || r != utf8.RuneError {
			t.Errorf("%q: %U, %t", text, r, hidden)
		}
	}
}

// The property as Unicode derives it: Other_Default_Ignorable_Code_Point, format
// characters and variation selectors, without white space and a few that have a glyph.
func TestWhatUnicodeIgnoresCanNotBeSeen(t *testing.T) {
	t.Parallel()
	for r := range unicode.MaxRune {
		if unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Cf, unicode.Variation_Selector) && visible.Rune(r) {
			t.Errorf("%U passes", r)
		}
	}
}
