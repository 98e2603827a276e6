package catalog

import (
	"context"
	"fmt"
	"time"

	"github.com/gatepass/gatepass/gateway/access"
	"github.com/gatepass/gatepass/gateway/authmethod"
	"github.com/gatepass/gatepass/gateway/config"
	"github.com/gatepass/gatepass/gateway/store"
)

const (
	// skew is how far the clocks of two gateways with stores of their own may be
	// apart: a session that one issued just before the other revoked it is to be
	// revoked.
	skew = 2 * time.Second

	// grace is how long what is known of a session is kept after its end, for
	// gateways whose clocks are ahead remove it for all.
	grace = time.Minute

	// recordLife is how long the revocation of many sessions is kept: the longest
	// life of a session, and some time for clocks.
	recordLife = config.MaxSessionTTL + time.Hour
)

// Login finds the auth method that an access id and its key belong to. The error is
// ErrDenied if they don't belong together; it takes the same time whichever is
// wrong. What else the method asks of who logs in is the caller's to check.
func (c *Catalog) Login(_ context.Context, accessID, accessKey string) (*authmethod.Method, error) {
	if c.Ready() != nil {
		return nil, ErrUnavailable
	}
	v := c.View()
	if !v.VerifyAccessKey(accessID, accessKey) {
		return nil, fmt.Errorf("%w: the access id or the access key is wrong", ErrDenied)
	}
	return v.methodByID(accessID).rules(v.Settings())
}

// RevokeSession implements Accessor.
func (a *accessor) RevokeSession(ctx context.Context, expires time.Time) error {
	return a.begin("session-revoke", "").change(ctx, func(context.Context, sight) ([]store.Op, error) {
		if a.caller.Session == "" {
			return nil, invalid("there is no session to revoke")
		}
		record, err := encode(revocationRecord{AccessID: a.caller.AccessID, Expires: expires.Add(grace).Unix(), Life: a.caller.life()})
		if err != nil {
			return nil, err
		}
		return []store.Op{store.Put(revokedSessionPrefix+sessionID(a.caller.AccessID, a.caller.Session), record)}, nil
	})
}

// RenewSession implements Accessor.
func (a *accessor) RenewSession(ctx context.Context, until, expires time.Time) error {
	r := a.begin("session-renew", "")
	r.event.Expires = until.UTC()
	return r.change(ctx, func(context.Context, sight) ([]store.Op, error) {
		if a.caller.Session == "" {
			return nil, invalid("there is no session to renew")
		}
		record, err := encode(leaseRecord{Until: min(until.Unix(), expires.Unix()), Expires: expires.Add(grace).Unix(), Life: a.caller.life()})
		if err != nil {
			return nil, err
		}
		return []store.Op{store.Put(leasePrefix+sessionID(a.caller.AccessID, a.caller.Session), record)}, nil
	})
}

// RevokeMethod implements Accessor.
func (a *accessor) RevokeMethod(ctx context.Context, name string) error {
	return a.revoke(ctx, "sessions-revoke", name, "")
}

// RevokeIdentity implements Accessor.
func (a *accessor) RevokeIdentity(ctx context.Context, name, subject string) error {
	return a.revoke(ctx, "identity-revoke", name, subject)
}

// revoke ends all sessions of an auth method, or those of one subject of it.
func (a *accessor) revoke(ctx context.Context, what, name, subject string) error {
	r := a.begin(what, name)
	r.event.Revoked = subject
	return r.change(ctx, func(_ context.Context, s sight) ([]store.Op, error) {
		m, _, err := s.methodFor(access.Update, name)
		if err != nil {
			return nil, err
		}
		record, err := encode(newRevocation(m.AccessID, subject, time.Now()))
		if err != nil {
			return nil, err
		}
		key := revokedMethodPrefix + m.AccessID
		if what == "identity-revoke" {
			if subject == "" {
				return nil, invalid("the subject is missing")
			}
			key = revokedIdentityPrefix + identityID(m.AccessID, subject)
		}
		return []store.Op{store.Put(key, record)}, nil
	})
}

// newRevocation is of all sessions of an auth method, or of one subject of it.
func newRevocation(accessID, subject string, now time.Time) revocationRecord {
	return revocationRecord{
		AccessID: accessID, Subject: subject, Generation: randomText(generationSize),
		Before: now.Add(skew).Unix(), Expires: now.Add(recordLife).Unix(), Life: int64(recordLife / time.Second),
	}
}

// generationSize makes generations that are in every session short. The odds that two
// of one subject are alike are 1 in 2^60.
const generationSize = 12

// life is that of the caller's session, in seconds, and of what is kept of it.
func (c Caller) life() int64 {
	if c.Life <= 0 {
		return int64(recordLife / time.Second)
	}
	return int64((c.Life + grace) / time.Second)
}

// Settings implements Accessor. Everybody with a session may read them.
func (a *accessor) Settings(context.Context) (told Settings, err error) {
	err = a.begin("settings-read", "").read(func(s sight) error {
		told = s.Settings()
		return nil
	})
	return told, err
}

// UpdateSettings implements Accessor.
func (a *accessor) UpdateSettings(ctx context.Context, settings Settings) error {
	return a.begin("settings-update", "").change(ctx, func(_ context.Context, s sight) ([]store.Op, error) {
		t, err := named(access.RoleRule, administratorRole)
		if err != nil {
			return nil, err
		}
		if err := s.may(access.Update, t, true); err != nil {
			return nil, err
		}
		if ttl := settings.SessionTTL; ttl < config.MinSessionTTL || ttl > config.MaxSessionTTL || ttl%time.Second != 0 {
			return nil, invalid("the life of a session must be whole seconds from %s to %s", config.MinSessionTTL, config.MaxSessionTTL)
		}
		record, err := encode(settingsRecord{SessionTTL: int64(settings.SessionTTL / time.Second)})
		if err != nil {
			return nil, err
		}
		op := store.Put(settingsKey, record)
		op.Revision = s.settingsRevision // 0 is Absent
		return []store.Op{op}, nil
	})
}
