package catalog

import (
	"fmt"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/gatepass/gatepass/gateway/access"
	"github.com/gatepass/gatepass/gateway/seal"
	"github.com/gatepass/gatepass/gateway/store"
)

// Where records lie. All that the view is made of lies under one prefix, so that
// one watch follows it, and is sealed on its way to the store, see records; secrets
// lie elsewhere. A secret's record never changes: what is new gets a new number, and
// the record that names it changes in the same commit.
const (
	prefix = seal.Prefix + "catalog/"

	accessIDPrefix        = prefix + "access-id/"
	administratorKey      = prefix + "administrator"
	associationPrefix     = prefix + "association/"
	authConfigPrefix      = prefix + "auth-config/"
	declaredMethodPrefix  = prefix + "declared-method/"
	issuerKey             = prefix + "issuer"
	itemPrefix            = prefix + "item/"
	lastKey               = prefix + "last"
	leasePrefix           = prefix + "lease/"
	lineageKey            = prefix + "lineage"
	methodPrefix          = prefix + "method/"
	revokedBeforeKey      = prefix + "revoked-before"
	revokedIdentityPrefix = prefix + "revoked-identity/"
	revokedMethodPrefix   = prefix + "revoked-method/"
	revokedSessionPrefix  = prefix + "revoked-session/"
	rolePrefix            = prefix + "role/"
	settingsKey           = prefix + "settings"
	ticksKey              = prefix + "ticks"

	configSecretPrefix = seal.Prefix + "auth-config/"
	valuePrefix        = seal.Prefix + "value/"
)

// generatedKey is a method's Key when the gateway has made its key pair. It was the
// number of a record with the private half in versions that signed with it.
const generatedKey = 1

// maxName is how many bytes a name has at most, so that its key fits the store.
const maxName = store.MaxKey - len(authConfigPrefix)

// Keys of sealed records.
func configSecretKey(id string, number int) string {
	return fmt.Sprintf("%s%s/%d", configSecretPrefix, id, number)
}

func valueKey(itemID string, version int) string {
	return fmt.Sprintf("%s%s/%d", valuePrefix, itemID, version)
}

