package catalog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatepass/gatepass/gateway/access"
	"github.com/gatepass/gatepass/gateway/seal"
	"github.com/gatepass/gatepass/gateway/store"
)

// Bounds of items.
const (
	// MaxVersions is how many versions of an item are kept: a new one takes the
	// place of the oldest. An item and all its versions fit one commit.
	MaxVersions = 100
	// MaxItemValue is how many bytes a value has at most.
	MaxItemValue = seal.MaxValue

	maxDescription = 4096
	maxTags        = 64
	maxTag         = 256
)

// CreateItem implements Accessor.
func (a *accessor) CreateItem(ctx context.Context, i Item, value []byte) error {
	r := a.begin("item-create", i.Name)
	return r.change(ctx, func(_ context.Context, s sight) ([]store.Op, error) {
		t, err := named(access.ItemRule, i.Name)
		if err != nil {
			return nil, err
		}
		if err := s.mayCreate(t, s.items.has(t.path.Name())); err != nil {
			return nil, err
		}
		if err := checkText(i.Description, i.Tags); err != nil {
			return nil, err
		}
		if err := checkValue(value); err != nil {
			return nil, err
		}
		now := time.Now().UnixMilli()
		made := &item{
			name: t.path.Name(), id: newID(), description: i.Description, tags: i.Tags,
			versions: []int64{now}, first: 1, created: now, modified: now,
		}
		record, err := encode(made.record())
		if err != nil {
			return nil, err
		}
		sealed, err := a.sealed(valueKey(made.id, 1), value)
		if err != nil {
			return nil, err
		}
		r.event.Version = 1
		return []store.Op{store.Create(made.key(), record), sealed}, nil
	})
}

// SetValue implements Accessor.
func (a *accessor) SetValue(ctx context.Context, name string, value []byte, expect int) (version int, err error) {
	r := a.begin("value-write", name)
	err = r.change(ctx, func(_ context.Context, s sight) ([]store.Op, error) {
		old, err := s.itemFor(access.Update, name)
		if err != nil {
			return nil, err
		}
		if expect >= 0 && expect != old.latest() {
			return nil, fmt.Errorf("item /%s: version %d %w", old.name, old.latest(), ErrExists)
		}
		if err := checkValue(value); err != nil {
			return nil, err
		}
		next := *old
		next.modified = time.Now().UnixMilli()
		next.versions = append(slices.Clone(old.versions), next.modified)
		var ops []store.Op
		for len(next.versions) > MaxVersions {
			ops = append(ops, store.Delete(valueKey(next.id, next.first), store.Any))
			next.first++
			next.versions = next.versions[1:]
		}
		version = next.latest()
		r.event.Version = version
		record, err := encode(next.record())
		if err != nil {
			return nil, err
		}
		sealed, err := a.sealed(valueKey(next.id, version), value)
		if err != nil {
			return nil, err
		}
		return append(ops, store.Update(next.key(), record, old.revision), sealed), nil
	})
	if err != nil {
		return 0, err
	}
	return version, nil
}

// UpdateItem implements Accessor. A new name takes what reading and deleting the item take.
func (a *accessor) UpdateItem(ctx context.Context, name string, change func(*Item) error) error {
	r := a.begin("item-update", name)
	return r.change(ctx, func(_ context.Context, s sight) ([]store.Op, error) {
		old, err := s.itemFor(access.Update, name)
		if err != nil {
			return nil, err
		}
		wanted := old.tell()
		if err := change(&wanted); err != nil {
			return nil, err
		}
		if err := checkText(wanted.Description, wanted.Tags); err != nil {
			return nil, err
		}
		t, err := named(access.ItemRule, wanted.Name)
		if err != nil {
			return nil, err
		}
		next := *old
		next.name = t.path.Name()
		next.description, next.tags, next.modified = wanted.Description, slices.Clone(wanted.Tags), time.Now().UnixMilli()
		if next.name != old.name {
			r.event.NewName = wanted.Name
			from, err := named(access.ItemRule, old.name)
			if err != nil {
				return nil, err
			}
			if err := s.mayMove(from, t, s.items.has(next.name)); err != nil {
				return nil, err
			}
		}
		record, err := encode(next.record())
		if err != nil {
			return nil, err
		}
		return moved(old.key(), old.revision, next.key(), record), nil
	})
}

// DeleteItem implements Accessor. All versions go with it.
func (a *accessor) DeleteItem(ctx context.Context, name string) error {
	return a.begin("item-delete", name).change(ctx, func(_ context.Context, s sight) ([]store.Op, error) {
		old, err := s.itemFor(access.Delete, name)
		if err != nil {
			return nil, err
		}
		ops := []store.Op{store.Delete(old.key(), old.revision)}
		for n := range old.versions {
			ops = append(ops, store.Delete(valueKey(old.id, old.first+n), store.Any))
		}
		return ops, nil
	})
}

