package gateway_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestItems(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.do("create-secret", fields{"name": "app/db", "value": "one", "metadata": "old word", "tags": "x"})
	for _, value := range []string{"two", "three", ""} {
		r.do("update-secret-val", fields{"name": "/app/db", "value": value})
	}
	for _, tt := range []struct {
		name    string
		version any
		want    any
	}{
		{"the latest, which is empty", 0, ""},
		{"the latest, by text that is empty", "", ""},
		{"one of them", 2, "two"},
		{"one of them, as text", "3", "three"},
		{"the last two", -2, []any{map[string]any{"version": 4.0, "value": ""}, map[string]any{"version": 3.0, "value": "three"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, name := range []string{"app/db", "/app/db"} {
				if got := r.do("get-secret-value", fields{"names": []string{name}, "version": tt.version}); !reflect.DeepEqual(got, map[string]any{name: tt.want}) {
					t.Errorf("%v", got)
				}
			}
		})
	}
	if got := r.do("get-secret-value", fields{"names": []string{"app/db", "/app/db"}, "version": 1}); len(got) != 2 || got["app/db"] != "one" {
		t.Errorf("two spellings of a name: %v", got)
	}
	if all, _ := r.do("get-secret-value", fields{"names": "app/db", "version": -20})["app/db"].([]any); len(all) != 4 {
		t.Errorf("more versions than there are: %v", all)
	}
	large := strings.Repeat("\n\"", 30<<10)
	r.do("create-secret", fields{"name": "large", "value": large})
	if got := r.do("get-secret-value", fields{"names": "large"}); got["large"] != large {
		t.Error("a large value is not the same")
	}
	for _, tt := range []struct {
		command string
		f       fields
		status  int
		text    string
	}{
		{"create-secret", fields{"value": "v"}, 400, "name: it is missing"},
		{"create-secret", fields{"name": "app/db", "value": "v"}, 409, "already exists"},
		{"create-secret", fields{"name": "app/*", "value": "v"}, 400, "* + { }"},
		{"create-secret", fields{"name": "x", "value": "v", "type": "password"}, 400, "only generic"},
		{"create-secret", fields{"name": "x", "value": strings.Repeat("x", 70<<10)}, 400, "at most"},
		{"update-secret-val", fields{"name": "app/db", "value": "v", "last-version": 2}, 409, "version 4 already exists"},
		{"update-secret-val", fields{"name": "app/db", "value": "v", "last-version": -1}, 400, "last-version"},
		{"get-secret-value", fields{"names": []string{}}, 400, "names: it is empty"},
		{"get-secret-value", fields{"names": slices.Repeat([]string{"app/db"}, 65)}, 400, "more than 64"},
		{"get-secret-value", fields{"names": slices.Repeat([]string{"large"}, 64)}, 400, "together"},
		{"get-secret-value", fields{"names": "app/db", "version": 5}, 404, "version 5"},
		{"get-secret-value", fields{"names": "app/db", "version": -21}, 400, "down to -20"},
		{"get-secret-value", fields{"names": []string{"app/db", "missing"}}, 404, "/missing"},
		{"delete-item", fields{"name": "app/db", "version": 1}, 400, "single versions"},
	} {
		r.refused(tt.command, tt.f, tt.status, tt.text)
	}
	t.Run("an update leaves what SDKs mean to leave", func(t *testing.T) {
		r.do("update-item", fields{"name": "app/db", "description": "default_metadata", "new-metadata": "default_metadata", "add-tag": []string{"x", "y"}})
		if got := r.do("describe-item", fields{"name": "app/db"}); got["item_metadata"] != "old word" || !reflect.DeepEqual(got["item_tags"], []any{"x", "y"}) {
			t.Errorf("%v", got)
		}
		r.do("update-item", fields{"name": "app/db", "description": "", "rm-tag": "x", "new-name": "app/new"})
		if got := r.do("describe-item", fields{"name": "/app/new"}); got["item_metadata"] != nil || !reflect.DeepEqual(got["item_tags"], []any{"y"}) || got["last_version"] != 4.0 {
			t.Errorf("%v", got)
		}
	})
}

func TestLists(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	const items = 1050 // more than a page
	for i := range items {
		r.do("create-secret", fields{"name": fmt.Sprintf("many/%d/item-%04d", i%3, i), "value": "v", "tags": []string{fmt.Sprintf("tag-%d", i%2)}})
	}
	names := func(answer map[string]any) []string {
		var found []string
		list, _ := answer["items"].([]any)
		for _, item := range list {
			object, _ := item.(map[string]any)
			found = append(found, fmt.Sprint(object["item_name"]))
		}
		return found
	}
	for _, tt := range []struct {
		name string
		f    fields
		want int
	}{
		{"all, for who does not ask for pages", fields{}, items},
		{"all, as SDKs ask", fields{"auto-pagination": "enabled", "accessibility": "regular", "json": false, "path": "", "filter": "", "tag": ""}, items},
		{"a folder", fields{"path": "/many/1/"}, 350},
		{"a folder, written otherwise", fields{"path": "many/1"}, 350},
		{"a folder's part", fields{"path": "/many/1/item"}, 0},
		{"the folder's own items", fields{"path": "/many", "current-folder": true}, 0},
		{"a tag", fields{"tag": "tag-1"}, items / 2},
		{"a part of the name", fields{"filter": "item-000"}, 10},
		{"a type", fields{"type": []string{"static-secret"}}, items},
		{"another type", fields{"type": "dynamic-secret"}, 0},
		{"the first page", fields{"auto-pagination": "disabled"}, 1000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := r.do("list-items", tt.f)
			if found := names(got); len(found) != tt.want || !slices.IsSorted(found) || (got["next_page"] != nil) != (tt.want == 1000) || got["has_next"] != (tt.want == 1000) {
				t.Errorf("%d items, next page %v, has_next %v", len(found), got["next_page"], got["has_next"])
			}
		})
	}
	t.Run("pages add up", func(t *testing.T) {
		var found []string
		f := fields{"auto-pagination": "disabled"}
		for {
			answer := r.do("list-items", f)
			found = append(found, names(answer)...)
			if answer["next_page"] == nil {
				break
			}
			f["pagination-token"] = answer["next_page"]
		}
		slices.Sort(found)
		if n := len(slices.Compact(found)); n != items {
			t.Errorf("%d items", n)
		}
	})
	t.Run("who may list a part sees that part", func(t *testing.T) {
		token := r.somebody("reader", fields{"path": "/many/2/*", "capability": "list"})
		_, answer := r.as(token, "list-items", fields{"path": "/"})
		if got := names(answer); len(got) != 350 || !reflect.DeepEqual(answer["folders"], []any{"/many"}) {
			t.Errorf("%d items, folders %v", len(got), answer["folders"])
		}
	})
}
