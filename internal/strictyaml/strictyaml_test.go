package strictyaml_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gatepass/gatepass/internal/strictyaml"
)

type inner struct {
	Text   string            `json:"text"`
	Number *int64            `json:"number"`
	Flag   bool              `json:"flag"`
	List   []string          `json:"list"`
	Labels map[string]string `json:"labels"`
}

type outer struct {
	Kind    string           `json:"kind"`
	Entries map[string]inner `json:"entries"`
	Items   []inner          `json:"items"`
	One     *inner           `json:"one"`
}

func TestEveryValueOfAWrongTypeIsReportedInWords(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     []string
	}{
		{"nothing wrong", "kind: a\nentries: {x: {text: a, number: 1, flag: true, list: [a], labels: {a: b}}}", nil},
		{"no value at all", "# nothing\n", nil},
		{"a value that is not set", "kind: a\nentries: {x: {text: , number: , flag: , list: , labels: }}\none: ", nil},
		{"a number where a string belongs", "one: {text: 60}", []string{`one.text: Invalid value: must be a string, not a number; write it in quotes: "60"`}},
		{"a long number stays as it was written", "one: {text: 12345678901234567890}", []string{`one.text: Invalid value: must be a string, not a number; write it in quotes: "12345678901234567890"`}},
		{"a word that YAML takes for a boolean", "one: {text: yes}", []string{`one.text: Invalid value: must be a string, not a boolean; write it in quotes: "true"`}},
		{"a string where a number belongs", `one: {number: "600"}`, []string{"one.number: Invalid value: must be an integer, not a string; write it without quotes: 600"}},
		{"a string that is no number, which is not repeated", `one: {number: hunter2}`, []string{"one.number: Invalid value: must be an integer, not a string"}},
		{"an octal number in quotes, whose value without them would be another", `one: {number: "0600"}`, []string{"one.number: Invalid value: must be an integer, not a string"}},
		{"a number with a fraction", "one: {number: 1.5}", []string{"one.number: Invalid value: must be an integer, not a number"}},
		{"a string where a boolean belongs", `one: {flag: "true"}`, []string{"one.flag: Invalid value: must be a boolean, not a string; write it without quotes: true"}},
		{"a list where a string belongs", "one: {text: [a, b]}", []string{"one.text: Invalid value: must be a string, not a list"}},
		{"a string where a list belongs", "one: {list: a}", []string{"one.list: Invalid value: must be a list, not a string"}},
		{"an entry of a list", "one: {list: [a, 1, b, {}]}", []string{
			`one.list[1]: Invalid value: must be a string, not a number; write it in quotes: "1"`, "one.list[3]: Invalid value: must be a string, not an object",
		}},
		{"a value of an object with free keys", "one: {labels: {b: 1, a: true}}", []string{
			`one.labels[a]: Invalid value: must be a string, not a boolean; write it in quotes: "true"`,
			`one.labels[b]: Invalid value: must be a string, not a number; write it in quotes: "1"`,
		}},
		{"an object where a list belongs, and a list where an object belongs", "items: {}\nentries: []", []string{
			"entries: Invalid value: must be an object, not a list", "items: Invalid value: must be a list, not an object",
		}},
		{"several at once, at several depths", "entries: {x: {text: 1}, z: 3}\nitems: [{flag: 1}, a]", []string{
			`entries[x].text: Invalid value: must be a string, not a number; write it in quotes: "1"`, "entries[z]: Invalid value: must be an object, not a number",
			"items[0].flag: Invalid value: must be a boolean, not a number", "items[1]: Invalid value: must be an object, not a string",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got outer
			mistakes, err := strictyaml.Decode([]byte(c.in), &got)
			if err != nil {
				t.Fatal(err)
			}
			var texts []string
			for _, e := range mistakes.Types {
				texts = append(texts, e.Error())
			}
			if diff := cmp.Diff(c.want, texts); diff != "" {
				t.Error(diff)
			}
			if len(mistakes.Unknown) > 0 {
				t.Errorf("want no unknown field, got %v", mistakes.Unknown)
			}
		})
	}
}

func TestWhatIsRightIsDecodedBesideWhatIsWrong(t *testing.T) {
	var got outer
	mistakes, err := strictyaml.Decode([]byte("kind: a\nentries: {x: {text: [], list: [b, 1, c]}, z: 1}\nunknown: 1\none: {typo: 1}"), &got)
	if err != nil {
		t.Fatal(err)
	}
	want := outer{Kind: "a", Entries: map[string]inner{"x": {List: []string{"b", "", "c"}}, "z": {}}, One: &inner{}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := errors.Join(mistakes.Unknown...).Error(); got != "unknown field \"one.typo\"\nunknown field \"unknown\"" {
		t.Errorf("unknown fields: %s", got)
	}
	kept := mistakes.Filter(field.ErrorList{
		field.Required(field.NewPath("entries").Key("x").Child("text"), ""),
		field.Required(field.NewPath("entries").Key("x").Child("texture"), ""),
		field.Required(field.NewPath("entries").Key("z").Child("text"), ""),
		field.Required(field.NewPath("one", "text"), ""),
	})
	var fields []string
	for _, e := range kept {
		fields = append(fields, e.Field)
	}
	if diff := cmp.Diff([]string{"entries[x].texture", "one.text"}, fields); diff != "" {
		t.Error(diff)
	}
}

func TestAFileThatIsNoneIsAnError(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"empty":         {" \n---\n", "the file is empty"},
		"not YAML":      {"a: [", "the file is not valid YAML"},
		"a key twice":   {"kind: a\nkind: b", "the file is not valid YAML"},
		"two documents": {"kind: a\n---\nkind: b\n", "holds 2 YAML documents"},
		"a list":        {"[1]", "it holds a list and no fields"},
		"a single word": {"word", "it holds a string and no fields"},
	} {
		t.Run(name, func(t *testing.T) {
			var got outer
			if _, err := strictyaml.Decode([]byte(c.in), &got); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("want an error with %q, got %v", c.want, err)
			}
		})
	}
}

// Whatever is written, Decode neither fails to say what is wrong nor panics, and
// what it says is bounded by what was written.
func FuzzDecode(f *testing.F) {
	f.Add("kind: a\nentries: {x: {text: 1}}\nitems: [{flag: 1}, a]")
	f.Add("one: {list: [a, 1], labels: {a: true}}")
	f.Fuzz(func(t *testing.T, in string) {
		var got outer
		mistakes, err := strictyaml.Decode([]byte(in), &got)
		if err != nil && (len(mistakes.Types) > 0 || strings.Contains(err.Error(), "\n")) {
			t.Errorf("error %q beside %v", err, mistakes.Types)
		}
	})
}
