package gateway_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/gatepass/gatepass/test/product"
)

// Why a session is refused, as callers and the audit log are told.
const (
	noSession      = "the token is not a session token"
	notOurs        = "the token was not issued by this gateway"
	sessionExpired = "the session has expired"
	sessionFuture  = "the session was issued in the future; compare the clocks"
	sessionRevoked = "the session was revoked"
)

// signingKey makes a key pair for sessions, and the file that the gateway reads it from.
func signingKey(t *testing.T) (key *ecdsa.PrivateKey, keyFile string) {
	t.Helper()
	key = must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	der := must(x509.MarshalPKCS8PrivateKey(key))(t)
	return key, file(t, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
}

// Texts that look like a session and are none, at every place that takes sessions.
func TestHostileSessionsAreRefused(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	pod(t, ns, "mypod1", "web")
	ours, keyFile := signingKey(t)
	var c configFile
	id, config := c.add(kubernetes(""), gatewayReviewer)
	otherID, _ := c.add(kubernetes(""), gatewayReviewer)
	access := kubeconfig(t, delegator(t, ns, "gateway"))
	g := startGateway(t, c.String(), product.GatewayOptions{Kubeconfig: access, ExtraArgs: []string{"--signing-keys-file=" + keyFile}})

	session := func(g *gatewayProcess, id, config string) string {
		got := g.login(t, id, config, podToken(t, ns, "mypod1", "web"))
		check(t, g, got, "", "")
		return got.Token
	}
	valid := session(g, id, config)
	genuine, kid := opened(t, valid), keyID(t, opened(t, valid))
	dots := strings.Split(valid, ".")
	// A gateway of the same name and the same access ids, with keys of its own.
	var alike configFile
	alike.add(kubernetes(""), gatewayReviewer)
	elsewhere := session(startGateway(t, alike.String(), product.GatewayOptions{Kubeconfig: access}), id, config)
	revoked := session(g, id, config)
	if got := g.post(t, "/revoke-creds", map[string]string{"token": revoked}); got.status != http.StatusOK {
		t.Fatalf("%+v", got)
	}
	public := published(t, g, kid)
	at := func(claim string, from time.Duration) jws {
		return genuine.replaced(t, `"`+claim+`":`, fmt.Sprintf(`%q:%d,"was":`, claim, time.Now().Add(from).Unix()))
	}
	theirs := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	jwk := string(must(json.Marshal(jose.JSONWebKey{Key: theirs.Public(), KeyID: kid}))(t))

	tokens := []string{valid}
	for _, tt := range []struct{ name, token, why string }{
		{"the session that all others are made of is valid", valid, ""},
		{"claims that are signed again are valid, so that the next rows mean something", genuine.signed(t, ours), ""},

		{"algorithm none without a signature", genuine.replaced(t, `"ES256"`, `"none"`).input() + ".", noSession},
		{"algorithm none with the signature", genuine.replaced(t, `"ES256"`, `"none"`).input() + "." + dots[2], noSession},
		{"HS256 with the published key in PEM as its secret", genuine.replaced(t, `"ES256"`, `"HS256"`).hashed(public.pem), noSession},
		{"HS256 with the published key as it is published", genuine.replaced(t, `"ES256"`, `"HS256"`).hashed(public.jwk), noSession},
		{"ES256 in the header and an HMAC with the published key", genuine.hashed(public.pem), notOurs},
		{"RS256 in the header and an ES256 signature", genuine.replaced(t, `"ES256"`, `"RS256"`).signed(t, ours), notOurs},
		{"another key under this key id", genuine.signed(t, theirs), notOurs},
		{"an auth method that is not there", genuine.replaced(t, id, "p-nnnnnnnnnn12km").signed(t, ours), notOurs},
		{"an unknown key id", genuine.replaced(t, kid, "evil").signed(t, theirs), notOurs},
		{"no key id", genuine.replaced(t, `"kid"`, `"id"`).signed(t, ours), notOurs},
		{"its key in the header", genuine.with(`"jwk":`+jwk+`,`, "").signed(t, theirs), notOurs},
		{"where its key is, in the header", genuine.with(`"jku":"https://evil.example/keys","x5u":"https://evil.example/cert",`, "").signed(t, theirs), notOurs},
		{"a critical header that nobody knows", genuine.with(`"crit":["evil"],"evil":true,`, "").signed(t, ours), notOurs},

		{"a session that has expired", at("exp", -time.Second).signed(t, ours), sessionExpired},
		{"a session without an end", genuine.replaced(t, `"exp"`, `"was"`).signed(t, ours), sessionExpired},
		{"a session of the future", at("iat", time.Hour).signed(t, ours), sessionFuture},
		{"another issuer", genuine.replaced(t, issuer, issuer+".evil").signed(t, ours), notOurs},
		{"another audience", genuine.replaced(t, `"aud":"`+id, `"aud":"`+otherID).signed(t, ours), notOurs},
		{"another access id", genuine.replaced(t, `"access_id":"`+id, `"access_id":"`+otherID).signed(t, ours), notOurs},
		{"a subject twice", genuine.with("", `"sub":"access-key:x",`).signed(t, ours), noSession},
		{"an end twice", genuine.with("", `"exp":99999999999,`).signed(t, ours), noSession},
		{"a header member twice", genuine.with(`"alg":"none",`, "").signed(t, ours), noSession},

		{"other claims under the old signature", genuine.replaced(t, ns, "kube-system").input() + "." + dots[2], notOurs},
		{"another gateway's session", elsewhere, notOurs},
		{"a session that was revoked", revoked, sessionRevoked},
		{"claims of a session that was revoked, signed again", opened(t, revoked).signed(t, ours), sessionRevoked},
		{"a pod's token", podToken(t, ns, "mypod1", "web"), notOurs},
		{"a fourth part", valid + ".e30", noSession},
		{"a JWS in JSON", `{"payload":"` + dots[1] + `","protected":"` + dots[0] + `","signature":"` + dots[2] + `"}`, noSession},
		{"padding", valid + "=", noSession},
		{"more bytes than any session has", genuine.with("", `"padding":"`+strings.Repeat("x", 9<<10)+`",`).signed(t, ours), noSession},
	} {
		if tt.why != "" {
			tokens = append(tokens, tt.token)
		}
		t.Run(tt.name, func(t *testing.T) { checkSession(t, g, tt.token, tt.why) })
	}
	t.Run("none of them is in a log", func(t *testing.T) { checkUntold(t, g, tokens) })
}

func keyID(t *testing.T, token jws) string {
	t.Helper()
	var header struct{ Kid string }
	if err := json.Unmarshal([]byte(token.header), &header); err != nil || header.Kid == "" {
		t.Fatalf("%v in %s", err, token.header)
	}
	return header.Kid
}

// publicKey is a key that anybody can get, in the ways in which one may write it down.
type publicKey struct{ pem, jwk []byte }

func published(t *testing.T, g *gatewayProcess, kid string) publicKey {
	t.Helper()
	var set jose.JSONWebKeySet
	if err := json.Unmarshal([]byte(get(t, g, "/.well-known/jwks.json")), &set); err != nil {
		t.Fatal(err)
	}
	found := set.Key(kid)
	if len(found) != 1 {
		t.Fatalf("%d keys are published under the id", len(found))
	}
	der := must(x509.MarshalPKIXPublicKey(found[0].Key))(t)
	return publicKey{pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), must(json.Marshal(found[0]))(t)}
}

