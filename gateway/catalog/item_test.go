package catalog

import (
	"testing"
)

func TestSmoke(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	r.must(r.admin.CreateItem(ctx, Item{Name: "/a/b", Tags: []string{"x"}}, []byte("secret")))
	v, n, err := r.admin.Value(ctx, "a/b", 0)
	if err != nil || string(v) != "secret" || n != 1 {
		t.Fatal(string(v), n, err)
	}
	n, err = r.admin.SetValue(ctx, "a/b", []byte("two"), -1)
	if err != nil || n != 2 {
		t.Fatal(n, err)
	}
	r.must(r.admin.UpdateItem(ctx, "/a/b", "/c", "d", nil))
	v, n, err = r.admin.Value(ctx, "/c", -1)
	if err != nil || string(v) != "secret" || n != 1 {
		t.Fatal(string(v), n, err)
	}
	r.must(r.admin.DeleteItem(ctx, "c"))
}
