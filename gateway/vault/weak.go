package vault

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Vault reads its parameters weakly, and its clients rely on that: its command
// line sends every one as text.

// duration reads seconds, as a number or as text, and text like 1h30m.
type duration time.Duration

var errDuration = errors.New("want seconds, or a duration like 1h30m")

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
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		if n < 0 || n > math.MaxInt64/int64(time.Second) {
			return errDuration
		}
		*d = duration(n * int64(time.Second))
		return nil
	}
	parsed, err := time.ParseDuration(text)
	if err != nil || parsed < 0 {
		return errDuration
	}
	*d = duration(parsed)
	return nil
}

// number reads a whole number, also as text.
type number int

// UnmarshalJSON implements json.Unmarshaler.
func (n *number) UnmarshalJSON(b []byte) error {
	text, err := scalar(b)
	if err != nil {
		return err
	}
	parsed, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return errors.New("want a whole number")
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
		return errors.New("want true or false")
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
			return errors.New("want a list of texts")
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
			return "", errors.New("want text")
		}
		return strings.TrimSpace(text), nil
	}
	if kind == jsontext.KindNull {
		return "", nil
	}
	if kind == jsontext.KindNumber || kind == jsontext.KindTrue || kind == jsontext.KindFalse {
		return string(b), nil
	}
	return "", errors.New("want a single value")
}
