package catalog

import (
	"fmt"
	"strings"
)

// effect says which parts of a view a change was about.
type effect uint8

const (
	// onLogins: auth methods, auth configs or settings.
	onLogins effect = 1 << iota
	// onPolicy: roles, associations, or the methods that they name.
	onPolicy
)

// apply puts a record of the store into a view that nobody else has yet, or, with
// a nil value, takes it out.
func (v *View) apply(key string, value []byte, revision int64) (effect, error) {
	rest := strings.TrimPrefix(key, prefix)
	kind, name, _ := strings.Cut(rest, "/")
	var e effect
	var err error
	switch prefix + kind + "/" {
	case itemPrefix:
		err = v.applyItem(name, value, revision)
	case methodPrefix:
		e, err = onLogins|onPolicy, v.applyMethod(name, value, revision)
	case authConfigPrefix:
		e, err = onLogins, v.applyConfig(name, value, revision)
	case rolePrefix:
		e, err = onPolicy, v.applyRole(name, value, revision)
	case associationPrefix:
		e, err = onPolicy, v.applyAssociation(name, value, revision)
	case revokedSessionPrefix:
		err = applyRevocation(v.revokedSessions, name, value, revision)
	case revokedMethodPrefix:
		err = applyRevocation(v.revokedMethods, name, value, revision)
	case revokedIdentityPrefix:
		err = applyRevocation(v.revokedIdentities, name, value, revision)
	case leasePrefix:
		err = v.applyLease(name, value, revision)
	case declaredMethodPrefix:
		v.applyDeclared(name, value, revision)
	default:
		e, err = v.applySingle(key, value, revision)
	}
	if err != nil {
		return 0, fmt.Errorf("%s can't be read: %w", key, err)
	}
	return e, nil
}

// applySingle is for records of which there is one.
func (v *View) applySingle(key string, value []byte, revision int64) (effect, error) {
	switch key {
	case settingsKey:
		record, err := decodeOrZero[settingsRecord](value)
		v.settings, v.settingsRevision = record, 0
		if value != nil {
			v.settingsRevision = revision
		}
		return onLogins, err
	case administratorKey:
		record, err := decodeOrZero[administratorRecord](value)
		v.administrator = record.AccessID
		return onPolicy, err
	case revokedBeforeKey:
		record, err := decodeOrZero[revocationRecord](value)
		v.revokedBefore, v.revokedLineage = record.Before, record.Lineage
		return 0, err
	case lineageKey:
		record, err := decodeOrZero[lineageRecord](value)
		v.lineage = record.ID
		return 0, err
	case ticksKey:
		record, err := decodeOrZero[ticksRecord](value)
		v.ticks, v.ticksRevision = record.Revisions, 0
		if value != nil {
			v.ticksRevision = revision
		}
		return 0, err
	}
	return 0, nil // an access id's, the issuer, the last commit's, or a later version's
}

func decodeOrZero[T any](value []byte) (T, error) {
	if value == nil {
		var zero T
		return zero, nil
	}
	return decode[T](value)
}

func (v *View) applyItem(name string, value []byte, revision int64) error {
	if value == nil {
		v.items.delete(name)
		return nil
	}
	r, err := decode[itemRecord](value)
	if err != nil {
		return err
	}
	v.items.set(name, &item{
		name: name, id: r.ID, description: r.Description, tags: r.Tags,
		versions: r.Versions, first: r.First, created: r.Created, modified: r.Modified, revision: revision,
	})
	return nil
}

func (v *View) applyMethod(name string, value []byte, revision int64) error {
	var r methodRecord
	var err error
	if value != nil {
		if r, err = decode[methodRecord](value); err != nil {
			return err
		}
	}
	if old, ok := v.methods.get(name); ok && old.AccessID != r.AccessID {
		// A change of the name puts the new one in and takes the old one out, in the
		// order of names.
		if now, ok := v.methodIDs.get(old.AccessID); ok && now.name == name {
			v.methodIDs.delete(old.AccessID)
		}
	}
	if value == nil {
		v.methods.delete(name)
		return nil
	}
	m := &method{name: name, revision: revision, methodRecord: r, bounds: parseBounds(r.BoundIPs)}
	v.methods.set(name, m)
	v.methodIDs.set(r.AccessID, m)
	v.unbound = v.unbound || len(r.AuthConfigNames) > 0
	return nil
}

func (v *View) applyConfig(name string, value []byte, revision int64) error {
	var r authConfigRecord
	var err error
	if value != nil {
		if r, err = decode[authConfigRecord](value); err != nil {
			return err
		}
	}
	if old, ok := v.configs.get(name); ok && old.ID != r.ID {
		if now, ok := v.configIDs.get(old.ID); ok && now.name == name {
			v.configIDs.delete(old.ID)
		}
	}
	if value == nil {
		v.configs.delete(name)
		return nil
	}
	c := &authConfig{name: name, revision: revision, authConfigRecord: r}
	v.configs.set(name, c)
	v.configIDs.set(r.ID, c)
	return nil
}

func (v *View) applyRole(name string, value []byte, revision int64) error {
	var record roleRecord
	var err error
	if value != nil {
		if record, err = decode[roleRecord](value); err != nil {
			return err
		}
	}
	if old, ok := v.roles.get(name); ok && old.ID != record.ID {
		if now, ok := v.roleIDs.get(old.ID); ok && now.name == name {
			v.roleIDs.delete(old.ID)
		}
	}
	if value == nil {
		v.roles.delete(name)
		return nil
	}
	r := &role{name: name, revision: revision, roleRecord: record}
	v.roles.set(name, r)
	v.roleIDs.set(record.ID, r)
	return nil
}

func (v *View) applyAssociation(id string, value []byte, revision int64) error {
	if value == nil {
		v.associations.delete(id)
		return nil
	}
	r, err := decode[associationRecord](value)
	if err != nil {
		return err
	}
	v.associations.set(id, &association{id: id, revision: revision, associationRecord: r})
	return nil
}

func applyRevocation(to table[mark], name string, value []byte, revision int64) error {
	if value == nil {
		to.delete(name)
		return nil
	}
	r, err := decode[revocationRecord](value)
	if err != nil {
		return err
	}
	to.set(name, mark{at: r.Before, expires: r.Expires, life: r.Life, generation: r.Generation, revision: revision})
	return nil
}

func (v *View) applyLease(id string, value []byte, revision int64) error {
	if value == nil {
		v.leases.delete(id)
		return nil
	}
	r, err := decode[leaseRecord](value)
	if err != nil {
		return err
	}
	v.leases.set(id, mark{at: r.Until, expires: r.Expires, life: r.Life, revision: revision})
	return nil
}

func (v *View) applyDeclared(accessID string, value []byte, revision int64) {
	if value == nil {
		v.declaredMethods.delete(accessID)
		return
	}
	v.declaredMethods.set(accessID, revision)
}
