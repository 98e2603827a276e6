package session

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"io"
	"math"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
)

const issuer = "https://gateway.example:8000"

func ecKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func rsaKey(t testing.TB) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newKey(t testing.TB, private crypto.Signer) *Key {
	t.Helper()
	key, err := NewKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// newRing makes a keyring whose first key signs.
func newRing(t testing.TB, issuer string, keys ...*Key) *Keyring {
	t.Helper()
	var signing []Signing
	for i, key := range keys {
		signing = append(signing, Signing{Key: key, From: now.Add(-time.Duration(i) * time.Hour)})
	}
	ring, err := NewKeyring(issuer, signing...)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func sign(t testing.TB, r *Keyring, g Grant) string {
	t.Helper()
	token, _, err := r.Sign(g)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

var now = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

func grant(accessID string) Grant {
	return Grant{AccessID: accessID, Subject: "system:serviceaccount:ns:sa", TTL: 15 * time.Minute, Now: now,
		SubClaims: map[string][]string{"namespace": {"ns"}}}
}

func TestSignAndVerify(t *testing.T) {
	t.Parallel()
	ring := newRing(t, issuer, newKey(t, ecKey(t)), newKey(t, rsaKey(t)))
	for algorithm, ring := range map[string]*Keyring{"ES256": ring, "RS256": newRing(t, issuer, newKey(t, rsaKey(t)), newKey(t, ecKey(t)))} {
		t.Run("a session of "+algorithm, func(t *testing.T) {
			t.Parallel()
			const id = "p-ec"
			token, signed, err := ring.Sign(grant(id))
			if err != nil {
				t.Fatal(err)
			}
			got, err := ring.Verify(token, now)
			if err != nil {
				t.Fatal(err)
			}
			want := &Claims{Issuer: issuer, Subject: "system:serviceaccount:ns:sa", Audience: id, AccessID: id, ID: signed.ID,
				IssuedAt: now.Unix(), Expiry: now.Add(15 * time.Minute).Unix(), SubClaims: map[string][]string{"namespace": {"ns"}}}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			header, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[0])
			if err != nil || !strings.Contains(string(header), `"alg":"`+algorithm+`"`) || !strings.Contains(string(header), ring.current(now).ID()) {
				t.Errorf("header %s, %v", header, err)
			}
		})
	}
	t.Run("ids are 128 bits and differ", func(t *testing.T) {
		t.Parallel()
		seen := map[string]bool{}
		for range 100 {
			_, claims, err := ring.Sign(grant("p-ec"))
			if err != nil {
				t.Fatal(err)
			}
			if raw, err := base64.RawURLEncoding.DecodeString(claims.ID); err != nil || len(raw) != 16 || seen[claims.ID] {
				t.Fatalf("id %q", claims.ID)
			}
			seen[claims.ID] = true
		}
	})
	t.Run("a lease is in the session only if it is shorter than its life", func(t *testing.T) {
		t.Parallel()
		for lease, want := range map[time.Duration]int64{
			0: 0, time.Minute: now.Add(time.Minute).Unix(), 15 * time.Minute: 0, time.Hour: 0, -time.Minute: 0,
		} {
			g := grant("p-ec")
			g.Lease = lease
			claims, err := ring.Verify(sign(t, ring, g), now)
			if err != nil || claims.Lease != want || claims.Expiry != now.Add(15*time.Minute).Unix() {
				t.Errorf("a lease of %s is %+v, %v", lease, claims, err)
			}
		}
	})
	t.Run("without a key there is no keyring", func(t *testing.T) {
		t.Parallel()
		if _, err := NewKeyring(issuer); err == nil {
			t.Error("it was made")
		}
	})
}

// forge signs any claims with any algorithm, key and key id.
func forge(t testing.TB, algorithm jose.SignatureAlgorithm, key any, id string, claims any) string {
	t.Helper()
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key},
		(&jose.SignerOptions{}).WithHeader("kid", id).WithType("JWT"))
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestVerifyRefuses(t *testing.T) {
	t.Parallel()
	ec, other, rs := ecKey(t), ecKey(t), rsaKey(t)
	ecID, otherID, rsID := newKey(t, ec).ID(), newKey(t, other).ID(), newKey(t, rs).ID()
	ring := newRing(t, issuer, newKey(t, ec), newKey(t, rs))
	claims := func(change func(*Claims)) *Claims {
		c := &Claims{Issuer: issuer, Subject: "s", Audience: "p-ec", AccessID: "p-ec", ID: "i", IssuedAt: now.Unix(), Expiry: now.Unix() + 60}
		change(c)
		return c
	}
	good := claims(func(*Claims) {})
	publicDER, err := x509.MarshalPKIXPublicKey(rs.Public())
	if err != nil {
		t.Fatal(err)
	}
	publicPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: publicDER})
	valid := forge(t, jose.ES256, ec, ecID, good)
	if _, err := ring.Verify(valid, now); err != nil {
		t.Fatalf("the token that the others are made from is refused: %v", err)
	}
	parts := strings.Split(valid, ".")
	b64 := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	rsaClaims := claims(func(c *Claims) { c.Audience, c.AccessID = "p-rsa", "p-rsa" })
	for _, tt := range []struct {
		name, token string
		want        error
	}{
		{"the empty token", "", ErrMalformed},
		{"no JWS", "a.b.c", ErrMalformed},
		{"algorithm none without a signature", b64(`{"alg":"none","kid":"`+ecID+`"}`) + "." + parts[1] + ".", ErrMalformed},
		{"algorithm none with a signature", b64(`{"alg":"none","kid":"`+ecID+`"}`) + "." + parts[1] + "." + parts[2], ErrMalformed},
		{"algorithm nONE", b64(`{"alg":"nONE","kid":"`+ecID+`"}`) + "." + parts[1] + ".", ErrMalformed},
		{"HS256 with the RSA public key as its secret", forge(t, jose.HS256, publicPEM, rsID, rsaClaims), ErrMalformed},
		{"ES256 under an RSA key's id", forge(t, jose.ES256, ec, rsID, rsaClaims), ErrUnknown},
		{"RS256 under an EC key's id", forge(t, jose.RS256, rs, ecID, good), ErrUnknown},
		{"PS256 with the right RSA key", forge(t, jose.PS256, rs, rsID, rsaClaims), ErrMalformed},
		{"a key that is not the gateway's under its own id", forge(t, jose.ES256, other, otherID, good), ErrUnknownKey},
		{"another key under this key's id", forge(t, jose.ES256, other, ecID, good), ErrUnknown},
		{"an unknown key id", forge(t, jose.ES256, ec, "x", good), ErrUnknownKey},
		{"an unknown key id in another issuer's token", forge(t, jose.ES256, ec, "x", claims(func(c *Claims) { c.Issuer = "https://other" })), ErrUnknown},
		{"an unknown key id before what is not JSON", forge(t, jose.ES256, ec, "x", "text"), ErrUnknown},
		{"no key id", forge(t, jose.ES256, ec, "", good), ErrUnknownKey},
		{"another signature", parts[0] + "." + parts[1] + "." + b64(strings.Repeat("x", 64)), ErrUnknown},
		{"no signature", parts[0] + "." + parts[1] + ".", ErrUnknown},
		{"another payload", parts[0] + "." + b64(`{"iss":"`+issuer+`"}`) + "." + parts[2], ErrUnknown},
		{"a payload that is not JSON", forge(t, jose.ES256, ec, ecID, "text"), ErrMalformed},
		{"an expired session", forge(t, jose.ES256, ec, ecID, claims(func(c *Claims) { c.Expiry = now.Unix() })), ErrExpired},
		{"a session without an expiry", forge(t, jose.ES256, ec, ecID, claims(func(c *Claims) { c.Expiry = 0 })), ErrExpired},
		{"a session of the future", forge(t, jose.ES256, ec, ecID, claims(func(c *Claims) { c.IssuedAt = now.Unix() + 11; c.Expiry = now.Unix() + 60 })), ErrFuture},
		{"a session of a stolen key that never ends", forge(t, jose.ES256, ec, ecID, claims(func(c *Claims) { c.Expiry = now.Unix() + 86401 })), ErrUnknown},
		{"a session that ends at the end of time", forge(t, jose.ES256, ec, ecID, claims(func(c *Claims) { c.Expiry = math.MaxInt64 })), ErrUnknown},
		{"a session that was issued at the beginning of time", forge(t, jose.ES256, ec, ecID, claims(func(c *Claims) { c.IssuedAt = math.MinInt64 })), ErrUnknown},
		{"a session that does not say when it was issued", forge(t, jose.ES256, ec, ecID, claims(func(c *Claims) { c.IssuedAt = 0 })), ErrUnknown},
		{"another issuer's session", forge(t, jose.ES256, ec, ecID, claims(func(c *Claims) { c.Issuer = "https://other" })), ErrUnknown},
		{"another audience", forge(t, jose.ES256, ec, ecID, claims(func(c *Claims) { c.Audience = "p-other" })), ErrUnknown},
		{"a token that is too long", valid + strings.Repeat("A", MaxLength), ErrMalformed},
		{"a JWS in JSON", `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`, ErrMalformed},
		{"five parts", valid + ".x.y", ErrMalformed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := ring.Verify(tt.token, now)
			if !errors.Is(err, tt.want) || got != nil || errors.Is(err, ErrUnknownKey) != errors.Is(tt.want, ErrUnknownKey) {
				t.Errorf("claims %+v, error %#v, want %#v", got, err, tt.want)
			}
		})
	}
	t.Run("a clock that is a little ahead is forgiven", func(t *testing.T) {
		t.Parallel()
		if _, err := ring.Verify(forge(t, jose.ES256, ec, ecID, claims(func(c *Claims) { c.IssuedAt = now.Unix() + 10 })), now); err != nil {
			t.Error(err)
		}
	})
}

