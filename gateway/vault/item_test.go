package vault

import (
	"testing"

	"github.com/go-json-experiment/json"
)

func TestValues(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, value, fields string }{
		{"text is one field", `s3cret`, `{"value":"s3cret"}`},
		{"no text is one field", ``, `{"value":""}`},
		{"text with quotes and lines is one field", "a\"b\n\u2028é", `{"value":"a\"b\n` + "\u2028" + `é"}`},
		{"an object is its fields", `{"user":"u","password":"p"}`, `{"user":"u","password":"p"}`},
		{"an object keeps its order, numbers and nesting", `{"z":1.50,"a":{"b":[1,null]}}`, `{"z":1.50,"a":{"b":[1,null]}}`},
		{"an empty object is no field", `{}`, `{}`},
		{"a list is one field", `[1]`, `{"value":"[1]"}`},
		{"a broken object is one field", `{"a":`, `{"value":"{\"a\":"}`},
		{"an object with a field twice is one field", `{"a":1,"a":2}`, `{"value":"{\"a\":1,\"a\":2}"}`},
		{"a field value beside another is an object", `{"value":"x","more":1}`, `{"value":"x","more":1}`},
		{"a field value that is no text is an object", `{"value":1}`, `{"value":1}`},
		{"a field value that holds an object stays one", `{"value":"{}"}`, `{"value":"{}"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			fields, err := fieldsOf([]byte(tt.value))
			if err != nil || string(fields) != tt.fields {
				t.Errorf("shown as %s, %v; want %s", fields, err, tt.fields)
			}
			value, err := valueOf(fields)
			if err != nil || string(value) != tt.value {
				t.Errorf("written back as %s, %v; want %s", value, err, tt.value)
			}
		})
	}
	for _, fields := range []string{``, `null`, `"x"`, `[]`, `1`} {
		t.Run("data of "+fields+" is refused", func(t *testing.T) {
			t.Parallel()
			if got := newRig(t).do(t, "POST", "/v1/secret/data/a", `{"data":`+fields+`}`); got.status != 400 {
				t.Errorf("%d %s", got.status, got.text)
			}
		})
	}
}

func TestWeakTypes(t *testing.T) {
	t.Parallel()
	var got struct {
		Flags   []flag
		Numbers []number
		Lists   []list
	}
	err := json.Unmarshal([]byte(`{"Flags":[true,"true","0",1],"Numbers":[3,"4"],"Lists":["a, b,,",["a","b"],"",[],null]}`), &got)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"Flags":[true,true,false,true],"Numbers":[3,4],"Lists":[["a","b"],["a","b"],[],[],[]]}`
	if text, err := json.Marshal(got); err != nil || string(text) != want {
		t.Errorf("%s, %v; want %s", text, err, want)
	}
	for _, bad := range []string{`{"Flags":["yes"]}`, `{"Numbers":["x"]}`, `{"Numbers":[1.5]}`, `{"Numbers":[99999999999]}`, `{"Lists":[[1]]}`, `{"Lists":[{}]}`} {
		if err := json.Unmarshal([]byte(bad), &got); err == nil {
			t.Errorf("%s is read", bad)
		}
	}
}

func TestRolesThatCanNotBeHad(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"bound_service_account_namespace_selector":"{}"}`:  "bound_service_account_namespace_selector is not supported by this gateway: name the namespaces",
		`{"alias_name_source":"serviceaccount_name"}`:        "alias_name_source is not supported by this gateway: a service account is known by its UID",
		`{"token_explicit_max_ttl":"1h"}`:                    "token_explicit_max_ttl is not supported by this gateway: use token_max_ttl",
		`{"token_num_uses":"3"}`:                             "token_num_uses is not supported by this gateway: sessions are not counted",
		`{"token_period":60}`:                                "token_period is not supported by this gateway: every session has an end; use token_ttl and token_max_ttl",
		`{"token_type":"batch"}`:                             "token_type is not supported by this gateway: there is one type of session",
		`{"policies":"p"}`:                                   "policies is not supported by this gateway: use token_policies",
		`{"bound_service_account_names":"*,web"}`:            `"bound_service_account_names": can not mix "*" with values`,
		`{"bound_service_account_names":[]}`:                 `"bound_service_account_names" can not be empty`,
		`{"bound_service_account_namespaces":""}`:            `"bound_service_account_namespaces" can not be empty`,
		`{"bound_service_account_namespaces":["*","other"]}`: `"bound_service_account_namespaces": can not mix "*" with values`,
		`{"token_ttl":"soon"}`:                               `failed to parse JSON input: field "/token_ttl": want seconds, or a duration like 1h30m or 7d, and no negative one`,
		`{"token_ttl":-5}`:                                   `failed to parse JSON input: field "/token_ttl": want seconds, or a duration like 1h30m or 7d, and no negative one`,
		`{"audience":{"a secret":"x"}}`:                      `failed to parse JSON input: field "/audience" can't be what was sent`,
		`{"audience":"x","audience":"x"}`:                    `failed to parse JSON input: field "/audience" is there twice`,
		`{"token_num_uses":1.5}`:                             `failed to parse JSON input: field "/token_num_uses": want a whole number`,
		`{"bound_service_account_names":{"a secret":"x"}}`:   `failed to parse JSON input: field "/bound_service_account_names": want a single value`,
	} {
		t.Run(body, func(t *testing.T) {
			t.Parallel()
			if got := newRig(t).do(t, "POST", "/v1/auth/kubernetes/role/web", body); got.status != 400 || got.errors() != want {
				t.Errorf("%d %s, want %s", got.status, got.text, want)
			}
		})
	}
	for body, want := range map[string]string{
		`{"pem_keys":["k"]}`:                         "pem_keys is not supported: this gateway has every token reviewed by the API server",
		`{"use_annotations_as_alias_metadata":true}`: "use_annotations_as_alias_metadata is not supported: this gateway has no aliases",
	} {
		t.Run(body, func(t *testing.T) {
			t.Parallel()
			if got := newRig(t).do(t, "POST", "/v1/auth/kubernetes/config", body); got.status != 400 || got.errors() != want {
				t.Errorf("%d %s, want %s", got.status, got.text, want)
			}
		})
	}
}
