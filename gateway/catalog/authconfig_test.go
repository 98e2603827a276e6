package catalog

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"testing"
	"time"

	"github.com/gatepass/gatepass/gateway/keys"
)

// pair makes a certificate and its key.
func pair(t *testing.T) (cert string, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "x"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	key, err = keys.Encode(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), key
}

// login returns what logging in by an auth config takes.
func (r *rig) login(name string) AuthConfig {
	r.t.Helper()
	logins, err := r.Logins(r.t.Context())
	r.must(err)
	for _, c := range logins.AuthConfigs {
		if c.Name == name {
			return c
		}
	}
	r.t.Fatalf("no auth config %s", name)
	return AuthConfig{}
}

func TestAuthConfigs(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	method, err := r.admin.CreateMethod(ctx, Method{Name: "m", Type: TypeK8s, GeneratedKey: true})
	r.must(err)
	cert, key := pair(t)
	made, err := r.admin.CreateAuthConfig(ctx, AuthConfig{
		Name: "c", AccessID: method.AccessID, SigningKey: method.PrivateKey, Host: "https://k8s.example:6443", CACert: cert,
		Reviewer: ReviewerToken, ReviewerJWT: []byte("a.b.c"), Issuer: "https://issuer", TokenExpiration: 5 * time.Minute,
	})
	if err != nil || made.ID == "" || made.SigningKey != nil || made.ReviewerJWT != nil {
		t.Fatalf("%+v, %v", made, err)
	}
	got, err := r.admin.AuthConfig(ctx, "c")
	if err != nil || got.ReviewerJWT != nil || got.SigningKey != nil || got.Host != made.Host || got.TokenExpiration != 5*time.Minute || got.Issuer != "https://issuer" {
		t.Errorf("%+v, %v", got, err)
	}
	if c := r.login("c"); string(c.ReviewerJWT) != "a.b.c" || c.SigningKey != nil {
		t.Error("the secrets of an auth config are lost, or the key that its maker showed is kept")
	}
	got.Issuer = ""
	r.must(updateConfig(ctx, r.admin, "c", got))
	if c := r.login("c"); string(c.ReviewerJWT) != "a.b.c" || c.Issuer != "" {
		t.Error("secrets that an update leaves out are lost")
	}
	moved := got
	moved.Host = "https://evil.example"
	if err := updateConfig(ctx, r.admin, "c", moved); !errors.Is(err, ErrInvalid) {
		t.Errorf("another host gets the reviewer's token: %v", err)
	}
	moved.ReviewerJWT = []byte("d.e.f")
	r.must(updateConfig(ctx, r.admin, "c", moved))
	moved.Reviewer, moved.ClientCert, moved.ClientKey, moved.Name = ReviewerCertificate, cert, key, "renamed"
	r.must(updateConfig(ctx, r.admin, "c", moved))
	if c := r.login("renamed"); c.ReviewerJWT != nil || !bytes.Equal(c.ClientKey, key) {
		t.Error("a reviewer's credentials outlive it, or are lost")
	}
	if err := r.admin.DeleteMethod(ctx, "m"); !errors.Is(err, ErrInUse) {
		t.Errorf("deleting a method with an auth config: %v", err)
	}
	r.must(r.admin.DeleteAuthConfig(ctx, "renamed"))
	r.must(r.admin.DeleteMethod(ctx, "m"))
}

