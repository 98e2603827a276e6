package catalog

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"strings"
	"time"

	"github.com/gatepass/gatepass/gateway/access"
	"github.com/gatepass/gatepass/gateway/config"
	"github.com/gatepass/gatepass/gateway/session"
)

// View is the catalog at one moment, without the secrets. It never changes.
type View struct {
	// revision is the store's as of which it is; 0 means that nothing was read yet.
	revision int64
	// logins is another number whenever methods, auth configs or settings are
	// others than before.
	logins uint64

	items        table[*item]        // by name
	methods      table[*method]      // by name
	methodIDs    table[*method]      // by access id
	configs      table[*authConfig]  // by name
	configIDs    table[*authConfig]  // by id
	roles        table[*role]        // by name
	roleIDs      table[*role]        // by id
	associations table[*association] // by id

	// What was revoked: sessions by sessionID, identities by identityID, auth methods
	// by access id. And until when sessions were renewed, by sessionID.
	revokedSessions, revokedIdentities, revokedMethods, leases table[mark]

	// lineage names the store. revokedBefore is the latest second of issue that is
	// revoked for sessions of others, and revokedLineage is the name that it had
	// before it was restored, whose sessions are all revoked.
	lineage        string
	revokedBefore  int64
	revokedLineage string

	// declaredMethods are those of the configuration file that are noted in the store,
	// by access id: the revision of the note.
	declaredMethods table[int64]

	// ticks are the store's clock, see age.
	ticks         []int64
	ticksRevision int64

	settings         settingsRecord
	settingsRevision int64
	administrator    string // access id

	// unbound means that there are methods without the ids of their auth configs, and
	// unsaved that there are such in the store.
	unbound, unsaved bool

	file   *declared
	policy func() *access.Policy
}

func newView() *View {
	v := &View{
		items: newTable[*item](), methods: newTable[*method](), methodIDs: newTable[*method](),
		configs: newTable[*authConfig](), configIDs: newTable[*authConfig](), roles: newTable[*role](), roleIDs: newTable[*role](),
		associations:    newTable[*association](),
		revokedSessions: newTable[mark](), revokedIdentities: newTable[mark](), revokedMethods: newTable[mark](),
		leases: newTable[mark](), declaredMethods: newTable[int64](),
		file: newDeclared(),
	}
	return v
}

// clone makes a view that can be changed, and leaves v as it is.
func (v *View) clone() *View {
	next := *v
	next.items, next.methods, next.methodIDs = v.items.clone(), v.methods.clone(), v.methodIDs.clone()
	next.configs, next.configIDs = v.configs.clone(), v.configIDs.clone()
	next.roles, next.roleIDs = v.roles.clone(), v.roleIDs.clone()
	next.associations = v.associations.clone()
	next.revokedSessions, next.revokedIdentities = v.revokedSessions.clone(), v.revokedIdentities.clone()
	next.revokedMethods, next.leases = v.revokedMethods.clone(), v.leases.clone()
	next.declaredMethods = v.declaredMethods.clone()
	return &next
}

// Policy holds all roles.
func (v *View) Policy() *access.Policy {
	if v.policy == nil {
		return nil
	}
	return v.policy()
}

// Settings are the account's.
func (v *View) Settings() Settings {
	if v.settings.SessionTTL == 0 {
		return Settings{SessionTTL: config.DefaultSessionTTL}
	}
	return Settings{SessionTTL: seconds(v.settings.SessionTTL)}
}

// Check says whether a session that is valid by itself was revoked, or ended
// because its lease was not renewed or its auth method was switched off or deleted.
// The errors are package session's.
func (v *View) Check(s *session.Claims, now time.Time) error {
	m := v.methodByID(s.AccessID)
	if m == nil { // it is gone, or so new that nobody here has heard of it
		return session.ErrUnknownKey
	}
	if v.revokedSessions.has(sessionID(s.AccessID, s.ID)) {
		return session.ErrRevoked
	}
	if err := v.checkGeneration(s); err != nil {
		return err
	}
	if !m.Expires.IsZero() && !now.Before(m.Expires) {
		return session.ErrRevoked
	}
	if s.Lease != 0 && !now.Before(v.LeaseEnd(s)) {
		return session.ErrExpired
	}
	return nil
}

// LeaseEnd is when a session ends unless it is renewed: the later one of its first
// lease and what it was renewed until, or its expiry if it has no lease.
func (v *View) LeaseEnd(s *session.Claims) time.Time {
	if s.Lease == 0 {
		return s.ExpiresAt()
	}
	end := s.Lease
	if renewed, ok := v.leases.get(sessionID(s.AccessID, s.ID)); ok {
		end = max(end, renewed.at)
	}
	return time.Unix(min(end, s.Expiry), 0).UTC()
}