func TestNewKeyRefuses(t *testing.T) {
	t.Parallel()
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewKey(p384); err == nil || !strings.Contains(err.Error(), "P-256") {
		t.Errorf("P-384: %v", err)
	}
	if _, err := NewKey(opaque{}); err == nil {
		t.Error("a key of another kind is accepted")
	}
	if _, err := NewKey(elsewhere{ecKey(t).Public()}); err == nil {
		t.Error("a key that signs in a way of its own is accepted")
	}
	// Go generates no key this small, and no test needs one that works.
	small := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 1023), E: 65537}}
	if _, err := NewKey(small); err == nil || !strings.Contains(err.Error(), "at least 2048") {
		t.Errorf("RSA 1024: %v", err)
	}
}

type opaque struct{ crypto.Signer }

func (opaque) Public() crypto.PublicKey { return nil }

// elsewhere is a key that lies somewhere else, and of which only the public part
// is known.
type elsewhere struct{ public crypto.PublicKey }

func (e elsewhere) Public() crypto.PublicKey { return e.public }

func (elsewhere) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("unreachable")
}

func TestDocuments(t *testing.T) {
	t.Parallel()
	ring := newRing(t, issuer, newKey(t, rsaKey(t)), newKey(t, ecKey(t)))
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(ring.JWKS(), &set); err != nil {
		t.Fatal(err)
	}
	if len(set.Keys) != 2 {
		t.Fatalf("%d keys, want each once: %s", len(set.Keys), ring.JWKS())
	}
	for _, key := range set.Keys {
		if !key.IsPublic() || key.Use != "sig" {
			t.Errorf("key %+v", key)
		}
		thumbprint, err := key.Thumbprint(crypto.SHA256)
		if err != nil || key.KeyID != base64.RawURLEncoding.EncodeToString(thumbprint) {
			t.Errorf("key id %q is not the thumbprint, %v", key.KeyID, err)
		}
	}
	if strings.Contains(string(ring.JWKS()), `"d"`) {
		t.Error("a private part is published")
	}
	var d map[string]any
	if err := json.Unmarshal(ring.Discovery(), &d); err != nil {
		t.Fatal(err)
	}
	if d["issuer"] != issuer || d["jwks_uri"] != issuer+JWKSPath {
		t.Errorf("%v", d)
	}
	if diff := cmp.Diff([]any{"ES256", "RS256"}, d["id_token_signing_alg_values_supported"]); diff != "" {
		t.Error(diff)
	}
	t.Run("a key that is there twice is a mistake", func(t *testing.T) {
		t.Parallel()
		key := Signing{Key: newKey(t, ecKey(t))}
		if _, err := NewKeyring(issuer, key, key); err == nil {
			t.Error("it was taken")
		}
	})
}