// Item implements Accessor.
func (a *accessor) Item(_ context.Context, name string) (told Item, err error) {
	err = a.begin("item-read", name).read(func(s sight) error {
		found, err := s.itemFor(access.Read, name)
		if err == nil {
			told = found.tell()
		}
		return err
	})
	if err != nil {
		return Item{}, err
	}
	return told, nil
}

// Value implements Accessor.
func (a *accessor) Value(ctx context.Context, name string, version int) (value []byte, number int, err error) {
	ctx, cancel := context.WithTimeout(ctx, operationTimeout)
	defer cancel()
	r := a.begin("value-read", name)
	err = r.read(func(s sight) error {
		value, number, err = a.value(ctx, s, name, version)
		for errors.Is(err, store.ErrNotFound) && ctx.Err() == nil {
			// Deleted or moved on since the view was made, which will show it.
			a.overtaken(ctx, s.View)
			s = a.sight(a.caller)
			value, number, err = a.value(ctx, s, name, version)
		}
		r.event.Version = number
		return r.outage(err)
	})
	if err != nil {
		clear(value)
		return nil, 0, err
	}
	return value, number, nil
}

// value reads a version. The error wraps store.ErrNotFound if the view is behind.
func (a *accessor) value(ctx context.Context, s sight, name string, version int) ([]byte, int, error) {
	found, err := s.itemFor(access.Read, name)
	if err != nil {
		return nil, 0, err
	}
	number := version
	if version <= 0 {
		number = found.latest() + version
	}
	if number < found.first || number > found.latest() {
		return nil, 0, fmt.Errorf("item /%s: version %d: %w", found.name, version, ErrNotFound)
	}
	value, err := a.open(ctx, valueKey(found.id, number))
	return value, number, err
}

// ListItems implements Accessor. An item is listed wherever it is below the path;
// folders are those directly below the path that hold items of the page.
func (a *accessor) ListItems(_ context.Context, path string, p Page) (items []Item, folders []string, next string, err error) {
	r := a.begin("item-list", path)
	err = r.read(func(s sight) error {
		below, err := folderPrefix(path)
		if err != nil {
			return err
		}
		after := strings.TrimPrefix(p.After, "/")
		for name, i := range s.items.from(max(below, after)) {
			if !strings.HasPrefix(name, below) {
				break
			}
			if name == after || !s.mayListName(access.ItemRule, name) {
				continue
			}
			if p.Limit > 0 && len(items) == p.Limit {
				next = items[len(items)-1].Name
				break
			}
			items = append(items, s.listItem(i))
			if folder, _, deeper := strings.Cut(name[len(below):], "/"); deeper {
				folder = "/" + below + folder
				if len(folders) == 0 || folders[len(folders)-1] != folder {
					folders = append(folders, folder)
				}
			}
		}
		slices.Sort(folders)
		folders = slices.Compact(folders)
		r.event.Count = len(items)
		return nil
	})
	if err != nil {
		return nil, nil, "", err
	}
	return items, folders, next, nil
}

// listItem is what a list tells of an item: of one that the caller may not read, the name
// and the number of the latest version.
func (s sight) listItem(i *item) Item {
	if s.mayRead(access.ItemRule, i.name) {
		return i.tell()
	}
	return Item{Name: "/" + i.name, Versions: []Version{{Number: i.latest()}}}
}

// folderPrefix is what the names below a path start with.
func folderPrefix(path string) (string, error) {
	path = strings.TrimSuffix(strings.TrimPrefix(path, "/"), "/")
	if path == "" {
		return "", nil
	}
	t, err := named(access.ItemRule, path)
	if err != nil {
		return "", err
	}
	return t.path.Name() + "/", nil
}

// itemFor returns an item that the caller has a capability on.
func (s sight) itemFor(do access.Capability, name string) (*item, error) {
	t, err := named(access.ItemRule, name)
	if err != nil {
		return nil, err
	}
	found, ok := s.items.get(t.path.Name())
	if err := s.may(do, t, ok); err != nil {
		return nil, err
	}
	return found, nil
}

// sealed writes a secret.
func (a *accessor) sealed(key string, value []byte) (store.Op, error) {
	sealed, err := a.options.Seal.Seal(key, value)
	if err != nil {
		return store.Op{}, fmt.Errorf("seal a value: %w", err)
	}
	return store.Create(key, sealed), nil
}

// moved writes a record whose name may have changed.
func moved(oldKey string, revision int64, key string, record []byte) []store.Op {
	if key == oldKey {
		return []store.Op{store.Update(key, record, revision)}
	}
	return []store.Op{store.Delete(oldKey, revision), store.Create(key, record)}
}

func checkValue(value []byte) error {
	if len(value) > MaxItemValue {
		return invalid("the value has %d bytes; at most %d are kept", len(value), MaxItemValue)
	}
	return nil
}
