package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/gateway/store"
)

func items() []row {
	return []row{
		{"a key that was never written is not found", func(_ *testing.T, f *fixture) {
			f.expect(map[string]string{"role/a": "-"})
		}},
		{"a value comes back as it was written", func(_ *testing.T, f *fixture) {
			all := make([]byte, 256)
			for i := range all {
				all[i] = byte(i)
			}
			f.commit(store.Put("role/bytes", all), store.Put("role/empty", nil), store.Put("rolé/ünï code", []byte("x")))
			f.expect(map[string]string{"role/bytes": string(all), "role/empty": "", "rolé/ünï code": "x"})
		}},
		{"an item has the revision of its last change", func(t *testing.T, f *fixture) {
			first := f.commit(store.Create("a", nil), store.Create("b", nil))
			second := f.commit(store.Put("a", []byte("2")))
			if first <= 0 || second <= first {
				t.Errorf("revision %d, then %d", first, second)
			}
			for key, want := range map[string]int64{"a": second, "b": first} {
				if item, err := f.Get(f.ctx(), key); err != nil || item.Revision != want {
					t.Errorf("%s: revision %d (%v), want %d", key, item.Revision, err, want)
				}
			}
		}},
		{"a deleted item is gone and can be created again", func(_ *testing.T, f *fixture) {
			r := f.commit(store.Create("a", []byte("1")))
			f.commit(store.Delete("a", r))
			f.expect(map[string]string{"a": "-"})
			f.commit(store.Create("a", []byte("2")))
			f.expect(map[string]string{"a": "2"})
		}},
		{"values belong to the caller", func(_ *testing.T, f *fixture) {
			value := []byte("kept")
			f.commit(store.Put("a", value))
			copy(value, "lost")
			item, err := f.Get(f.ctx(), "a")
			if err != nil {
				f.t.Fatal(err)
			}
			copy(item.Value, "lost")
			f.expect(map[string]string{"a": "kept"})
		}},
	}
}

func endings() []row {
	return []row{
		{"a context that has ended ends every call", func(_ *testing.T, f *fixture) {
			ctx, cancel := context.WithCancel(f.ctx())
			cancel()
			f.fails(ctx, context.Canceled)
			f.expect(map[string]string{"a": "-"})
		}},
		{"a closed store is not available", func(t *testing.T, f *fixture) {
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			f.fails(f.ctx(), store.ErrUnavailable)
		}},
	}
}

// fails expects every call to fail with an error.
func (f *fixture) fails(ctx context.Context, want error) {
	f.t.Helper()
	_, get := f.Get(ctx, "a")
	_, list := f.List(ctx, store.Query{Limit: 1})
	_, snapshot := f.Snapshot(ctx, "", func(store.Item) error { return nil })
	_, commit := f.Commit(ctx, store.Put("a", nil))
	var watch error
	for _, err := range f.Watch(ctx, "", 0) {
		watch = err
	}
	for call, err := range map[string]error{"get": get, "list": list, "snapshot": snapshot, "commit": commit, "watch": watch} {
		if !errors.Is(err, want) {
			f.t.Errorf("%s: error %v, want %v", call, err, want)
		}
	}
}

func bounds() []row {
	value := bytes.Repeat([]byte{0xff}, store.MaxValue)
	return []row{
		{"the longest key and the largest value are kept", func(_ *testing.T, f *fixture) {
			key := strings.Repeat("k", store.MaxKey)
			f.commit(store.Put(key, value))
			f.expect(map[string]string{key: string(value)})
		}},
		{"the largest commit is done", func(t *testing.T, f *fixture) {
			ops := make([]store.Op, store.MaxOps)
			for i := range ops {
				key := fmt.Sprintf("%04d", i)
				ops[i] = store.Create(key, value[:store.MaxCommit/store.MaxOps-len(key)])
			}
			f.commit(ops...)
			if got := len(f.keys("", store.MaxPage)); got != store.MaxOps {
				t.Errorf("%d items", got)
			}
		}},
		{"what is out of bounds is refused", func(_ *testing.T, f *fixture) {
			for _, key := range []string{"", strings.Repeat("k", store.MaxKey+1), "a\x00b", "a\nb", "\xff"} {
				f.refuse(store.ErrInvalid, store.Put(key, nil))
				f.refuse(store.ErrInvalid, store.Delete(key, store.Any))
				if _, err := f.Get(f.ctx(), key); !errors.Is(err, store.ErrInvalid) {
					f.t.Errorf("get %q: error %v", key, err)
				}
			}
			many := make([]store.Op, store.MaxOps+1)
			for i := range many {
				many[i] = store.Put(fmt.Sprintf("%04d", i), nil)
			}
			large := make([]store.Op, store.MaxCommit/store.MaxValue)
			for i := range large {
				large[i] = store.Put(fmt.Sprintf("%04d", i), value)
			}
			f.refuse(store.ErrInvalid, store.Put("a", append(value, 0)))
			f.refuse(store.ErrInvalid, many...)
			f.refuse(store.ErrInvalid, large...)
			f.refuse(store.ErrInvalid)
			f.refuse(store.ErrInvalid, store.Put("a", nil), store.Delete("a", store.Any))
			f.refuse(store.ErrInvalid, store.Update("a", nil, -2))
			f.refuse(store.ErrInvalid, store.Delete("a", store.Absent))
			f.refuse(store.ErrInvalid, store.Expect("a", store.Any))
			f.refuse(store.ErrInvalid, store.Op{Key: "a"})
			for _, q := range []store.Query{{}, {Limit: -1}, {Limit: store.MaxPage + 1}, {Limit: 1, Prefix: "\n"}, {Limit: 1, After: "\n"}} {
				if _, err := f.List(f.ctx(), q); !errors.Is(err, store.ErrInvalid) {
					f.t.Errorf("list %+v: error %v", q, err)
				}
			}
			if got := f.keys("", 1); len(got) > 0 {
				f.t.Errorf("there is %q", got)
			}
		}},
	}
}

