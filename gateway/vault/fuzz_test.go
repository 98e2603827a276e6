package vault

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// FuzzDecode reads what strangers and administrators send.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{"role":"web","jwt":"a.b.c"}`, `{"increment":"1h"}`, `{"increment":3600}`, `{"data":{"value":"x"},"options":{"cas":0}}`,
		`{"bound_service_account_names":"a,b","bound_service_account_namespaces":["*"],"token_ttl":"15m","token_policies":["p"]}`,
		`{"kubernetes_host":"https://h","disable_iss_validation":"false","pem_keys":[]}`, `{"data":{"value":"{\"a\":1}"}}`, `{}`, `[]`, "\xff",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var renewal struct {
			Increment duration `json:"increment"`
		}
		var written struct {
			Data jsontext.Value `json:"data"`
		}
		var role roleRequest
		var config configRequest
		for _, into := range []any{&renewal, &written, &role, &config} {
			err := decode(body, into)
			var refused *refusal
			if err != nil && (!errors.As(err, &refused) || refused.status != http.StatusBadRequest) {
				t.Fatalf("%v", err)
			}
		}
		if d := time.Duration(renewal.Increment); d < 0 {
			t.Errorf("an increment of %s", d)
		}
		if role.check() == nil {
			for _, bound := range []*list{role.Names, role.Namespaces} {
				if bound != nil && (len(*bound) == 0 || slices.ContainsFunc(*bound, func(s string) bool { return s == "" || strings.TrimSpace(s) != s })) {
					t.Errorf("a role that is bound to %q", *bound)
				}
			}
		}
		checkValue(t, written.Data)
	})
}

// FuzzRequests sends any request, as the administrator of a catalog: every answer is
// one that Vault's clients can read, and none is an internal error.
func FuzzRequests(f *testing.F) {
	r := newRig(f)
	r.withCatalog(f)
	r.grant()
	for _, seed := range [][3]string{
		{"PUT", "auth/kubernetes/login", `{"role":"web","jwt":"a.b.c"}`},
		{"GET", "auth/token/lookup-self", ""},
		{"PUT", "auth/token/renew-self", `{"increment":"1h"}`},
		{"PUT", "auth/token/revoke-self", ""},
		{"PUT", "secret/data/apps/web", `{"data":{"value":"x"},"options":{"cas":0}}`},
		{"GET", "secret/data/apps/web?version=1", ""},
		{"GET", "secret/metadata/apps?list=true", ""},
		{"LIST", "secret/metadata/", ""},
		{"DELETE", "secret/metadata/apps/web", ""},
		{"POST", "secret/destroy/apps/web", `{"versions":[1]}`},
		{"PUT", "auth/kubernetes/config", `{"kubernetes_host":"https://h","token_reviewer_jwt":"x","disable_iss_validation":"false"}`},
		{"GET", "auth/kubernetes/config", ""},
		{"PUT", "auth/kubernetes/role/web", `{"bound_service_account_names":"web","bound_service_account_namespaces":["*"],"token_policies":["p"],"ttl":"15m"}`},
		{"GET", "auth/a/b/role/c/d", ""},
		{"LIST", "auth/kubernetes/role", ""},
		{"DELETE", "auth/kubernetes/role/web", ""},
		{"GET", "sys/internal/ui/mounts/secret/a", ""},
		{"HEAD", "sys/health?standbyok=true&sealedcode=abc", ""},
	} {
		f.Add(seed[0], seed[1], []byte(seed[2]))
	}
	f.Fuzz(func(t *testing.T, method, path string, body []byte) {
		target, err := url.Parse("https://gateway.example" + Prefix + path)
		if err != nil || !strings.HasPrefix(target.Path, Prefix) {
			return // what net/http would not let through to the handler
		}
		request, err := http.NewRequestWithContext(t.Context(), method, target.String(), bytes.NewReader(body))
		if err != nil {
			return
		}
		request.Header.Set("X-Vault-Token", aToken)
		recorder := httptest.NewRecorder()
		r.ServeHTTP(recorder, request)
		text := recorder.Body.Bytes()
		switch {
		case recorder.Code == http.StatusNoContent:
			if len(text) > 0 {
				t.Errorf("%s %q: 204 with %q", method, path, text)
			}
		case recorder.Code == http.StatusInternalServerError || recorder.Code >= 300 && recorder.Code < 400,
			recorder.Header().Get("Content-Type") != "application/json", !jsontext.Value(text).IsValid():
			t.Errorf("%s %q: %d %q", method, path, recorder.Code, text)
		}
		if r.given != len(r.taken) {
			t.Fatalf("%s %q: %d of %d turns were given back", method, path, r.given, len(r.taken))
		}
		r.given, r.taken = 0, nil
	})
}

// checkValue holds that what is written is what is read.
func checkValue(t *testing.T, sent jsontext.Value) {
	value, err := valueOf(sent)
	if err != nil {
		return
	}
	shown, err := fieldsOf(value)
	if err != nil {
		t.Fatal(err)
	}
	sent, shown = sent.Clone(), shown.Clone() // which may share their bytes
	for _, v := range []*jsontext.Value{&sent, &shown} {
		if err := v.Canonicalize(); err != nil {
			t.Fatalf("%s: %v", *v, err)
		}
	}
	if !bytes.Equal(sent, shown) {
		t.Errorf("%s was written, and %s read", sent, shown)
	}
}
