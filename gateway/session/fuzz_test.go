package session

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// FuzzClaims signs any header and any payload with a key of the keyring, as only
// the gateway can: what is taken for a session then has the header and the claims
// of one, as another decoder reads them.
func FuzzClaims(f *testing.F) {
	private := ecKey(f)
	key := newKey(f, private)
	ring := newRing(f, issuer, key, newKey(f, ecKey(f)))
	parts := strings.Split(sign(f, ring, grant("p-ec")), ".")
	decode := func(part string) []byte {
		text, err := base64.RawURLEncoding.DecodeString(part)
		if err != nil {
			f.Fatal(err)
		}
		return text
	}
	// In place of the key's id, which differs from run to run.
	const id = "KEY-ID"
	header, payload := strings.ReplaceAll(string(decode(parts[0])), key.ID(), id), string(decode(parts[1]))
	f.Add([]byte(header), []byte(payload))
	for _, more := range []string{`"crit":["exp"],`, `"b64":false,"crit":["b64"],`, `"alg":"none",`, `"kid":"x",`, `"jku":"https://x",`, `"zip":"DEF",`} {
		f.Add([]byte(strings.Replace(header, "{", "{"+more, 1)), []byte(payload))
	}
	for _, more := range []string{`"exp":1,`, `"Exp":1,`, `"access_id":"p-other",`, `"sub_claims":{"a":["b"],"a":["c"]},`, `"lease":-1,`, `"nbf":99999999999,`} {
		f.Add([]byte(header), []byte(strings.Replace(payload, "{", "{"+more, 1)))
	}
	f.Fuzz(func(t *testing.T, header, payload []byte) {
		header = []byte(strings.ReplaceAll(string(header), id, key.ID()))
		token := signed(t, private, header, payload)
		claims, err := ring.Verify(token, now)
		if (claims == nil) == (err == nil) {
			t.Fatalf("claims %+v and error %v", claims, err)
		}
		if err != nil {
			return
		}
		var head, body map[string]any
		if err := json.Unmarshal(header, &head); err != nil || head["alg"] != "ES256" || head["kid"] != key.ID() {
			t.Errorf("a session with the header %q (%v)", header, err)
		}
		// An empty list asks for nothing, although RFC 7515, section 4.1.11, allows none.
		// b64 is the one extension that the library knows (RFC 7797).
		if critical, _ := head["crit"].([]any); slices.ContainsFunc(critical, func(name any) bool { return name != "b64" }) {
			t.Errorf("a session with the header %q", header)
		}
		if err := json.Unmarshal(payload, &body); err != nil {
			t.Fatalf("a session with the claims %q: %v", payload, err)
		}
		expiry, _ := body["exp"].(float64)
		if body["iss"] != issuer || body["aud"] != body["access_id"] || expiry <= float64(now.Unix()) {
			t.Errorf("a session with the claims %q", payload)
		}
	})
}

// signed makes a compact JWS (RFC 7515, section 7.1) by ES256.
func signed(t *testing.T, private *ecdsa.PrivateKey, header, payload []byte) string {
	t.Helper()
	text := base64.RawURLEncoding.EncodeToString(header) + "." + base64.RawURLEncoding.EncodeToString(payload)
	sum := sha256.Sum256([]byte(text))
	r, s, err := ecdsa.Sign(rand.Reader, private, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	const size = 32
	return text + "." + base64.RawURLEncoding.EncodeToString(append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...))
}
