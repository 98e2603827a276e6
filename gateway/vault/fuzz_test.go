package vault

import (
	"bytes"
	"errors"
	"net/http"
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
	for _, v := range []*jsontext.Value{&sent, &shown} {
		if err := v.Canonicalize(); err != nil {
			t.Fatalf("%s: %v", *v, err)
		}
	}
	if !bytes.Equal(sent, shown) {
		t.Errorf("%s was written, and %s read", sent, shown)
	}
}
