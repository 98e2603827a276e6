package v2

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
)

// Bool is a flag that may be unset. It reads a JSON boolean, null, and the
// text "true", "false" and "", and writes a boolean.
type Bool struct{ set, on bool }

// BoolOf is a flag that is set.
func BoolOf(on bool) Bool { return Bool{set: true, on: on} }

// Or is the flag, or what it is if it is unset.
func (b Bool) Or(unset bool) bool {
	if b.set {
		return b.on
	}
	return unset
}

// IsZero says whether the flag is unset.
func (b Bool) IsZero() bool { return !b.set }

// MarshalJSON implements json.Marshaler.
func (b Bool) MarshalJSON() ([]byte, error) {
	if !b.set {
		return []byte("null"), nil
	}
	return strconv.AppendBool(nil, b.on), nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (b *Bool) UnmarshalJSON(data []byte) error {
	text, err := scalar(data)
	if err != nil {
		return err
	}
	switch strings.ToLower(text) {
	case "":
		*b = Bool{}
	case "true":
		*b = BoolOf(true)
	case "false":
		*b = BoolOf(false)
	default:
		return errors.New("want true or false")
	}
	return nil
}

// BoolText is a Bool that is written as text, where the API has it as text.
type BoolText struct{ Bool }

// BoolTextOf is a flag that is set.
func BoolTextOf(on bool) BoolText { return BoolText{BoolOf(on)} }

// MarshalJSON implements json.Marshaler.
func (b BoolText) MarshalJSON() ([]byte, error) {
	if !b.set {
		return []byte(`""`), nil
	}
	return []byte(strconv.Quote(strconv.FormatBool(b.on))), nil
}

// Int is a whole number that may be unset. It reads a JSON number, null, and
// the number as text, of which "" is unset, and writes a number.
type Int struct {
	set bool
	n   int64
}

// IntOf is a number that is set.
func IntOf(n int64) Int { return Int{set: true, n: n} }

// Or is the number, or what it is if it is unset.
func (i Int) Or(unset int64) int64 {
	if i.set {
		return i.n
	}
	return unset
}

// Update is the number in an update, where 0 is unset, because the public SDKs
// send it whatever they are asked to change, and Clear is 0.
func (i Int) Update() Int {
	switch i.Or(0) {
	case 0:
		return Int{}
	case Clear:
		return IntOf(0)
	}
	return i
}

// Clear stands for 0 in an update.
const Clear = -1

// IsZero says whether the number is unset. Zero is a number.
func (i Int) IsZero() bool { return !i.set }

// MarshalJSON implements json.Marshaler.
func (i Int) MarshalJSON() ([]byte, error) {
	if !i.set {
		return []byte("null"), nil
	}
	return strconv.AppendInt(nil, i.n, 10), nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (i *Int) UnmarshalJSON(data []byte) error {
	text, err := scalar(data)
	if err != nil {
		return err
	}
	if text == "" {
		*i = Int{}
		return nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return errors.New("want a whole number of 64 bits")
	}
	*i = IntOf(n)
	return nil
}

// Strings is a list of texts, nil if it is unset. It reads a JSON list, null,
// and a text, which is a list of one, or unset if it is empty.
type Strings []string

// UnmarshalJSON implements json.Unmarshaler.
func (s *Strings) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '[' {
		list := []string{}
		if err := json.Unmarshal(data, &list); err != nil {
			return errors.New("want a list of texts")
		}
		*s = list
		return nil
	}
	if len(data) > 0 && data[0] != '"' && data[0] != 'n' {
		return errors.New("want a list of texts")
	}
	text, err := scalar(data)
	if err != nil {
		return err
	}
	*s = nil
	if text != "" {
		*s = Strings{text}
	}
	return nil
}

// scalar is what a JSON value that is neither a list nor an object says; null
// is "".
func scalar(data []byte) (string, error) {
	switch {
	case len(data) == 0, data[0] == '[', data[0] == '{':
		return "", errors.New("want a single value")
	case string(data) == "null":
		return "", nil
	case data[0] != '"':
		return string(data), nil
	}
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return "", errors.New("want text")
	}
	return strings.TrimSpace(text), nil
}
