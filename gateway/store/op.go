package store

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Conditions on an item other than its revision.
const (
	// Absent means that there must be no such item.
	Absent int64 = 0
	// Any means that it does not matter.
	Any int64 = -1
)

// Action is what an operation does.
type Action int

// The actions.
const (
	// ActionPut writes a value.
	ActionPut Action = iota + 1
	// ActionDelete deletes an item; deleting none, under no condition, is no error.
	ActionDelete
	// ActionExpect does nothing but hold the commit to its condition.
	ActionExpect
)

// Op is one operation of a commit.
type Op struct {
	Action Action
	Key    string
	Value  []byte
	// Revision is the condition: the item's last change, Absent or Any.
	Revision int64
}

// Create writes an item that must not exist.
func Create(key string, value []byte) Op {
	return Op{Action: ActionPut, Key: key, Value: value, Revision: Absent}
}

// Update writes an item that must be unchanged since a revision.
func Update(key string, value []byte, revision int64) Op {
	return Op{Action: ActionPut, Key: key, Value: value, Revision: revision}
}

// Put writes an item, whatever there is.
func Put(key string, value []byte) Op {
	return Op{Action: ActionPut, Key: key, Value: value, Revision: Any}
}

// Delete deletes an item that must be unchanged since a revision, or, with Any,
// whatever there is.
func Delete(key string, revision int64) Op {
	return Op{Action: ActionDelete, Key: key, Revision: revision}
}

// Expect changes nothing, but the commit fails unless the item is unchanged since
// a revision, or, with Absent, does not exist.
func Expect(key string, revision int64) Op {
	return Op{Action: ActionExpect, Key: key, Revision: revision}
}

// check returns ErrInvalid for an operation that no store takes.
func (o Op) check() error {
	if err := CheckKey(o.Key); err != nil {
		return err
	}
	switch {
	case len(o.Value) > MaxValue:
		return fmt.Errorf("%w value of %s: it has %d bytes; at most %d are kept", ErrInvalid, o.Key, len(o.Value), MaxValue)
	case o.Revision < Any,
		o.Action == ActionDelete && o.Revision == Absent,
		o.Action == ActionExpect && o.Revision == Any:
		return fmt.Errorf("%w condition on %s: revision %d", ErrInvalid, o.Key, o.Revision)
	case o.Action < ActionPut || o.Action > ActionExpect:
		return fmt.Errorf("%w operation on %s: action %d", ErrInvalid, o.Key, o.Action)
	}
	return nil
}

// CheckOps returns ErrInvalid for a commit that no store takes.
func CheckOps(ops []Op) error {
	if len(ops) == 0 || len(ops) > MaxOps {
		return fmt.Errorf("%w commit: it has %d operations; 1 to %d are possible", ErrInvalid, len(ops), MaxOps)
	}
	size := 0
	keys := make(map[string]struct{}, len(ops))
	for _, o := range ops {
		if err := o.check(); err != nil {
			return err
		}
		if _, twice := keys[o.Key]; twice {
			return fmt.Errorf("%w commit: %s occurs twice", ErrInvalid, o.Key)
		}
		keys[o.Key] = struct{}{}
		size += o.Size()
	}
	if size > MaxCommit {
		return fmt.Errorf("%w commit: it has %d bytes; at most %d are possible", ErrInvalid, size, MaxCommit)
	}
	return nil
}

// Size is what an operation adds towards MaxCommit.
func (o Op) Size() int { return len(o.Key) + len(o.Value) }

// Check returns ErrInvalid for a query that no store takes.
func (q Query) Check() error {
	if q.Limit < 1 || q.Limit > MaxPage {
		return fmt.Errorf("%w list: limit %d; 1 to %d are possible", ErrInvalid, q.Limit, MaxPage)
	}
	if q.After != "" {
		if err := CheckKey(q.After); err != nil {
			return err
		}
	}
	return CheckPrefix(q.Prefix)
}

// CheckPrefix returns ErrInvalid for what no key can start with.
func CheckPrefix(prefix string) error {
	if prefix == "" {
		return nil
	}
	return CheckKey(prefix)
}

// CheckWatch returns ErrInvalid for what no store can watch.
func CheckWatch(prefix string, after int64) error {
	if after < 0 {
		return fmt.Errorf("%w watch: revision %d", ErrInvalid, after)
	}
	return CheckPrefix(prefix)
}

// CheckKey returns ErrInvalid for what can't be a key: nothing, text that is too
// long, and text that could not be shown or kept in JSON as it is.
func CheckKey(key string) error {
	switch {
	case key == "":
		return fmt.Errorf("%w key: it is empty", ErrInvalid)
	case len(key) > MaxKey:
		return fmt.Errorf("%w key: it has %d bytes; at most %d are possible", ErrInvalid, len(key), MaxKey)
	case !utf8.ValidString(key) || strings.ContainsFunc(key, unicode.IsControl):
		return fmt.Errorf("%w key %q: it must be UTF-8 without control characters", ErrInvalid, key)
	}
	return nil
}