// checkSession asks all that takes sessions about one. Without a reason it is valid.
func checkSession(t *testing.T, g *gatewayProcess, token, why string) {
	t.Helper()
	got := g.post(t, "/validate-token", map[string]string{"token": token})
	if got.status != http.StatusOK || got.IsValid != (why == "") || got.Reason != why {
		t.Errorf("/validate-token: %+v", got)
	}
	// What the session may not read is answered in other words.
	got = g.post(t, "/get-secret-value", map[string]string{"token": token, "names": "/a"})
	recorded := g.lastRecord(t)
	if why != "" && (got.status != http.StatusUnauthorized || got.Error != "unauthorized: "+why) {
		t.Errorf("/get-secret-value: %d %q", got.status, got.Error)
	}
	checkStranger(t, recorded, why)
	status, text := g.ask(t, http.MethodGet, "/v1/auth/token/lookup-self", "", "X-Vault-Token", token)
	if why == "" && status != http.StatusOK || why != "" && (status != http.StatusForbidden || text != `{"errors":["permission denied","invalid token"]}`) {
		t.Errorf("lookup-self: %d %s", status, text)
	}
	if why != "" {
		checkStranger(t, g.lastRecord(t), why)
	}
	question := must(json.Marshal(map[string]any{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": map[string]string{"token": token}}))(t)
	status, text = g.ask(t, http.MethodPost, "/k8s/token-review", string(question))
	told := string(must(json.Marshal(map[string]any{"authenticated": false, "error": why}))(t))
	if status != http.StatusOK || strings.Contains(text, `"authenticated":true`) != (why == "") || why != "" && !strings.Contains(text, told) {
		t.Errorf("token-review: %d %s", status, text)
	}
}

// checkStranger holds that a request was recorded as one without a session, or as one
// with a session that may not do this.
func checkStranger(t *testing.T, recorded record, why string) {
	t.Helper()
	if why == "" {
		if recorded.Reason == "session-invalid" || recorded.Session == "" {
			t.Errorf("audit log: %+v", recorded)
		}
		return
	}
	if recorded.Result != "denied" || recorded.Reason != "session-invalid" || recorded.Detail != why || recorded.Session != "" {
		t.Errorf("audit log: %+v, want %q", recorded, why)
	}
}

// ask sends any request, and returns what is answered as it is.
func (g *gatewayProcess) ask(t *testing.T, method, path, body string, headers ...string) (status int, text string) {
	t.Helper()
	req := must(http.NewRequestWithContext(t.Context(), method, issuer+path, strings.NewReader(body)))(t)
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res := must(g.client.Do(req))(t)
	defer func() { _ = res.Body.Close() }()
	return res.StatusCode, strings.TrimSpace(string(must(io.ReadAll(res.Body))(t)))
}
