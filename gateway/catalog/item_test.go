package catalog

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/gateway/store"
)

func TestVersions(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	r.must(r.admin.CreateItem(ctx, Item{Name: "a/b", Description: "d", Tags: []string{"x"}}, []byte("1")))
	for n := 2; n <= MaxVersions+3; n++ {
		version, err := r.admin.SetValue(ctx, "a/b", fmt.Append(nil, n), -1)
		if err != nil || version != n {
			t.Fatalf("version %d: %d, %v", n, version, err)
		}
	}
	i, err := r.admin.Item(ctx, "/a/b")
	if err != nil || i.Name != "/a/b" || i.Latest() != MaxVersions+3 || len(i.Versions) != MaxVersions || i.Versions[0].Number != 4 {
		t.Fatalf("item %+v, %v", i, err)
	}
	for version, want := range map[int]string{0: "103", 103: "103", -1: "102", 4: "4", -99: "4", 3: "", -100: "", 104: ""} {
		value, _, err := r.admin.Value(ctx, "a/b", version)
		if string(value) != want || (want == "") != errors.Is(err, ErrNotFound) {
			t.Errorf("version %d: %q, %v; want %q", version, value, err, want)
		}
	}
	r.must(r.admin.UpdateItem(ctx, "a/b", anewItem("c", "new", []string{"y"})))
	if _, err := r.admin.Item(ctx, "a/b"); !errors.Is(err, ErrNotFound) {
		t.Errorf("the old name: %v", err)
	}
	if value, n, err := r.admin.Value(ctx, "c", 50); string(value) != "50" || n != 50 || err != nil {
		t.Errorf("a version under the new name: %q, %v", value, err)
	}
	r.must(r.admin.DeleteItem(ctx, "c"))
	page, err := r.options.Store.List(ctx, store.Query{Prefix: valuePrefix, Limit: store.MaxPage})
	if err != nil || len(page.Items) != 0 {
		t.Errorf("%d values are left of a deleted item, %v", len(page.Items), err)
	}
	r.must(r.admin.CreateItem(ctx, Item{Name: "c"}, []byte("again")))
	if value, n, err := r.admin.Value(ctx, "c", 0); string(value) != "again" || n != 1 || err != nil {
		t.Errorf("an item made anew: %q, version %d, %v", value, n, err)
	}
}

func TestCheckAndSet(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	r.must(r.admin.CreateItem(ctx, Item{Name: "a"}, nil))
	for _, tt := range []struct {
		expect, version int
		err             error
	}{{0, 0, ErrExists}, {1, 2, nil}, {1, 0, ErrExists}, {3, 0, ErrExists}, {2, 3, nil}, {-1, 4, nil}} {
		if version, err := r.admin.SetValue(ctx, "a", nil, tt.expect); version != tt.version || !errors.Is(err, tt.err) {
			t.Errorf("expecting %d: %d, %v", tt.expect, version, err)
		}
	}
}