func lists() []row {
	return []row{
		{"an empty store lists nothing", func(t *testing.T, f *fixture) {
			if got := f.keys("", 10); len(got) > 0 {
				t.Errorf("there is %q", got)
			}
		}},
		{"keys are in the order of their bytes, page by page", func(t *testing.T, f *fixture) {
			reversed := slices.Clone(tree())
			slices.Reverse(reversed)
			f.put(reversed...)
			for limit := 1; limit <= len(tree())+1; limit++ {
				if got := f.keys("", limit); !slices.Equal(got, tree()) {
					t.Errorf("pages of %d: %q", limit, got)
				}
			}
		}},
		{"a prefix selects what starts with it", selectPrefix},
		{"a page can start behind a key that is gone, or never was", func(t *testing.T, f *fixture) {
			f.put("a/1", "a/2", "a/3", "b")
			f.commit(store.Delete("a/2", store.Any))
			for after, want := range map[string][]string{"a/2": {"a/3"}, "a/25": {"a/3"}, "a": {"a/1", "a/3"}, "a/3": nil, "z": nil} {
				page, err := f.List(f.ctx(), store.Query{Prefix: "a/", After: after, Limit: 10})
				var got []string
				for _, item := range page.Items {
					got = append(got, item.Key)
				}
				if err != nil || page.Next != "" || !slices.Equal(got, want) {
					t.Errorf("behind %s: %q, next %q, %v", after, got, page.Next, err)
				}
			}
		}},
		{"a snapshot has a revision, and what is committed later is not in it", func(t *testing.T, f *fixture) {
			last := f.commit(store.Put("a", []byte("1")))
			content, revision := f.snapshot("")
			next := f.commit(store.Put("a", []byte("2")))
			if content["a"] != "1" || revision < last || revision >= next {
				t.Errorf("a is %q at revision %d; it was written at %d and %d", content["a"], revision, last, next)
			}
		}},
		{"a snapshot ends with the first error of its visitor", func(t *testing.T, f *fixture) {
			f.put("a", "b")
			enough := errors.New("enough")
			visited := 0
			_, err := f.Snapshot(f.ctx(), "", func(store.Item) error { visited++; return enough })
			if !errors.Is(err, enough) || visited != 1 {
				t.Errorf("%d items, error %v", visited, err)
			}
		}},
	}
}

// tree returns keys in the order of their bytes.
func tree() []string {
	return []string{"a", "a!", "a/1", "a/10", "a/2", "a/2/x", "a0", "b/1", "ä/1", "\U0010ffff"}
}

func selectPrefix(t *testing.T, f *fixture) {
	f.put(tree()...)
	for prefix, want := range map[string][]string{
		"a":          {"a", "a!", "a/1", "a/10", "a/2", "a/2/x", "a0"},
		"a/":         {"a/1", "a/10", "a/2", "a/2/x"},
		"a/1":        {"a/1", "a/10"},
		"c":          {},
		"ä/":         {"ä/1"},
		"\U0010ffff": {"\U0010ffff"},
	} {
		for limit := 1; limit <= 4; limit++ {
			if got := f.keys(prefix, limit); !slices.Equal(got, want) {
				t.Errorf("%q in pages of %d: %q", prefix, limit, got)
			}
		}
		content, _ := f.snapshot(prefix)
		if got := slices.Sorted(maps.Keys(content)); !slices.Equal(got, want) && len(want)+len(got) > 0 {
			t.Errorf("snapshot of %q: %q", prefix, got)
		}
	}
}
