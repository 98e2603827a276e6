package jsonbound_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/gatepass/gatepass/internal/jsonbound"
)

func TestValuesAndDepthAreBounded(t *testing.T) {
	t.Parallel()
	bounds := jsonbound.Bounds{Values: 8, Depth: 3}
	for _, tt := range []struct {
		name, text string
		values     int // 0 if it is refused
		says       string
	}{
		{"nothing", ``, 1, ""},
		{"a text", `"a"`, 1, ""},
		{"as many as may be", `[1,2,3,4,5,6,7]`, 8, ""},
		{"one more", `[1,2,3,4,5,6,7,8]`, 0, "more than 8 values"},
		{"empty objects count as two", `[{},{},{},{}]`, 0, "more than 8 values"},
		{"members count once", `{"a":1,"b":2,"c":3,"d":4,"e":5,"f":6,"g":7}`, 8, ""},
		{"punctuation inside of texts", `{"a,[{":"\",[[[[{{,,,,,,,,,,","b":"\\"}`, 3, ""},
		{"a text that ends in escapes", `["\\\\",",,,,,,,,,,,"]`, 3, ""},
		{"as deep as may be", `[[[1]]]`, 4, ""},
		{"deeper", `[[{"a":[1]}]]`, 0, "more than 3 deep"},
		{"the end of a list makes it less deep", `[[[]],[[]]]`, 7, ""},
		{"a text without an end", `["a,,,,,,,,,,,,`, 2, ""},
		{"no JSON", `}}}]]],`, 2, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			values, err := bounds.Check([]byte(tt.text))
			if tt.values == 0 {
				if errors.As(err, new(*jsonbound.Error)) && strings.Contains(err.Error(), tt.says) {
					return
				}
				t.Fatalf("%d values, error %v", values, err)
			}
			if err != nil || values != tt.values {
				t.Errorf("%d values, error %v, want %d", values, err, tt.values)
			}
		})
	}
}

// count is what jsontext makes of a text: the values before its end or its first
// mistake, and how deep they are.
func count(text []byte) (values, depth int) {
	// Values are counted as they are decoded, so duplicate names are no end.
	dec := jsontext.NewDecoder(bytes.NewReader(text), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	for {
		token, err := dec.ReadToken()
		if err != nil {
			return values, depth
		}
		depth = max(depth, dec.StackDepth())
		name := false
		if kind, n := dec.StackIndex(dec.StackDepth()); kind == '{' && token.Kind() == '"' {
			name = n%2 == 1
		}
		if token.Kind() != '}' && token.Kind() != ']' && !name {
			values++
		}
		if dec.StackDepth() == 0 {
			return values, depth
		}
	}
}

func FuzzNoDecoderSeesMoreValuesThanWereCounted(f *testing.F) {
	for _, seed := range []string{
		`{"a":[1,2,{"b":null}],"c":"\"\\"}`, `[[],{},"",0]`, `"`, `["\u0022,"]`, `{"a":{"a":{}}}`, `[1 2]`, `{"a"}`, "[\"\\\\\",1]",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		values, depth := count(text)
		got, err := jsonbound.Bounds{Values: len(text) + 1, Depth: len(text)}.Check(text)
		if err != nil || got < values {
			t.Errorf("%d values are counted in %q, error %v; a decoder sees %d", got, text, err, values)
		}
		if depth > 0 {
			if _, err := (jsonbound.Bounds{Values: len(text) + 1, Depth: depth - 1}).Check(text); err == nil {
				t.Errorf("%q is %d deep, which is not seen", text, depth)
			}
		}
	})
}

func TestCheckingAllocatesNothing(t *testing.T) {
	text, err := io.ReadAll(io.LimitReader(endless{}, 1<<16))
	if err != nil {
		t.Fatal(err)
	}
	bounds := jsonbound.Bounds{Values: 1 << 20, Depth: 64}
	if n := testing.AllocsPerRun(10, func() {
		if _, err := bounds.Check(text); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// endless is a list of small objects.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return copy(p, `{"name":"a\"b"},`), nil }
