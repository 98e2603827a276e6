package seal

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/gatepass/gatepass/gateway/store"
)

// Usage is how many values of a store are sealed under each key, by its id.
type Usage map[string]int

// Survey counts what each key has sealed. It opens nothing.
func Survey(ctx context.Context, s store.Store) (Usage, error) {
	usage := Usage{}
	err := walk(ctx, s, func(items []store.Item) error {
		for _, item := range items {
			id, _, _, err := split(item.Value)
			if err != nil {
				return fmt.Errorf("%s: %w", item.Key, err)
			}
			usage[id]++
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("survey the sealed values: %w", err)
	}
	return usage, nil
}

// Check returns ErrMissingKey if the key file lacks a key that is in use, and
// names all of them.
func (s *Sealer) Check(usage Usage) error {
	keys := s.keys.Load()
	var errs []error
	for _, id := range slices.Sorted(maps.Keys(usage)) {
		if keys.find(id) == nil {
			errs = append(errs, fmt.Errorf("%w: %d values are sealed under %s; put its line back into %s", ErrMissingKey, usage[id], id, s.File))
		}
	}
	return errors.Join(errs...)
}

// maxPasses bounds how often Reseal goes through the store. After the first pass
// there is something left only if others sealed under an older key meanwhile.
const maxPasses = 3

// Reseal seals every value anew that is sealed under another key than the one that
// seals now, and returns how many. The store is in use meanwhile: a value that
// somebody changes is theirs. It can be broken off and begun again, and several
// gateways may do it at once. A value that can't be opened is left, and reported
// when the others are done.
func (s *Sealer) Reseal(ctx context.Context, st store.Store) (resealed int, err error) {
	for range maxPasses {
		r := resealing{sealer: s, store: st, id: s.Current()}
		err := walk(ctx, st, func(items []store.Item) error { return r.page(ctx, items) })
		resealed += r.done
		if err := errors.Join(err, r.report()); err != nil {
			return resealed, fmt.Errorf("seal all values under the key %s: %w", r.id, err)
		}
		if r.done == 0 && r.lost == 0 {
			return resealed, nil
		}
	}
	return resealed, errors.New("values under older keys still appear: not every gateway seals with the new key yet; try again later")
}

// resealing is one pass.
type resealing struct {
	sealer *Sealer
	store  store.Store
	id     string // of the key that seals
	done   int
	lost   int // changed by others meanwhile
	failed []error
	broken int
}

// maxReported is how many values that can't be opened are named.
const maxReported = 10

// page seals the values of a page anew, in as few commits as possible.
func (r *resealing) page(ctx context.Context, items []store.Item) error {
	var ops []store.Op
	size := 0
	for _, item := range items {
		op, err := r.renew(item)
		if err != nil {
			r.fail(err)
			continue
		}
		if op.Key == "" {
			continue
		}
		if len(ops) == store.MaxOps || size+op.Size() > store.MaxCommit {
			if err := r.commit(ctx, ops); err != nil {
				return err
			}
			ops, size = nil, 0
		}
		ops = append(ops, op)
		size += op.Size()
	}
	return r.commit(ctx, ops)
}

// renew returns the operation that seals an item anew, or none if it need not be.
func (r *resealing) renew(item store.Item) (store.Op, error) {
	id, _, _, err := split(item.Value)
	if err != nil {
		return store.Op{}, fmt.Errorf("%s: %w", item.Key, err)
	}
	if id == r.id {
		return store.Op{}, nil
	}
	value, err := r.sealer.Open(item.Key, item.Value)
	if err != nil {
		return store.Op{}, err
	}
	defer clear(value)
	sealed, err := r.sealer.Seal(item.Key, value)
	if err != nil {
		return store.Op{}, err
	}
	return store.Update(item.Key, sealed, item.Revision), nil
}

// commit writes values, one by one if somebody has changed one of them: what was
// changed is left to the next pass.
func (r *resealing) commit(ctx context.Context, ops []store.Op) error {
	if len(ops) == 0 {
		return nil
	}
	_, err := r.store.Commit(ctx, ops...)
	switch {
	case err == nil:
		r.done += len(ops)
	case !errors.Is(err, store.ErrConflict):
		return err
	case len(ops) == 1:
		r.lost++
	default:
		for _, op := range ops {
			if err := r.commit(ctx, []store.Op{op}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *resealing) fail(err error) {
	r.broken++
	if len(r.failed) < maxReported {
		r.failed = append(r.failed, err)
	}
}

func (r *resealing) report() error {
	if r.broken == 0 {
		return nil
	}
	return fmt.Errorf("%d values can't be opened and are left as they are, among them: %w", r.broken, errors.Join(r.failed...))
}

// walkPage bounds the memory of a walk: 64 KiB times this.
const walkPage = 100

// walk goes through the sealed records, page by page.
func walk(ctx context.Context, s store.Store, visit func([]store.Item) error) error {
	q := store.Query{Prefix: Prefix, Limit: walkPage}
	for {
		page, err := s.List(ctx, q)
		if err != nil {
			return err
		}
		if err := visit(page.Items); err != nil {
			return err
		}
		if q.After = page.Next; q.After == "" {
			return nil
		}
	}
}
