// Package session makes and verifies session tokens: compact JWS (RFC 7515)
// that anything which speaks OpenID Connect can verify without calling the
// gateway.
//
// Making a session writes nothing down, and verifying one reads nothing but
// memory.
package session

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json"
)

const (
	// MaxLength bounds a token that is verified. Ours have one kilobyte; the
	// names in them are bounded by Kubernetes.
	MaxLength = 8 << 10

	// issuedAtLeeway is by how much the clocks of two gateways that share keys
	// may differ. Expiry has no leeway: a session never outlives what it says.
	issuedAtLeeway = 10 * time.Second

	// MaxLife bounds what a session says of its life: whoever has stolen a key can't
	// make one that outlives the records of what was revoked.
	MaxLife = 24 * time.Hour

	// idSize is 128 bits: guessing one of 2^40 live ids has odds of 2^-88.
	idSize = 16
)

// Claims are what a session says.
type Claims struct {
	// Issuer is the gateway's public URL.
	Issuer string `json:"iss"`
	// Subject is the service account's Kubernetes user name.
	Subject string `json:"sub"`
	// Audience is the access id: to an OIDC verifier, the auth method is the
	// client that the token was issued to.
	Audience string `json:"aud"`
	// Expiry and IssuedAt are seconds since 1970.
	Expiry   int64 `json:"exp"`
	IssuedAt int64 `json:"iat"`
	// ID is unique; the audit log names sessions by it.
	ID string `json:"jti"`
	// Lease, in seconds since 1970 and before Expiry, is when the session ends
	// unless it was renewed; zero means that there is nothing to renew. Who verifies
	// sessions without asking a gateway goes by Expiry.
	Lease int64 `json:"lease,omitzero"`
	// AccessID is the auth method's.
	AccessID string `json:"access_id"`
	// SubClaims are what role rules look at.
	SubClaims map[string][]string `json:"sub_claims"`
	// Generation says what had been revoked when the session was made; package
	// catalog knows how.
	Generation string `json:"gen,omitzero"`
}

// ExpiresAt is when the session ends.
func (c *Claims) ExpiresAt() time.Time { return time.Unix(c.Expiry, 0).UTC() }

// Life is how long the session lasts from its issue to its end.
func (c *Claims) Life() time.Duration { return time.Duration(c.Expiry-c.IssuedAt) * time.Second }

// Grant is what a new session shall say.
type Grant struct {
	AccessID   string
	Subject    string
	SubClaims  map[string][]string
	Generation string
	// TTL is the session's life, from Now on, in whole seconds.
	TTL time.Duration
	// Lease, if set, is less than TTL: how long the session lasts if it is not
	// renewed.
	Lease time.Duration
	Now   time.Time
}

// Sign makes a session under the key that signs at the time of the grant.
func (r *Keyring) Sign(g Grant) (string, *Claims, error) {
	id := make([]byte, idSize)
	if _, err := rand.Read(id); err != nil {
		return "", nil, fmt.Errorf("make a session id: %w", err)
	}
	claims := &Claims{
		Issuer:    r.issuer,
		Subject:   g.Subject,
		Audience:  g.AccessID,
		Expiry:    g.Now.Add(g.TTL).Unix(),
		IssuedAt:  g.Now.Unix(),
		ID:        base64.RawURLEncoding.EncodeToString(id),
		AccessID:  g.AccessID,
		SubClaims: g.SubClaims, Generation: g.Generation,
	}
	if g.Lease > 0 && g.Lease < g.TTL {
		claims.Lease = g.Now.Add(g.Lease).Unix()
	}
	payload, err := json.Marshal(claims, json.Deterministic(true))
	if err != nil {
		return "", nil, fmt.Errorf("write the session's claims: %w", err)
	}
	token, err := r.current(g.Now).sign(payload)
	if err != nil {
		return "", nil, err
	}
	return token, claims, nil
}