func TestBoundsOfItems(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	long := strings.Repeat("é", 2000)
	for name, err := range map[string]error{
		"the longest value":      r.admin.CreateItem(ctx, Item{Name: "largest"}, make([]byte, MaxItemValue)),
		"the longest name":       r.admin.CreateItem(ctx, Item{Name: strings.Repeat("n", maxName)}, nil),
		"many tags":              r.admin.CreateItem(ctx, Item{Name: "tags", Tags: slices.Repeat([]string{strings.Repeat("t", maxTag)}, maxTags)}, nil),
		"a value with all bytes": r.admin.CreateItem(ctx, Item{Name: "bytes"}, []byte{0, 255, '\n'}),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, err := range map[string]error{
		"a value that is too long":       r.admin.CreateItem(ctx, Item{Name: "a"}, make([]byte, MaxItemValue+1)),
		"a name that is too long":        r.admin.CreateItem(ctx, Item{Name: strings.Repeat("n", maxName+1)}, nil),
		"a description that is too long": r.admin.CreateItem(ctx, Item{Name: "a", Description: long + long}, nil),
		"too many tags":                  r.admin.CreateItem(ctx, Item{Name: "a", Tags: slices.Repeat([]string{"t"}, maxTags+1)}, nil),
		"a tag that is empty":            r.admin.CreateItem(ctx, Item{Name: "a", Tags: []string{""}}, nil),
		"a new name with a wildcard":     r.admin.UpdateItem(ctx, "tags", anewItem("a*", "", nil)),
	} {
		if !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := r.admin.UpdateItem(ctx, "tags", anewItem("bytes", "", nil)); !errors.Is(err, ErrExists) {
		t.Errorf("a new name that is taken: %v", err)
	}
}

func TestPages(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	for n := range 25 {
		r.must(r.admin.CreateItem(ctx, Item{Name: fmt.Sprintf("f/%c/%02d", 'a'+n%3, n)}, nil))
	}
	r.must(r.admin.CreateItem(ctx, Item{Name: "fa"}, nil))
	whole, folders, next, err := r.admin.ListItems(ctx, "/f/", Page{})
	if err != nil || len(whole) != 25 || next != "" || fmt.Sprint(folders) != "[/f/a /f/b /f/c]" {
		t.Fatalf("%d items, folders %v, next %q, %v", len(whole), folders, next, err)
	}
	var names []string
	p := Page{Limit: 4}
	for {
		items, _, next, err := r.admin.ListItems(ctx, "f", p)
		if err != nil || len(items) > 4 {
			t.Fatal(len(items), err)
		}
		for _, i := range items {
			names = append(names, i.Name)
		}
		if p.After = next; next == "" {
			break
		}
	}
	if len(names) != 25 || !slices.IsSorted(names) {
		t.Errorf("the pages have %v", names)
	}
	if _, _, _, err := r.admin.ListItems(ctx, "a//b", Page{}); !errors.Is(err, ErrInvalid) {
		t.Errorf("a path that is none: %v", err)
	}
}

func TestValuesAreSealedAndCached(t *testing.T) {
	t.Parallel()
	database := openStore(t, t.TempDir())
	sealer := newSealer(t)
	c, stop := start(t, Options{Store: database, Seal: sealer, Audit: &ledger{}, CacheSize: 1000})
	defer stop()
	made, err := c.Bootstrap(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	admin := c.As(Caller{AccessID: made.AccessID})
	ctx := t.Context()
	for n := range 10 {
		if err := admin.CreateItem(ctx, Item{Name: strconv.Itoa(n)}, []byte("needle in a haystack")); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 20 {
		if value, _, err := admin.Value(ctx, strconv.Itoa(n%10), 0); err != nil || string(value) != "needle in a haystack" {
			t.Fatalf("%q, %v", value, err)
		}
	}
	if c.values.room < 0 || c.values.recent.Len() == 0 || c.values.recent.Len() > 5 || len(c.values.byKey) != c.values.recent.Len() {
		t.Errorf("the cache has %d values and %d bytes of room", c.values.recent.Len(), c.values.room)
	}
	_, err = database.Snapshot(ctx, "", func(i store.Item) error {
		if strings.Contains(string(i.Value), "needle") || strings.Contains(string(i.Value), "PRIVATE") || strings.Contains(string(i.Value), made.AccessKey) {
			return fmt.Errorf("%s holds a secret as it is", i.Key)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestCachedValuesOutliveTheirKey(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	r.must(r.admin.CreateItem(ctx, Item{Name: "a"}, []byte("value")))
	if _, _, err := r.admin.Value(ctx, "a", 0); err != nil {
		t.Fatal(err)
	}
	other := newSealer(t)
	key := valueKey(mustItem(t, r, "a").id, 1)
	sealed, err := other.Seal(key, []byte("value"))
	r.must(err)
	revision, err := r.options.Store.Commit(ctx, store.Put(key, sealed))
	r.must(err)
	r.await(ctx, revision)
	r.options.Seal = other
	if value, _, err := r.admin.Value(ctx, "a", 0); err != nil || string(value) != "value" {
		t.Errorf("a value that was sealed anew: %q, %v", value, err)
	}
	r.values.drop(key)
	r.options.Seal = newSealer(t)
	if _, _, err := r.admin.Value(ctx, "a", 0); !errors.Is(err, ErrUnopened) {
		t.Errorf("without its key: %v", err)
	}
}

func mustItem(t *testing.T, r *rig, name string) *item {
	t.Helper()
	i, ok := r.View().items.get(name)
	if !ok {
		t.Fatalf("no item %s", name)
	}
	return i
}
