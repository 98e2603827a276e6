package catalog

import (
	"context"
	"errors"
	"fmt"

	"github.com/gatepass/gatepass/gateway/store"
)

// keptSecrets are those that the caller gives, and for each that the caller leaves
// out the one that there is.
func (a *accessor) keptSecrets(ctx context.Context, old *authConfig, c *AuthConfig) (configSecrets, error) {
	secrets, err := a.configSecrets(ctx, old)
	if errors.Is(err, store.ErrNotFound) {
		return secrets, store.ErrConflict // somebody has changed it since the view was made
	}
	if err != nil {
		return secrets, err
	}
	if err := c.checkTarget(old); err != nil {
		return secrets, err
	}
	for _, s := range []struct {
		kept  *[]byte
		given []byte
		of    Reviewer
	}{{&secrets.ReviewerJWT, c.ReviewerJWT, ReviewerToken}, {&secrets.ClientKey, c.ClientKey, ReviewerCertificate}} {
		if c.Reviewer != s.of {
			*s.kept = nil
		} else if len(s.given) > 0 {
			*s.kept = s.given
		}
	}
	return secrets, nil
}

// checkTarget refuses to keep the reviewer's credentials if they would go to another
// server than the one that they were given for. Which server that is, the CA decides as
// well as the host: whoever is between the two answers with a certificate of that CA.
func (c *AuthConfig) checkTarget(old *authConfig) error {
	var changed string
	switch {
	case c.Host != old.Host:
		changed = "host"
	case c.CACert != old.CACert:
		changed = "CA"
	default:
		return nil
	}
	switch {
	case c.Reviewer == ReviewerToken && len(c.ReviewerJWT) == 0:
		return invalid("the Kubernetes %s changes; give the reviewer's token for the new one", changed)
	case c.Reviewer == ReviewerCertificate && len(c.ClientKey) == 0:
		return invalid("the Kubernetes %s changes; give the key of the client certificate for the new one", changed)
	}
	return nil
}

// configSecrets opens the secrets of an auth config.
func (c *Catalog) configSecrets(ctx context.Context, of *authConfig) (configSecrets, error) {
	if of.Secret == 0 {
		return configSecrets{}, nil
	}
	plain, err := c.open(ctx, configSecretKey(of.ID, of.Secret))
	if err != nil {
		return configSecrets{}, err
	}
	defer clear(plain)
	secrets, err := decode[configSecrets](plain)
	if err != nil {
		return configSecrets{}, fmt.Errorf("the secrets of auth config %s can't be read", of.name)
	}
	return secrets, nil
}

// checkSigningKey holds the key that the maker of an auth config shows against the
// method that the config is to belong to. Bound is whether it does already. The key is
// a proof, and is not kept.
func checkSigningKey(m *method, key []byte, bound bool) error {
	switch {
	case len(key) == 0 && m != nil && m.PublicKey != "" && m.Key == 0 && !bound:
		return invalid("the signing key is missing: auth method %s was made with a public key; give its private key, which shows that you may bind auth configs to it", m.name)
	case len(key) == 0:
		return nil
	case m == nil:
		return invalid("a signing key is for an auth config that belongs to an auth method")
	case m.PublicKey == "":
		return invalid("leave the signing key out: auth method %s has no key pair", m.name)
	}
	if _, err := parsePrivateKey(key); err != nil {
		return err
	}
	if !sameKey(key, m.PublicKey) {
		return invalid("the signing key is not the private key of auth method %s; give the one that its creation returned, or leave it out", m.name)
	}
	return nil
}
