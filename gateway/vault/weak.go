package vault

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Vault reads its parameters weakly, and its clients rely on that: its command
// line sends every one as text.

// want is what a field should be. It holds nothing of what was sent, which may be a
// secret.
type want string

func (w want) Error() string { return string(w) }

const (
	wantDuration want = "want seconds, or a duration like 1h30m or 7d, and no negative one"
	wantNumber   want = "want a whole number"
	wantFlag     want = "want true or false"
	wantTexts    want = "want a list of texts"
	wantText     want = "want text"
	wantOne      want = "want a single value"
)

// duration reads seconds, as a number or as text, and text like 1h30m or 7d.
type duration time.Duration

// UnmarshalJSON implements json.Unmarshaler.
func (d *duration) UnmarshalJSON(b []byte) error {
	text, err := scalar(b)
	if err != nil {
		return err
	}
	if text == "" {
		*d = 0
		return nil
	}
	unit := time.Second
	count := text
	if days, ok := strings.CutSuffix(text, "d"); ok {
		unit, count = 24*time.Hour, days
	}
	if n, ok := whole(count); ok {
		if n < 0 || n > math.MaxInt64/int64(unit) {
			return wantDuration
		}
		*d = duration(n * int64(unit))
		return nil
	}
	parsed, err := time.ParseDuration(text)
	if err != nil || parsed < 0 {
		return wantDuration
	}
	*d = duration(parsed)
	return nil
}

// whole is a whole number, also one that is written like 1e2 or 3600.0, as some
// languages write all of them.
func whole(text string) (int64, bool) {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n, true
	}
	const exact = 1 << 53 // beyond it not every whole number is a float64
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) > exact {
		return 0, false
	}
	return int64(f), true
}

// number reads a whole number, also as text.
type number int

// UnmarshalJSON implements json.Unmarshaler.
func (n *number) UnmarshalJSON(b []byte) error {
	text, err := scalar(b)
	if err != nil {
		return err
	}
	parsed, ok := whole(text)
	if !ok || parsed < math.MinInt32 || parsed > math.MaxInt32 {
		return wantNumber
	}
	*n = number(parsed)
	return nil
}

// flag reads a boolean, also as text.
type flag bool

// UnmarshalJSON implements json.Unmarshaler.
func (f *flag) UnmarshalJSON(b []byte) error {
	text, err := scalar(b)
	if err != nil {
		return err
	}
	parsed, err := strconv.ParseBool(text)
	if err != nil {
		return wantFlag
	}
	*f = flag(parsed)
	return nil
}

// list reads a list of texts, or one text with commas between them.
type list []string

// UnmarshalJSON implements json.Unmarshaler.
func (l *list) UnmarshalJSON(b []byte) error {
	var entries []string
	if jsontext.Value(b).Kind() == '[' {
		if json.Unmarshal(b, &entries) != nil {
			return wantTexts
		}
	} else {
		text, err := scalar(b)
		if err != nil {
			return err
		}
		entries = strings.Split(text, ",")
	}
	*l = list{}
	for _, entry := range entries {
		if entry = strings.TrimSpace(entry); entry != "" {
			*l = append(*l, entry)
		}
	}
	return nil
}

// scalar is a JSON text, number or boolean as text. Null is no text.
func scalar(b []byte) (string, error) {
	kind := jsontext.Value(b).Kind()
	if kind == jsontext.KindString {
		var text string
		if json.Unmarshal(b, &text) != nil {
			return "", wantText
		}
		return strings.TrimSpace(text), nil
	}
	if kind == jsontext.KindNull {
		return "", nil
	}
	if kind == jsontext.KindNumber || kind == jsontext.KindTrue || kind == jsontext.KindFalse {
		return string(b), nil
	}
	return "", wantOne
}
