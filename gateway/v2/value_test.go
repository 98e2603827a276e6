package v2_test

import (
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	v2 "github.com/gatepass/gatepass/gateway/v2"
)

// values has one field of each type that reads more than one way of writing.
type values struct {
	Bool     v2.Bool     `json:"bool,omitzero"`
	BoolText v2.BoolText `json:"text,omitzero"`
	Int      v2.Int      `json:"int,omitzero"`
	Strings  v2.Strings  `json:"strings,omitzero"`
}

func TestValuesAreReadAsSDKsWriteThem(t *testing.T) {
	t.Parallel()
	yes, no := v2.BoolOf(true), v2.BoolOf(false)
	for _, tt := range []struct {
		name, text string
		want       values
	}{
		{"nothing", `{}`, values{}},
		{"null", `{"bool":null,"text":null,"int":null,"strings":null}`, values{}},
		{"empty text", `{"bool":"","text":"","int":"","strings":""}`, values{}},
		{"as they are", `{"bool":true,"text":"true","int":12,"strings":["a","b"]}`, values{yes, v2.BoolTextOf(true), v2.IntOf(12), v2.Strings{"a", "b"}}},
		{"the other way", `{"bool":"false","text":false,"int":"-12","strings":"a"}`, values{no, v2.BoolTextOf(false), v2.IntOf(-12), v2.Strings{"a"}}},
		{"zero is a number", `{"int":0}`, values{Int: v2.IntOf(0)}},
		{"an empty list is a list", `{"strings":[]}`, values{Strings: v2.Strings{}}},
		{"empty text in a list stays", `{"strings":[""]}`, values{Strings: v2.Strings{""}}},
		{"capitals, and space around", `{"bool":" True ","int":" 7 "}`, values{Bool: yes, Int: v2.IntOf(7)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var got values
			if err := json.Unmarshal([]byte(tt.text), &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(v2.Bool{}, v2.Int{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestValuesThatAreNoneAreRefused(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		`{"bool":"yes"}`, `{"bool":1}`, `{"bool":{}}`, `{"bool":[true]}`, `{"text":"0"}`,
		`{"int":"x"}`, `{"int":1.5}`, `{"int":true}`, `{"int":[1]}`, `{"int":9223372036854775808}`, `{"int":1e3}`,
		`{"strings":1}`, `{"strings":true}`, `{"strings":{}}`, `{"strings":[1]}`, `{"strings":[["a"]]}`, `{"strings":[null,1]}`,
	} {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			var got values
			if err := json.Unmarshal([]byte(text), &got); err == nil {
				t.Errorf("read as %+v", got)
			}
		})
	}
}

func TestValuesAreWrittenAsTheAPIHasThem(t *testing.T) {
	t.Parallel()
	for want, v := range map[string]values{
		`{}`: {},
		`{"bool":false,"text":"false","int":0,"strings":[]}`:           {v2.BoolOf(false), v2.BoolTextOf(false), v2.IntOf(0), v2.Strings{}},
		`{"bool":true,"text":"true","int":-3,"strings":["a","\"b\""]}`: {v2.BoolOf(true), v2.BoolTextOf(true), v2.IntOf(-3), v2.Strings{"a", `"b"`}},
	} {
		got, err := json.Marshal(v)
		if err != nil || string(got) != want {
			t.Errorf("%s, %v; want %s", got, err, want)
		}
	}
}

// FuzzValues: what can be read is written so that it reads the same.
func FuzzValues(f *testing.F) {
	f.Add([]byte(`{"bool":"true","text":false,"int":"-12","strings":"a"}`))
	f.Add([]byte(`{"bool":null,"text":"","int":"","strings":["","\u0000"]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var first, second values
		if json.Unmarshal(text, &first) != nil {
			return
		}
		written, err := json.Marshal(first)
		if err != nil {
			t.Fatalf("%+v can't be written: %v", first, err)
		}
		if err := json.Unmarshal(written, &second); err != nil {
			t.Fatalf("%s can't be read: %v", written, err)
		}
		if diff := cmp.Diff(first, second, cmp.AllowUnexported(v2.Bool{}, v2.Int{})); diff != "" {
			t.Error(diff)
		}
	})
}