// Generation is what a new session of a subject carries, so that it is told from
// those that were revoked before: the store's name, and the generations of the auth
// method's and the subject's revocations. No clock comes into it, and nothing of other
// auth methods.
func (v *View) Generation(accessID, subject string) string {
	of, _ := v.revokedMethods.get(accessID)
	by, _ := v.revokedIdentities.get(identityID(accessID, subject))
	return strings.Join([]string{v.lineage, of.generation, by.generation}, generationSeparator)
}

// generationSeparator is in no part of a generation.
const generationSeparator = "."

// checkGeneration says whether a session was revoked with all others of its subject,
// its auth method or its store.
func (v *View) checkGeneration(s *session.Claims) error {
	lineage, rest, _ := strings.Cut(s.Generation, generationSeparator)
	ofMethod, ofIdentity, _ := strings.Cut(rest, generationSeparator)
	own := lineage != "" && lineage == v.lineage
	if lineage != "" && lineage == v.revokedLineage || !own && s.IssuedAt <= v.revokedBefore {
		return session.ErrRevoked
	}
	of, _ := v.revokedMethods.get(s.AccessID)
	var by mark
	if v.revokedIdentities.len() > 0 {
		by, _ = v.revokedIdentities.get(identityID(s.AccessID, s.Subject))
	}
	for _, revocation := range [...]struct {
		mark
		carried string
	}{{of, ofMethod}, {by, ofIdentity}} {
		switch {
		case revocation.revision == 0: // there is none
		case own && revocation.generation != "":
			if revocation.generation != revocation.carried {
				return session.ErrOtherGeneration
			}
		case s.IssuedAt <= revocation.at:
			return session.ErrRevoked
		}
	}
	return nil
}

// sessionID stands for a session: what its auth method and its jti make together. No
// access id has the separator.
func sessionID(accessID, jti string) string { return accessID + "/" + jti }

// identityID stands for a subject of an auth method. It is a hash, because it is
// part of a key, and a subject may hold what a key may not. No access id has the
// separator.
func identityID(accessID, subject string) string {
	sum := sha256.Sum256([]byte(accessID + "/" + subject))
	return hex.EncodeToString(sum[:])
}

// VerifyAccessKey says whether an access key is the one of an access id. It takes
// the same time whichever is wrong.
func (v *View) VerifyAccessKey(accessID, accessKey string) bool {
	want := make([]byte, sha256.Size)
	m := v.methodByID(accessID)
	known := m != nil && m.Type == TypeAccessKey && len(m.AccessKeyHash) == sha256.Size
	if known {
		want = m.AccessKeyHash
	}
	// No salt and no slow hash: the key is random, and has too many bits to be
	// guessed.
	got := sha256.Sum256([]byte(accessKey))
	return subtle.ConstantTimeCompare(got[:], want) == 1 && known
}

// errNotRead is what fails until the store has been read.
var errNotRead = errors.New("the store has not been read yet")

// method finds an auth method by name, or returns nil. One of the configuration
// file hides one of the store that has its name or its access id.
func (v *View) method(name string) *method {
	if m, ok := v.file.methods[name]; ok {
		return m
	}
	if m, ok := v.methods.get(name); ok && !v.file.hidesMethod(m) {
		return m
	}
	return nil
}

func (v *View) methodByID(accessID string) *method {
	if m, ok := v.file.methodIDs[accessID]; ok {
		return m
	}
	if m, ok := v.methodIDs.get(accessID); ok && !v.file.hidesMethod(m) {
		return m
	}
	return nil
}

func (v *View) config(name string) *authConfig {
	if c, ok := v.file.configs[name]; ok {
		return c
	}
	c, _ := v.configs.get(name)
	return c
}

func (v *View) role(name string) *role {
	if name == administratorRole {
		return builtIn()
	}
	if r, ok := v.file.roles[name]; ok {
		return r
	}
	r, _ := v.roles.get(name)
	return r
}

// roleByID finds the role of an association.
func (v *View) roleByID(id string) *role {
	if name, ok := declaredRole(id); ok {
		if r := v.role(name); r != nil && r.declared {
			return r
		}
		return nil
	}
	r, ok := v.roleIDs.get(id)
	if !ok || v.file.roles[r.name] != nil {
		return nil
	}
	return r
}

// association finds one whose role and auth method exist.
func (v *View) association(id string) (*association, *role, *method) {
	a, ok := v.associations.get(id)
	if !ok {
		if a, ok = v.file.associations[id]; !ok {
			a, ok = v.builtInAssociation(), id == administratorAssociation
		}
	}
	if !ok || a == nil {
		return nil, nil, nil
	}
	r, m := v.roleByID(a.Role), v.methodByID(a.AccessID)
	if r == nil || m == nil {
		return nil, nil, nil
	}
	return a, r, m
}
