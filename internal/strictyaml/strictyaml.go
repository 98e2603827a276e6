// Package strictyaml reads a configuration file strictly and reports every
// mistake of form in it at once: unknown fields, and values of another type than
// their field's. The libraries below it stop at the first wrong type, and name Go
// types that an administrator has never heard of.
package strictyaml

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// ErrEmpty is Decode's error for a file without content.
var ErrEmpty = errors.New("the file is empty")

// Mistakes are what is wrong with the form of a file that could be read.
type Mistakes struct {
	// Unknown has an error for each field that the format does not have; each
	// tells its path by the method FieldPath of [kjson.FieldError].
	Unknown []error
	// Types has an error for each value of the wrong type. None holds a value
	// that could be a secret.
	Types field.ErrorList
}

// Decode reads one YAML document into the struct that into points to. A value of
// the wrong type is left out of it and reported, so that the rest can be validated
// too; [Mistakes.Filter] then drops what only follows from the omission. The error
// is for a file that has no content ([ErrEmpty]), is not YAML, or holds several
// documents, of which the YAML library would silently take the first.
func Decode(data []byte, into any) (Mistakes, error) {
	if err := oneDocument(data); err != nil {
		return Mistakes{}, err
	}
	asJSON, err := yaml.YAMLToJSONStrict(data)
	if err != nil {
		return Mistakes{}, fmt.Errorf("the file is not valid YAML: %s", flat(err))
	}
	var found Mistakes
	c := checker{}
	if asJSON, err = c.check(asJSON, reflect.TypeOf(into).Elem()); err != nil {
		return Mistakes{}, err
	}
	// The entries of an object come in no order of their own.
	slices.SortStableFunc(c.errs, func(a, b *field.Error) int { return strings.Compare(a.Field, b.Field) })
	found.Types = c.errs
	if found.Unknown, err = kjson.UnmarshalStrict(asJSON, into); err != nil {
		return Mistakes{}, fmt.Errorf("the file can't be decoded: %s", flat(err))
	}
	return found, nil
}

// Filter returns the errors of a validation that are not about a value which
// Types reports already, nor about something inside of one.
func (m Mistakes) Filter(errs field.ErrorList) field.ErrorList {
	var kept field.ErrorList
	for _, e := range errs {
		if !m.covers(e.Field) {
			kept = append(kept, e)
		}
	}
	return kept
}

func (m Mistakes) covers(path string) bool {
	for _, wrong := range m.Types {
		rest, inside := strings.CutPrefix(path, wrong.Field)
		if inside && (rest == "" || rest[0] == '.' || rest[0] == '[') {
			return true
		}
	}
	return false
}

func oneDocument(data []byte) error {
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
	count := 0
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("the file is not valid YAML: %s", flat(err))
		}
		if len(bytes.TrimSpace(document)) > 0 {
			count++
		}
	}
	switch count {
	case 0:
		return ErrEmpty
	case 1:
		return nil
	}
	return fmt.Errorf("the file holds %d YAML documents; put everything in one", count)
}

// flat puts a library's message of several lines on one.
func flat(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

// checker holds a decoded document against a Go type.
type checker struct{ errs field.ErrorList }

// check returns the document without the values of the wrong type.
func (c *checker) check(doc []byte, t reflect.Type) ([]byte, error) {
	decoder := json.NewDecoder(bytes.NewReader(doc))
	decoder.UseNumber() // a number stays the text that was written
	var v any
	if err := decoder.Decode(&v); err != nil {
		return nil, fmt.Errorf("the file can't be decoded: %s", flat(err))
	}
	if _, ok := v.(map[string]any); !ok && v != nil { // only comments: no field is set
		return nil, fmt.Errorf("the file does not have the shape of a configuration: it holds %s and no fields", describe(v))
	}
	c.value(nil, t, v)
	if len(c.errs) == 0 {
		return doc, nil
	}
	return json.Marshal(v)
}

// value reports whether v fits the type, and removes from it what does not.
func (c *checker) value(p *field.Path, t reflect.Type, v any) bool {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if v == nil || reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]()) {
		return true // null is "not set"; a type that reads itself explains itself
	}
	switch t.Kind() {
	case reflect.Struct:
		return c.object(p, t, v)
	case reflect.Map:
		return c.entries(p, t, v)
	case reflect.Slice:
		return c.list(p, t, v)
	case reflect.String:
		_, fits := v.(string)
		return fits || c.wrong(p, v, "a string")
	case reflect.Bool:
		_, fits := v.(bool)
		return fits || c.wrong(p, v, "a boolean")
	case reflect.Int, reflect.Int32, reflect.Int64:
		n, number := v.(json.Number)
		if number {
			_, err := n.Int64()
			number = err == nil
		}
		return number || c.wrong(p, v, "an integer")
	default: // no configuration has fields of other kinds
		return true
	}
}

func (c *checker) object(p *field.Path, t reflect.Type, v any) bool {
	fields, ok := v.(map[string]any)
	if !ok {
		return c.wrong(p, v, "an object")
	}
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		if inner, there := fields[name]; there && name != "" && !c.value(child(p, name), t.Field(i).Type, inner) {
			delete(fields, name)
		}
	}
	return true
}

func (c *checker) entries(p *field.Path, t reflect.Type, v any) bool {
	fields, ok := v.(map[string]any)
	if !ok {
		return c.wrong(p, v, "an object")
	}
	for name, inner := range fields {
		if !c.value(p.Key(name), t.Elem(), inner) {
			fields[name] = nil // its name is still there, and valid or not
		}
	}
	return true
}

func (c *checker) list(p *field.Path, t reflect.Type, v any) bool {
	entries, ok := v.([]any)
	if !ok {
		return c.wrong(p, v, "a list")
	}
	for i, inner := range entries {
		if !c.value(p.Index(i), t.Elem(), inner) {
			entries[i] = nil // the others keep their places
		}
	}
	return true
}

// child is p.Child for a path that may be the document's root.
func child(p *field.Path, name string) *field.Path {
	if p == nil {
		return field.NewPath(name)
	}
	return p.Child(name)
}

// wrong reports v and returns false.
func (c *checker) wrong(p *field.Path, v any, want string) bool {
	fix := ""
	switch text, isText := v.(string); {
	case want == "a string" && scalar(v):
		fix = fmt.Sprintf("; write it in quotes: \"%v\"", v)
	case want == "an integer" && isText && integer(text):
		fix = "; write it without quotes: " + text
	case want == "a boolean" && (text == "true" || text == "false"):
		fix = "; write it without quotes: " + text
	}
	c.errs = append(c.errs, field.TypeInvalid(p, field.OmitValueType{}, fmt.Sprintf("must be %s, not %s%s", want, describe(v), fix)))
	return false
}

func scalar(v any) bool {
	switch v.(type) {
	case json.Number, bool:
		return true
	}
	return false
}

// integer reports whether a text means the same number without its quotes.
func integer(text string) bool {
	n, err := strconv.ParseInt(text, 10, 64)
	return err == nil && strconv.FormatInt(n, 10) == text
}

// describe names a value's type as an administrator would.
func describe(v any) string {
	switch v.(type) {
	case string:
		return "a string"
	case bool:
		return "a boolean"
	case json.Number:
		return "a number"
	case []any:
		return "a list"
	}
	return "an object"
}
