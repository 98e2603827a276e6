package session

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json"
)

// JWKSPath is where the gateway serves its keys.
const JWKSPath = "/.well-known/jwks.json"

// KeysMaxAge is for how long others may keep the published keys before they ask
// again (Cache-Control). A key must be published for longer before it signs.
const KeysMaxAge = 5 * time.Minute

// DiscoveryPath is fixed by OpenID Connect Discovery 1.0, section 4.
const DiscoveryPath = "/.well-known/openid-configuration"

// signatureAlgorithms are all that a session can be signed with.
func signatureAlgorithms() []jose.SignatureAlgorithm {
	return []jose.SignatureAlgorithm{jose.ES256, jose.RS256}
}

// minRSABits is the least that RFC 7518, section 3.3, allows.
const minRSABits = 2048

// Key signs sessions. It is safe for concurrent use.
type Key struct {
	id        string
	algorithm jose.SignatureAlgorithm
	public    crypto.PublicKey
	private   crypto.Signer
	// header is that of all tokens, in base64 and with its dot.
	header        string
	signatureSize int
}

// p256SignatureSize is that of two numbers below the order of P-256, in bytes.
const p256SignatureSize = 64

// NewKey takes an ECDSA key on P-256, for ES256, or an RSA key of at least 2048
// bits, for RS256.
func NewKey(private crypto.Signer) (*Key, error) {
	k := &Key{public: private.Public(), private: private}
	if err := CheckPublicKey(k.public); err != nil {
		return nil, err
	}
	switch known := private.(type) {
	case *ecdsa.PrivateKey:
		k.algorithm, k.signatureSize = jose.ES256, p256SignatureSize
	case *rsa.PrivateKey:
		k.algorithm, k.signatureSize = jose.RS256, known.Size()
	default:
		return nil, fmt.Errorf("a signing key can't be a %T", private)
	}
	thumbprint, err := (&jose.JSONWebKey{Key: k.public}).Thumbprint(crypto.SHA256) // RFC 7638
	if err != nil {
		return nil, fmt.Errorf("thumbprint of the signing key: %w", err)
	}
	k.id = base64.RawURLEncoding.EncodeToString(thumbprint)
	written, err := json.Marshal(header{string(k.algorithm), k.id, "JWT"})
	if err != nil {
		return nil, fmt.Errorf("write the header of sessions: %w", err)
	}
	k.header = base64.RawURLEncoding.EncodeToString(written) + "."
	return k, nil
}

// header is what RFC 7515, section 4.1, has of a token.
type header struct {
	Algorithm string `json:"alg"`
	KeyID     string `json:"kid"`
	Type      string `json:"typ"`
}

// CheckPublicKey says why sessions can't be signed with the private key of a pair.
func CheckPublicKey(public crypto.PublicKey) error {
	switch p := public.(type) {
	case *ecdsa.PublicKey:
		if p.Curve != elliptic.P256() {
			return fmt.Errorf("the signing key is on curve %s; use P-256", p.Curve.Params().Name)
		}
	case *rsa.PublicKey:
		if p.N.BitLen() < minRSABits {
			return fmt.Errorf("the RSA signing key has %d bits; use at least %d", p.N.BitLen(), minRSABits)
		}
	default:
		return fmt.Errorf("a signing key can't be a %T; use ECDSA on P-256, or RSA", public)
	}
	return nil
}

// ID is the key's RFC 7638 thumbprint.
func (k *Key) ID() string { return k.id }

// sign makes a compact JWS (RFC 7515, section 5.1). A general library writes and
// encodes the header for every token, which takes half as long as signing does.
func (k *Key) sign(payload []byte) (string, error) {
	encoding := base64.RawURLEncoding
	token := make([]byte, 0, len(k.header)+encoding.EncodedLen(len(payload))+1+encoding.EncodedLen(k.signatureSize))
	token = append(token, k.header...)
	token = encoding.AppendEncode(token, payload)
	signature, err := k.signature(sha256.Sum256(token))
	if err != nil {
		return "", fmt.Errorf("sign the session: %w", err)
	}
	token = append(token, '.')
	return string(encoding.AppendEncode(token, signature)), nil
}