// The reasons why a token is not a valid session.
var (
	ErrMalformed = errors.New("the token is not a session token")
	ErrUnknown   = errors.New("the token was not issued by this gateway")
	// ErrUnknownKey is an ErrUnknown. The token says that it is from here, so another
	// gateway may have signed it with a key, or for an auth method, that this one has
	// yet to hear of.
	ErrUnknownKey = fmt.Errorf("%w", ErrUnknown)
	ErrExpired    = errors.New("the session has expired")
	ErrFuture     = errors.New("the session was issued in the future; compare the clocks")
	// ErrRevoked is not for Verify to find: what was revoked is not in the token.
	ErrRevoked = errors.New("the session was revoked")
	// ErrOtherGeneration is an ErrRevoked. The session was made before the revocation
	// that this gateway knows of, or after one that it has yet to hear of.
	ErrOtherGeneration = fmt.Errorf("%w", ErrRevoked)
)

// Verify returns the claims of a session that is valid at now. The error is
// one of this package's.
//
// The claims' lists and maps are shared with others who verify the same token; they
// must not be changed.
func (r *Keyring) Verify(token string, now time.Time) (*Claims, error) {
	if len(token) > MaxLength {
		return nil, ErrMalformed
	}
	hash := sha256.Sum256([]byte(token))
	signed, ok := r.verified.get(hash)
	if !ok {
		var err error
		if signed, err = r.verify(token); err != nil {
			return nil, err
		}
	}
	if err := r.check(&signed.claims, signed.until, now); err != nil {
		return nil, err
	}
	if !ok {
		r.verified.put(hash, signed)
	}
	claims := signed.claims
	return &claims, nil
}

// verify looks at a token's signature, and at nothing that it says but its key's id.
//
// The algorithm is the key's, never the token's: a header that names another
// one is refused before any signature is looked at.
func (r *Keyring) verify(token string) (*signedClaims, error) {
	parsed, err := jose.ParseSignedCompact(token, signatureAlgorithms())
	if err != nil || len(parsed.Signatures) != 1 {
		return nil, ErrMalformed
	}
	header := parsed.Signatures[0].Header
	key, ok := r.keys[header.KeyID]
	if !ok {
		return nil, r.unknownKey(parsed.UnsafePayloadWithoutVerification())
	}
	if header.Algorithm != string(key.algorithm) {
		return nil, ErrUnknown
	}
	payload, err := parsed.Verify(key.public)
	if err != nil {
		return nil, ErrUnknown
	}
	signed := &signedClaims{until: key.Until, size: len(token)}
	if err := json.Unmarshal(payload, &signed.claims); err != nil {
		return nil, ErrMalformed
	}
	return signed, nil
}

// unknownKey is why a token is no session whose key is not here. Nobody has verified
// what it says of itself, so that decides no more than where else the key may be.
func (r *Keyring) unknownKey(payload []byte) error {
	var says Claims
	if json.Unmarshal(payload, &says) != nil || says.Issuer != r.issuer {
		return ErrUnknown
	}
	return ErrUnknownKey
}

// check holds what a session says against the clock. Until is the end of its key, if
// that has one.
func (r *Keyring) check(c *Claims, until, now time.Time) error {
	switch {
	case c.Issuer != r.issuer, c.Audience != c.AccessID, !bounded(c):
		return ErrUnknown
	case !until.IsZero() && !now.Before(until):
		return ErrUnknown
	case now.Unix() >= c.Expiry:
		return ErrExpired
	case c.IssuedAt > now.Add(issuedAtLeeway).Unix():
		return ErrFuture
	}
	return nil
}

// bounded says whether a session's life is one that a gateway gives. The numbers may
// be anything that fits, so nothing is calculated that may not.
func bounded(c *Claims) bool {
	return c.IssuedAt > 0 && c.Expiry <= math.MaxInt64/2 && c.Expiry-c.IssuedAt <= int64(MaxLife/time.Second)
}
