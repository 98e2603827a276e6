package gateway_test

import (
	"crypto"
	"crypto/ecdsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/gatepass/gatepass/gateway/keys"
	"github.com/gatepass/gatepass/gateway/session"
	"github.com/gatepass/gatepass/gateway/tokenreview"
	"github.com/gatepass/gatepass/gateway/v2/command"
)

// toldKey makes an auth method, whose maker is told a private key.
func (r *rig) toldKey(name string) (accessID string, key *ecdsa.PrivateKey) {
	r.t.Helper()
	made := r.do("create-auth-method-k8s", fields{"name": name})
	text, err := base64.StdEncoding.DecodeString(fmt.Sprint(made["prv_key"]))
	r.must(err)
	private, err := keys.Parse(text)
	r.must(err)
	key, ok := private.(*ecdsa.PrivateKey)
	if !ok {
		r.t.Fatalf("the auth method's key is a %T", private)
	}
	return fmt.Sprint(made["access_id"]), key
}

// thumbprint is a key's id as the gateway publishes it.
func (r *rig) thumbprint(key crypto.PublicKey) string {
	r.t.Helper()
	sum, err := (&jose.JSONWebKey{Key: key}).Thumbprint(crypto.SHA256)
	r.must(err)
	return base64.RawURLEncoding.EncodeToString(sum)
}

// forge signs a session as the gateway would, with a key of somebody else's.
func (r *rig) forge(key *ecdsa.PrivateKey, kid string, claims session.Claims) string {
	r.t.Helper()
	now := time.Now()
	claims.Issuer, claims.Audience, claims.ID = "https://gateway.example:8000", claims.AccessID, "AAAAAAAAAAAAAAAAAAAAAA"
	claims.IssuedAt, claims.Expiry = now.Unix(), now.Add(23*time.Hour).Unix()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key},
		(&jose.SignerOptions{}).WithHeader("kid", kid).WithType("JWT"))
	r.must(err)
	signed, err := signer.Sign([]byte(r.text(claims)))
	r.must(err)
	token, err := signed.CompactSerialize()
	r.must(err)
	return token
}

func (r *rig) published() string {
	r.t.Helper()
	recorder := httptest.NewRecorder()
	r.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, session.JWKSPath, nil))
	if recorder.Code != http.StatusOK {
		r.t.Fatalf("the keys: %d %s", recorder.Code, recorder.Body)
	}
	return recorder.Body.String()
}

func TestAKeyThatWasToldSignsNoSession(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	own, key := r.toldKey("tenant")
	victim, _ := r.toldKey("victim")
	jwks := r.published()
	if strings.Contains(jwks, r.thumbprint(key.Public())) {
		t.Error("the key that its maker was told is published as one that signs sessions")
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal([]byte(jwks), &set); err != nil || len(set.Keys) == 0 {
		t.Fatalf("%v in %s", err, jwks)
	}
	for _, of := range []struct{ whose, accessID, subject string }{
		{"its own auth method", own, "system:serviceaccount:anywhere:anybody"},
		{"another auth method", victim, "system:serviceaccount:kube-system:admin"},
		{"the administrator's", r.admin.AccessID, "access-key:" + r.admin.AccessID},
		{"no auth method", "p-abcdefghij12km", "s"},
	} {
		for _, kid := range []string{r.thumbprint(key.Public()), set.Keys[0].KeyID, "", "other"} {
			t.Run("of "+of.whose+" under the key id "+kid, func(t *testing.T) {
				r.refusedEverywhere(t, r.forge(key, kid, session.Claims{
					AccessID: of.accessID, Subject: of.subject,
					SubClaims: map[string][]string{"namespace": {"kube-system"}},
				}))
			})
		}
	}
}

// refusedEverywhere holds a token against everything that takes sessions.
func (r *rig) refusedEverywhere(t *testing.T, token string) {
	t.Helper()
	status, _, answer := r.post("/validate-token", r.text(fields{"token": token}))
	if valid, told := answer["is_valid"].(bool); status != http.StatusOK || !told || valid {
		t.Errorf("validate-token: %d %v", status, answer)
	}
	names := []string{"describe-sub-claims"}
	for _, c := range command.Table() {
		names = append(names, c.Names[0])
	}
	if len(names) < 30 {
		t.Fatalf("only the commands %v are there", names)
	}
	for _, name := range names {
		if status, answer := r.as(token, name, nil); status != http.StatusUnauthorized {
			t.Errorf("%s: %d %v", name, status, answer)
		}
	}
	for _, path := range []string{"/v1/auth/token/lookup-self", "/v1/secret/data/x"} {
		request := httptest.NewRequest(http.MethodGet, path, nil)
		request.Header.Set("X-Vault-Token", token)
		recorder := httptest.NewRecorder()
		if r.ServeHTTP(recorder, request); recorder.Code != http.StatusForbidden {
			t.Errorf("%s: %d %s", path, recorder.Code, recorder.Body)
		}
	}
	recorder := httptest.NewRecorder()
	r.ServeHTTP(recorder, httptest.NewRequest(http.MethodPost, "/"+tokenreview.Path, strings.NewReader(r.text(fields{
		"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": fields{"token": token},
	}))))
	if recorder.Code != http.StatusOK || !strings.Contains(recorder.Body.String(), `"authenticated":false`) {
		t.Errorf("token-review: %d %s", recorder.Code, recorder.Body)
	}
}