// The reviewer's token and the client's key go to the server that they were given for, and
// to no other that whoever may change an auth config chooses.
func TestCredentialsOfAReviewerStayWithTheirServer(t *testing.T) {
	t.Parallel()
	ca, _ := pair(t)
	otherCA, _ := pair(t)
	cert, key := pair(t)
	byToken := AuthConfig{Host: "https://k8s.example", CACert: ca, Reviewer: ReviewerToken, ReviewerJWT: []byte("a.b.c")}
	byCertificate := AuthConfig{Host: "https://k8s.example", CACert: ca, Reviewer: ReviewerCertificate, ClientCert: cert, ClientKey: key}
	ownCluster := AuthConfig{Reviewer: ReviewerToken, ReviewerJWT: []byte("a.b.c")}
	again := func(c *AuthConfig) {
		if c.Reviewer == ReviewerToken {
			c.ReviewerJWT = []byte("d.e.f")
		} else {
			c.ClientKey = key
		}
	}
	for _, tt := range []struct {
		name   string
		change func(*AuthConfig)
	}{
		{"another host", func(c *AuthConfig) { c.Host = "https://evil.example" }},
		{"another port", func(c *AuthConfig) { c.Host = "https://k8s.example:8443" }},
		{"another path", func(c *AuthConfig) { c.Host = "https://k8s.example/proxy" }},
		{"another CA", func(c *AuthConfig) { c.CACert = otherCA }},
		{"one more CA", func(c *AuthConfig) { c.CACert += otherCA }},
		{"another host and CA", func(c *AuthConfig) { c.Host, c.CACert = "https://evil.example", otherCA }},
	} {
		for of, from := range map[string]AuthConfig{"a token": byToken, "a certificate": byCertificate, "a token, in the gateway's cluster": ownCluster} {
			t.Run(tt.name+" for "+of, func(t *testing.T) {
				t.Parallel()
				r := newRig(t)
				from.Name, from.AccessID = "c", r.k8s("m")
				_, err := r.admin.CreateAuthConfig(t.Context(), from)
				r.must(err)
				before := r.login("c")
				if _, err := r.admin.UpdateAuthConfig(t.Context(), "c", func(c *AuthConfig) error { tt.change(c); return nil }); !errors.Is(err, ErrInvalid) {
					t.Errorf("it goes along: %v", err)
				}
				if now := r.login("c"); now.Host != before.Host || now.CACert != before.CACert {
					t.Errorf("a change that was refused was made: %s", now.Host)
				}
				_, err = r.admin.UpdateAuthConfig(t.Context(), "c", func(c *AuthConfig) error { tt.change(c); again(c); return nil })
				r.must(err)
				_, err = r.admin.UpdateAuthConfig(t.Context(), "c", func(c *AuthConfig) error { c.Issuer = "https://issuer"; return nil })
				r.must(err)
				now := r.login("c")
				if now.Reviewer == ReviewerToken && string(now.ReviewerJWT) != "d.e.f" || now.Reviewer == ReviewerCertificate && !bytes.Equal(now.ClientKey, key) {
					t.Error("the credentials for the new server are lost")
				}
			})
		}
	}
}

func TestAuthConfigsThatAreRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	with, err := r.admin.CreateMethod(ctx, Method{Name: "m", Type: TypeK8s, GeneratedKey: true})
	r.must(err)
	id, without := with.AccessID, r.k8s("without")
	cert, key := pair(t)
	otherCert, _ := pair(t)
	for name, tt := range map[string]struct {
		c    AuthConfig
		want error
	}{
		"no reviewer":                              {AuthConfig{}, ErrInvalid},
		"a host without TLS":                       {AuthConfig{Host: "http://k8s", Reviewer: ReviewerSelf}, ErrInvalid},
		"a CA that is none":                        {AuthConfig{CACert: "x", Reviewer: ReviewerSelf}, ErrInvalid},
		"the gateway's own account elsewhere":      {AuthConfig{Host: "https://k8s", Reviewer: ReviewerGateway}, ErrInvalid},
		"the gateway's own account by another CA":  {AuthConfig{CACert: cert, Reviewer: ReviewerGateway}, ErrInvalid},
		"a reviewer's token that is missing":       {AuthConfig{Reviewer: ReviewerToken}, ErrInvalid},
		"a reviewer's token of two lines":          {AuthConfig{Reviewer: ReviewerToken, ReviewerJWT: []byte("a\nb")}, ErrInvalid},
		"a client certificate without key":         {AuthConfig{Reviewer: ReviewerCertificate, ClientCert: cert}, ErrInvalid},
		"a client certificate and another's key":   {AuthConfig{Reviewer: ReviewerCertificate, ClientCert: otherCert, ClientKey: key}, ErrInvalid},
		"a signing key that is none":               {AuthConfig{AccessID: id, Reviewer: ReviewerSelf, SigningKey: []byte("x")}, ErrInvalid},
		"another method's signing key":             {AuthConfig{AccessID: id, Reviewer: ReviewerSelf, SigningKey: key}, ErrInvalid},
		"a signing key for a method without one":   {AuthConfig{AccessID: without, Reviewer: ReviewerSelf, SigningKey: with.PrivateKey}, ErrInvalid},
		"a signing key for nobody":                 {AuthConfig{Reviewer: ReviewerSelf, SigningKey: key}, ErrInvalid},
		"an auth method that logs in by a key":     {AuthConfig{AccessID: r.root.AccessID, Reviewer: ReviewerSelf}, ErrInvalid},
		"an access id that is not there":           {AuthConfig{AccessID: "p-nnnnnnnnnnnnkn", Reviewer: ReviewerSelf}, ErrNotFound},
		"a token's life that is negative":          {AuthConfig{Reviewer: ReviewerSelf, TokenExpiration: -1}, ErrInvalid},
		"the name of an auth config that is there": {AuthConfig{Name: "there", Reviewer: ReviewerSelf}, ErrExists},
	} {
		if tt.c.Name == "" {
			tt.c.Name = "c"
		} else if _, err := r.admin.CreateAuthConfig(ctx, tt.c); err != nil {
			t.Fatal(err)
		}
		if _, err := r.admin.CreateAuthConfig(ctx, tt.c); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSigningKeyOfTheCallersOwn(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	private, public, err := generateKey()
	r.must(err)
	made, err := r.admin.CreateMethod(ctx, Method{Name: "m", Type: TypeK8s, PublicKey: public})
	if err != nil || made.PrivateKey != nil {
		t.Fatalf("%+v, %v", made, err)
	}
	c := AuthConfig{Name: "c", AccessID: made.AccessID, Reviewer: ReviewerGateway}
	if _, err := r.admin.CreateAuthConfig(ctx, c); !errors.Is(err, ErrInvalid) {
		t.Errorf("without the signing key: %v", err)
	}
	c.SigningKey = private
	_, err = r.admin.CreateAuthConfig(ctx, c)
	r.must(err)
	// It was shown once, and needs not be shown again.
	c.SigningKey, c.Issuer = nil, "https://issuer"
	r.must(updateConfig(ctx, r.admin, "c", c))
	_, other, err := generateKey()
	r.must(err)
	if err := r.admin.UpdateMethod(ctx, "m", anewMethod(Method{PublicKey: other})); !errors.Is(err, ErrInUse) {
		t.Errorf("another public key while an auth config is bound by the old one: %v", err)
	}
	r.must(r.admin.DeleteAuthConfig(ctx, "c"))
	r.must(r.admin.UpdateMethod(ctx, "m", anewMethod(Method{PublicKey: other})))
}

func TestSharedAuthConfig(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	_, err := r.admin.CreateAuthConfig(ctx, AuthConfig{Name: "mount", Reviewer: ReviewerGateway})
	r.must(err)
	_, err = r.admin.CreateMethod(ctx, Method{Name: "role", Type: TypeK8s, AuthConfigs: []string{"mount"}})
	r.must(err)
	if err := r.admin.DeleteAuthConfig(ctx, "mount"); !errors.Is(err, ErrInUse) {
		t.Errorf("deleting an auth config that a method names: %v", err)
	}
	if err := updateConfig(ctx, r.admin, "mount", AuthConfig{Name: "other", Reviewer: ReviewerGateway}); !errors.Is(err, ErrInUse) {
		t.Errorf("renaming it: %v", err)
	}
	r.must(r.admin.DeleteMethod(ctx, "role"))
	r.must(r.admin.DeleteAuthConfig(ctx, "mount"))
}