// The records as they are kept. Names are in their keys. Lives are in seconds.
type (
	methodRecord struct {
		AccessID      string     `json:"access_id"`
		Type          MethodType `json:"type"`
		Description   string     `json:"description,omitzero"`
		Expires       time.Time  `json:"expires,omitzero"`
		SessionTTL    int64      `json:"session_ttl,omitzero"`
		SessionMaxTTL int64      `json:"session_max_ttl,omitzero"`
		// AuthConfigs are ids. AuthConfigNames is what an earlier version wrote, see bind.
		AuthConfigs     []string `json:"auth_config_ids,omitempty"`
		AuthConfigNames []string `json:"auth_configs,omitempty"`
		BoundIPs        []string `json:"bound_ips,omitempty"`
		GatewayBoundIPs []string `json:"gateway_bound_ips,omitempty"`
		ForceSubClaims  bool     `json:"force_sub_claims,omitzero"`
		Audience        string   `json:"audience,omitzero"`
		Namespaces      []string `json:"namespaces,omitempty"`
		PodNames        []string `json:"pod_names,omitempty"`
		ServiceAccounts []string `json:"service_accounts,omitempty"`
		PublicKey       string   `json:"public_key,omitzero"`
		GeneratedKey    bool     `json:"generated_key,omitzero"`
		// Key is generatedKey if the gateway has made the key pair, also where its
		// private half was not told; then it need not be shown when an auth config is
		// made. AccessKeyHash is of TypeAccessKey.
		Key           int    `json:"key,omitzero"`
		AccessKeyHash []byte `json:"access_key_hash,omitempty"`
		// Deleting is set while the method's associations are deleted, if they are too many
		// for one commit. It has expired then.
		Deleting bool      `json:"deleting,omitzero"`
		Created  time.Time `json:"created"`
		Modified time.Time `json:"modified"`
	}
	authConfigRecord struct {
		ID                      string   `json:"id"`
		AccessID                string   `json:"access_id,omitzero"`
		Host                    string   `json:"host,omitzero"`
		CACert                  string   `json:"ca_cert,omitzero"`
		Reviewer                Reviewer `json:"reviewer"`
		ClientCert              string   `json:"client_cert,omitzero"`
		Issuer                  string   `json:"issuer,omitzero"`
		DisableIssuerValidation bool     `json:"disable_issuer_validation,omitzero"`
		TokenExpiration         int64    `json:"token_expiration,omitzero"`
		// Secret is the number of the record of its secrets; 0 means none.
		Secret   int       `json:"secret,omitzero"`
		Created  time.Time `json:"created"`
		Modified time.Time `json:"modified"`
	}
	// configSecrets are sealed.
	configSecrets struct {
		ReviewerJWT []byte `json:"reviewer_jwt,omitempty"`
		ClientKey   []byte `json:"client_key,omitempty"`
	}
	roleRecord struct {
		// ID is what associations name: it outlives a change of the name.
		ID          string       `json:"id"`
		Description string       `json:"description,omitzero"`
		Rules       []ruleRecord `json:"rules,omitempty"`
		Created     time.Time    `json:"created"`
		Modified    time.Time    `json:"modified"`
	}
	ruleRecord struct {
		Type         access.RuleType     `json:"type"`
		Path         string              `json:"path"`
		Capabilities []access.Capability `json:"capabilities"`
	}
	associationRecord struct {
		// Role is the role's id, see role.id.
		Role          string            `json:"role"`
		AccessID      string            `json:"access_id"`
		SubClaims     map[string]string `json:"sub_claims,omitempty"`
		CaseSensitive bool              `json:"case_sensitive,omitzero"`
		Created       time.Time         `json:"created"`
	}
	itemRecord struct {
		// ID is what the values' keys have: it outlives a change of the name.
		ID          string   `json:"id"`
		Description string   `json:"description,omitzero"`
		Tags        []string `json:"tags,omitempty"`
		// First is the number of the first version that is kept, and Versions are
		// when it and the following ones were made. All times are in milliseconds
		// since 1970.
		First    int     `json:"first"`
		Versions []int64 `json:"versions"`
		Created  int64   `json:"created"`
		Modified int64   `json:"modified"`
	}
	settingsRecord struct {
		SessionTTL int64 `json:"session_ttl,omitzero"`
	}
	administratorRecord struct {
		AccessID string    `json:"access_id"`
		Created  time.Time `json:"created"`
	}
	issuerRecord struct {
		Issuer string `json:"issuer"`
	}
	// lineageRecord names the store. A restored one gets another name.
	lineageRecord struct {
		ID string `json:"id"`
	}
	// declaredMethodRecord is of an auth method of the configuration file, as long as
	// it is there.
	declaredMethodRecord struct{}
	// ticksRecord is the store's clock, see View.age.
	ticksRecord struct {
		Revisions []int64 `json:"revisions"`
	}
	// revocationRecord says what was revoked. Times are in seconds since 1970. It
	// can be removed when it expires and has been there for its life, because all
	// that it is about has ended then.
	revocationRecord struct {
		AccessID string `json:"access_id,omitzero"`
		Subject  string `json:"subject,omitzero"`
		// Generation is what sessions carry that were made after it. Others are
		// revoked; of another store's sessions, those that were issued until Before.
		Generation string `json:"generation,omitzero"`
		// Lineage is of the store whose sessions are revoked, all of them.
		Lineage string `json:"lineage,omitzero"`
		Before  int64  `json:"before,omitzero"`
		Expires int64  `json:"expires"`
		Life    int64  `json:"life,omitzero"`
	}
	leaseRecord struct {
		Until   int64 `json:"until"`
		Expires int64 `json:"expires"`
		Life    int64 `json:"life,omitzero"`
	}
)

// encode writes a record.
func encode(record any) ([]byte, error) {
	value, err := json.Marshal(record, json.Deterministic(true))
	if err != nil {
		return nil, fmt.Errorf("write a record: %w", err)
	}
	if len(value) > seal.MaxValue {
		return nil, fmt.Errorf("%w: the object has %d bytes, and at most %d are kept; make it smaller", ErrInvalid, len(value), seal.MaxValue)
	}
	return value, nil
}

// decode reads a record. A field that this version does not know is ignored, and
// lost when the record is written again.
func decode[T any](value []byte) (T, error) {
	var record T
	err := json.Unmarshal(value, &record)
	return record, err
}

func seconds(n int64) time.Duration { return time.Duration(n) * time.Second }

// moment is a time in milliseconds.
func moment(millis int64) time.Time { return time.UnixMilli(millis).UTC() }
