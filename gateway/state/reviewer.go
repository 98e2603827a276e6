package state

import (
	"errors"
	"fmt"

	"k8s.io/client-go/rest"

	"github.com/gatepass/gatepass/gateway/catalog"
	"github.com/gatepass/gatepass/gateway/config"
	"github.com/gatepass/gatepass/gateway/review"
)

const userAgent = "gatepass-gateway"

// reviewer makes the client that an auth config of the file describes.
func (s *Store) reviewer(c *config.KubernetesAuthConfig) (*review.Client, error) {
	target, err := s.target(c)
	if err != nil {
		return nil, err
	}
	target.UserAgent = userAgent
	return review.New(review.Options{
		Config:    target,
		Self:      c.Reviewer.Type == config.ReviewerSelf,
		AnyIssuer: true,
		Observe:   s.options.ObserveReview,
	})
}

// storedReviewer makes the client that an auth config of the store describes.
func (s *Store) storedReviewer(c *catalog.AuthConfig) (*review.Client, error) {
	described := &config.KubernetesAuthConfig{
		Host:     c.Host,
		CABundle: c.CACert,
		Reviewer: config.Reviewer{Type: config.ReviewerType(c.Reviewer)},
	}
	if c.Reviewer == catalog.ReviewerGateway {
		// One that an earlier version let in: the gateway's own token goes to no server but
		// those that its own cluster's CA has signed for.
		described.CABundle = ""
	}
	target, err := s.target(described)
	if err != nil {
		return nil, err
	}
	switch c.Reviewer {
	case catalog.ReviewerToken:
		target.BearerToken = string(c.ReviewerJWT)
	case catalog.ReviewerCertificate:
		target.CertData, target.KeyData = []byte(c.ClientCert), c.ClientKey
	case catalog.ReviewerGateway, catalog.ReviewerSelf:
	}
	target.UserAgent = userAgent
	return review.New(review.Options{
		Config:    target,
		Self:      c.Reviewer == catalog.ReviewerSelf,
		Issuer:    c.Issuer,
		AnyIssuer: c.DisableIssuerValidation,
		Observe:   s.options.ObserveReview,
	})
}

// target is how to reach the API server, and as whom. What the auth config
// does not say comes from the gateway's own cluster; its own credentials only
// if the reviewer is the gateway itself.
func (s *Store) target(c *config.KubernetesAuthConfig) (*rest.Config, error) {
	own := &rest.Config{}
	needsOwn := c.Reviewer.Type == config.ReviewerGateway || c.Host == "" || (c.CAFile == "" && c.CABundle == "")
	if needsOwn {
		var err error
		own, err = s.options.Cluster()
		if err != nil {
			return nil, fmt.Errorf("host, CA or reviewer are to be the gateway's own cluster's: %w", err)
		}
	}
	target := rest.AnonymousClientConfig(own)
	switch c.Reviewer.Type {
	case config.ReviewerGateway:
		target = rest.CopyConfig(own)
	case config.ReviewerToken:
		target.BearerTokenFile = c.Reviewer.TokenFile
	case config.ReviewerCertificate:
		target.CertFile, target.KeyFile = c.Reviewer.CertFile, c.Reviewer.KeyFile
	case config.ReviewerSelf:
	default:
		return nil, errors.New("unknown reviewer type")
	}
	if c.Host != "" {
		// A server name that verified another host says nothing about this one.
		target.Host, target.ServerName = c.Host, ""
	}
	if c.CAFile != "" || c.CABundle != "" {
		target.CAFile, target.CAData = c.CAFile, []byte(c.CABundle)
	}
	return target, nil
}