func FuzzVerify(f *testing.F) {
	ring := newRing(f, issuer, newKey(f, ecKey(f)))
	valid := sign(f, ring, grant("p-ec"))
	issued, err := ring.Verify(valid, now)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(valid)
	f.Add("")
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Add("..")
	f.Add(strings.Repeat("A", MaxLength+1))
	f.Fuzz(func(t *testing.T, token string) {
		claims, err := ring.Verify(token, now)
		if (claims == nil) == (err == nil) {
			t.Fatalf("claims %+v and error %v", claims, err)
		}
		// Another text may be the same session: base64 has bits to spare, and a
		// second signature follows from an ECDSA signature. Other claims may not.
		if err == nil && !cmp.Equal(claims, issued) {
			t.Errorf("claims that were never issued: %q", token)
		}
	})
}

func BenchmarkSign(b *testing.B) {
	ring := newRing(b, issuer, newKey(b, ecKey(b)))
	for b.Loop() {
		sign(b, ring, grant("p-ec"))
	}
}

func TestKeysTakeTurns(t *testing.T) {
	t.Parallel()
	before, after := newKey(t, ecKey(t)), newKey(t, ecKey(t))
	turn := now.Add(10 * time.Minute)
	ring, err := NewKeyring(issuer, Signing{Key: after, From: turn}, Signing{Key: before, From: now, Until: turn.Add(MaxLife)})
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []*Key{before, after} {
		if !strings.Contains(string(ring.JWKS()), key.ID()) {
			t.Error("a key is not published")
		}
	}
	at := func(when time.Time) string {
		g := grant("p-a")
		g.Now, g.TTL = when, MaxLife
		return sign(t, ring, g)
	}
	for _, tt := range []struct {
		name   string
		signed time.Time
		by     *Key
	}{
		{"before all of them", now.Add(-time.Hour), before},
		{"while the next one is published", turn.Add(-time.Second), before},
		{"when its time has come", turn, after},
		{"later", turn.Add(time.Hour), after},
	} {
		t.Run("signing "+tt.name, func(t *testing.T) {
			t.Parallel()
			header, err := base64.RawURLEncoding.DecodeString(strings.Split(at(tt.signed), ".")[0])
			if err != nil || !strings.Contains(string(header), tt.by.ID()) {
				t.Errorf("header %s, %v; want the key %s", header, err, tt.by.ID())
			}
		})
	}
	last := at(turn.Add(-time.Second))
	if _, err := ring.Verify(last, turn.Add(MaxLife-2*time.Second)); err != nil {
		t.Errorf("the last session of the key before, at its end: %v", err)
	}
	// Nobody makes one that outlives the key.
	forged := forge(t, jose.ES256, before.private, before.ID(), &Claims{
		Issuer: issuer, Subject: "s", Audience: "p-a", AccessID: "p-a", ID: "i",
		IssuedAt: turn.Add(MaxLife).Unix(), Expiry: turn.Add(MaxLife + time.Hour).Unix(),
	})
	if _, err := ring.Verify(forged, turn.Add(MaxLife)); !errors.Is(err, ErrUnknown) {
		t.Errorf("a session of a key whose time is over: %v", err)
	}
}
