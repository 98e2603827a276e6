package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	v2 "github.com/gatepass/gatepass/gateway/v2"
)

// The types here are flags that know whether they were given, so that an update
// leaves what was not as it is.

// boolFlag is a v2.Bool.
type boolFlag struct{ to *v2.Bool }

func (b boolFlag) Set(text string) error {
	on, err := strconv.ParseBool(text)
	if err != nil {
		return errors.New("use true or false")
	}
	*b.to = v2.BoolOf(on)
	return nil
}

func (b boolFlag) String() string {
	if b.to == nil || b.to.IsZero() {
		return ""
	}
	return strconv.FormatBool(b.to.Or(false))
}

func (b boolFlag) Type() string { return "bool" }

// addBool defines a flag that may be given without a value.
func addBool(f *pflag.FlagSet, to *v2.Bool, name, usage string) {
	f.VarPF(boolFlag{to}, name, "", usage).NoOptDefVal = "true"
}

// intFlag is a v2.Int.
type intFlag struct{ to *v2.Int }

func (i intFlag) Set(text string) error {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return errors.New("use a whole number")
	}
	*i.to = v2.IntOf(n)
	return nil
}

func (i intFlag) String() string {
	if i.to == nil || i.to.IsZero() {
		return ""
	}
	return strconv.FormatInt(i.to.Or(0), 10)
}

func (i intFlag) Type() string { return "int" }

// orNone is a number of which 0 has a number of its own in requests.
type orNone struct {
	intFlag
	none int64
}

func (o orNone) Set(text string) error {
	if err := o.intFlag.Set(text); err != nil {
		return err
	}
	if o.to.Or(0) == 0 {
		*o.to = v2.IntOf(o.none)
	}
	return nil
}

// optionalText is text of which "" is a value, too.
type optionalText struct{ to **string }

func (o optionalText) Set(text string) error {
	*o.to = &text
	return nil
}

func (o optionalText) String() string {
	if o.to == nil || *o.to == nil {
		return ""
	}
	return **o.to
}

func (o optionalText) Type() string { return "string" }

// addDescription defines the flag of an update that may empty the description.
func addDescription(f *pflag.FlagSet, to **string) {
	f.Var(optionalText{to}, "description", "what it is for; \"\" empties it")
	mayBeEmpty(f, "description")
}

// subClaimsFlag is CLAIM=PATTERN, each claim once. Commas are part of the
// pattern, where they mean "or".
type subClaimsFlag struct{ to *map[string]string }

func (s subClaimsFlag) Set(text string) error {
	claim, pattern, ok := strings.Cut(text, "=")
	if !ok || claim == "" || pattern == "" {
		return errors.New("use CLAIM=PATTERN, for example namespace=my-namespace-a")
	}
	if !slices.Contains(claims(), claim) {
		// It would be taken, and nobody would get the role.
		return fmt.Errorf("no session has that claim; those that have some have %s", strings.Join(claims(), ", "))
	}
	if _, twice := (*s.to)[claim]; twice {
		return fmt.Errorf("%s is given twice; put its patterns into one, with commas between them", claim)
	}
	if *s.to == nil {
		*s.to = map[string]string{}
	}
	(*s.to)[claim] = pattern
	return nil
}

// claims are the sub-claims of pods' sessions (gateway/authmethod), and two that
// other gateways have.
func claims() []string {
	return []string{
		"namespace", "service_account_name", "service_account_uid", "pod_name", "pod_uid", "config_name",
		"service_account_secret_name", "aud",
	}
}

func (s subClaimsFlag) String() string {
	if s.to == nil {
		return ""
	}
	return joinClaims(*s.to)
}

func (s subClaimsFlag) Type() string { return "CLAIM=PATTERN" }

// listFlag is a list that grows with every time the flag is given. Entries may be
// empty; refuseEmpty finds them.
type listFlag struct {
	to *[]string
	// whole entries may have commas in them.
	whole bool
}

func (l listFlag) Set(text string) error {
	if l.whole {
		return l.Append(text)
	}
	// Quotes let an entry have commas.
	entries, err := csv.NewReader(strings.NewReader(text)).Read()
	if errors.Is(err, io.EOF) {
		return l.Append("")
	}
	if err != nil {
		return errors.New("use commas between values, and double quotes around one that has commas or quotes")
	}
	*l.to = append(*l.to, entries...)
	return nil
}

func (l listFlag) String() string {
	if l.to == nil {
		return ""
	}
	return strings.Join(*l.to, ",")
}

// Type is one that shells complete again and again.
func (l listFlag) Type() string {
	if l.whole {
		return "stringArray"
	}
	return "stringSlice"
}

// Append implements pflag.SliceValue.
func (l listFlag) Append(entry string) error {
	*l.to = append(*l.to, entry)
	return nil
}

// Replace implements pflag.SliceValue.
func (l listFlag) Replace(entries []string) error {
	*l.to = nil
	for _, entry := range entries {
		if err := l.Append(entry); err != nil {
			return err
		}
	}
	return nil
}

// GetSlice implements pflag.SliceValue.
func (l listFlag) GetSlice() []string { return *l.to }

// addList defines a flag that may be repeated, or have commas between its values.
func addList(f *pflag.FlagSet, to *v2.Strings, name, usage string) {
	f.Var(listFlag{to: (*[]string)(to)}, name, usage+" (repeatable)")
}

func joinClaims[V string | []string](claims map[string]V) string {
	parts := make([]string, 0, len(claims))
	for name, value := range claims {
		switch v := any(value).(type) {
		case string:
			parts = append(parts, name+"="+v)
		case []string:
			parts = append(parts, name+"="+strings.Join(v, ","))
		}
	}
	slices.Sort(parts)
	return strings.Join(parts, " ")
}