// signature is that of RFC 7518, section 3.4 for ECDSA and 3.3 for RSA.
func (k *Key) signature(of [sha256.Size]byte) ([]byte, error) {
	private, ok := k.private.(*ecdsa.PrivateKey)
	if !ok { // then NewKey has seen that it is RSA
		return k.private.Sign(rand.Reader, of[:], crypto.SHA256)
	}
	// Without a source of randomness this is RFC 6979, which takes two thirds of the
	// time. No two sessions are the same, so nothing is told by equal signatures.
	text, err := private.Sign(nil, of[:], crypto.SHA256)
	if err != nil {
		return nil, err
	}
	var numbers struct{ R, S *big.Int } // RFC 3279, section 2.2.3
	if _, err := asn1.Unmarshal(text, &numbers); err != nil {
		return nil, err
	}
	signature := make([]byte, p256SignatureSize)
	numbers.R.FillBytes(signature[:p256SignatureSize/2])
	numbers.S.FillBytes(signature[p256SignatureSize/2:])
	return signature, nil
}

// Signing is a key of the gateway's, and when it is in use.
type Signing struct {
	*Key

	// From is when the key begins to sign. It verifies before that too: another
	// gateway's clock may be ahead.
	From time.Time
	// Until is when no session of it is left, and it verifies nothing any more; zero
	// means that it has no end yet.
	Until time.Time
}

// Keyring holds the gateway's keys, which never change, and remembers what it has
// verified. It is safe for concurrent use.
type Keyring struct {
	issuer    string
	signing   []Signing          // by From, the earliest first
	keys      map[string]Signing // by key id
	jwks      []byte
	discovery []byte
	verified  *verified
}

// NewKeyring takes the gateway's public URL and its keys, of which there must be one
// at least. All of them are published.
func NewKeyring(issuer string, signing ...Signing) (*Keyring, error) {
	if len(signing) == 0 {
		return nil, errors.New("there is no key to sign sessions with")
	}
	r := &Keyring{issuer: issuer, signing: slices.Clone(signing), keys: map[string]Signing{}, verified: newVerified()}
	slices.SortStableFunc(r.signing, func(a, b Signing) int { return a.From.Compare(b.From) })
	for _, key := range r.signing {
		if _, ok := r.keys[key.id]; ok {
			return nil, fmt.Errorf("the signing key %s is there twice", key.id)
		}
		r.keys[key.id] = key
	}
	set := jose.JSONWebKeySet{}
	algorithms := map[string]bool{}
	for _, id := range slices.Sorted(maps.Keys(r.keys)) {
		key := r.keys[id]
		algorithms[string(key.algorithm)] = true
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: key.public, KeyID: id, Algorithm: string(key.algorithm), Use: "sig"})
	}
	var err error
	if r.jwks, err = json.Marshal(set); err != nil {
		return nil, fmt.Errorf("write the key set: %w", err)
	}
	r.discovery, err = json.Marshal(discovery{
		Issuer:        issuer,
		JWKSURI:       issuer + JWKSPath,
		ResponseTypes: []string{"id_token"},
		SubjectTypes:  []string{"public"},
		Algorithms:    slices.Sorted(maps.Keys(algorithms)),
		Claims:        []string{"iss", "sub", "aud", "exp", "iat", "jti", "lease", "access_id", "sub_claims", "gen"},
	})
	if err != nil {
		return nil, fmt.Errorf("write the discovery document: %w", err)
	}
	return r, nil
}

// current returns the key that signs: of those whose time has come the latest, or, if
// the clock is behind all of them, the earliest.
func (r *Keyring) current(now time.Time) *Key {
	for _, key := range slices.Backward(r.signing) {
		if !key.From.After(now) {
			return key.Key
		}
	}
	return r.signing[0].Key
}

// discovery has what OpenID Connect Discovery 1.0, section 3, requires of an
// issuer that people don't log in at.
type discovery struct {
	Issuer        string   `json:"issuer"`
	JWKSURI       string   `json:"jwks_uri"`
	ResponseTypes []string `json:"response_types_supported"`
	SubjectTypes  []string `json:"subject_types_supported"`
	Algorithms    []string `json:"id_token_signing_alg_values_supported"`
	Claims        []string `json:"claims_supported"`
}

// JWKS is the JSON Web Key Set (RFC 7517) of all public keys.
func (r *Keyring) JWKS() []byte { return r.jwks }

// Discovery is the OpenID Connect discovery document.
func (r *Keyring) Discovery() []byte { return r.discovery }
