package catalog

import (
	"net/netip"
	"slices"
	"time"

	"github.com/gatepass/gatepass/gateway/access"
)

// What the view holds: records, with what their keys say and their revision. None
// ever changes.
type (
	method struct {
		name     string
		revision int64
		methodRecord
		// bounds are BoundIPs, parsed.
		bounds []netip.Prefix
		// unsaved means that the store has it without the ids of its auth configs.
		unsaved bool
		// declared means that it is in the configuration file and not in the store.
		declared bool
	}
	authConfig struct {
		name     string
		revision int64
		authConfigRecord
		declared bool
	}
	role struct {
		name     string
		revision int64
		roleRecord
		declared bool
	}
	association struct {
		id       string
		revision int64
		associationRecord
		declared bool
	}
	// item is compact: there may be 100,000.
	item struct {
		name, id    string
		description string
		tags        []string
		versions    []int64
		first       int
		created     int64
		modified    int64
		revision    int64
	}
	// mark is a revocation, or a lease with until instead of before.
	mark struct {
		at, expires, life int64
		generation        string
		revision          int64
	}
)

func (m *method) key() string      { return methodPrefix + m.name }
func (c *authConfig) key() string  { return authConfigPrefix + c.name }
func (r *role) key() string        { return rolePrefix + r.name }
func (a *association) key() string { return associationPrefix + a.id }
func (i *item) key() string        { return itemPrefix + i.name }

func (i *item) latest() int { return i.first + len(i.versions) - 1 }

// tell makes the object that callers get, without its auth configs, see tellMethod.
func (m *method) tell() Method {
	return Method{
		Name:            m.name,
		AccessID:        m.AccessID,
		Description:     m.Description,
		Type:            m.Type,
		Expires:         m.Expires,
		SessionTTL:      seconds(m.SessionTTL),
		SessionMaxTTL:   seconds(m.SessionMaxTTL),
		BoundIPs:        slices.Clone(m.BoundIPs),
		GatewayBoundIPs: slices.Clone(m.GatewayBoundIPs),
		ForceSubClaims:  m.ForceSubClaims,
		Audience:        m.Audience,
		Namespaces:      slices.Clone(m.Namespaces),
		PodNames:        slices.Clone(m.PodNames),
		ServiceAccounts: slices.Clone(m.ServiceAccounts),
		PublicKey:       m.PublicKey,
		GeneratedKey:    m.GeneratedKey,
		FromFile:        m.declared,
		Created:         m.Created,
		Modified:        m.Modified,
	}
}

// tell makes the object that callers get, which has no secrets.
func (c *authConfig) tell() AuthConfig {
	return AuthConfig{
		ID:                      c.ID,
		Name:                    c.name,
		AccessID:                c.AccessID,
		Host:                    c.Host,
		CACert:                  c.CACert,
		Reviewer:                c.Reviewer,
		ClientCert:              c.ClientCert,
		Issuer:                  c.Issuer,
		DisableIssuerValidation: c.DisableIssuerValidation,
		TokenExpiration:         seconds(c.TokenExpiration),
		FromFile:                c.declared,
		Created:                 c.Created,
		Modified:                c.Modified,
	}
}

func (r *role) rules() []access.Rule {
	rules := make([]access.Rule, 0, len(r.Rules))
	for _, rule := range r.Rules {
		rules = append(rules, access.Rule{Type: rule.Type, Path: rule.Path, Capabilities: slices.Clone(rule.Capabilities)})
	}
	return rules
}

func (i *item) tell() Item {
	told := Item{
		Name:        "/" + i.name,
		Description: i.description,
		Tags:        slices.Clone(i.tags),
		Versions:    make([]Version, 0, len(i.versions)),
		Created:     moment(i.created),
		Modified:    moment(i.modified),
	}
	for n, created := range i.versions {
		told.Versions = append(told.Versions, Version{Number: i.first + n, Created: moment(created)})
	}
	return told
}

func (i *item) record() itemRecord {
	return itemRecord{
		ID: i.id, Description: i.description, Tags: i.tags,
		First: i.first, Versions: i.versions, Created: i.created, Modified: i.modified,
	}
}

// expired says whether a mark is of no use any more.
func (m mark) expired(now time.Time) bool { return now.Unix() > m.expires }

// lives is how long a mark must stay in the store. Those of older versions don't say.
func (m mark) lives() time.Duration {
	if m.life <= 0 {
		return recordLife
	}
	return min(seconds(m.life), recordLife)
}
