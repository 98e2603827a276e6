package command

import (
	"context"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/gatepass/gatepass/gateway/catalog"
	v2 "github.com/gatepass/gatepass/gateway/v2"
)

const (
	// maxVersions is how many versions a negative version number gives at most,
	// as in the original API.
	maxVersions = 20
	// maxValues and maxValueBytes bound the answer of one /get-secret-value.
	maxValues     = 64
	maxValueBytes = 2 << 20
)

func createSecret(ctx context.Context, by *Session, r *v2.CreateSecret) (any, error) {
	if err := required("name", r.Name); err != nil {
		return nil, err
	}
	if r.Type != "" && r.Type != v2.SecretTypeGeneric {
		return nil, invalid("type", "only %s secrets are kept", v2.SecretTypeGeneric)
	}
	item := catalog.Item{Name: r.Name, Description: r.Description, Tags: slices.Clone(r.Tags)}
	set(&item.Description, r.Metadata)
	if r.Description != "" {
		item.Description = r.Description
	}
	value := []byte(r.Value)
	defer clear(value)
	if err := by.CreateItem(ctx, item, value); err != nil {
		return nil, err
	}
	return v2.Named{Name: slashed(r.Name)}, nil
}

func updateSecretValue(ctx context.Context, by *Session, r *v2.UpdateSecretValue) (any, error) {
	if err := required("name", r.Name); err != nil {
		return nil, err
	}
	expect := -1
	if last := r.LastVersion.Or(0); last > 0 && last < 1<<31 {
		expect = int(last)
	} else if last != 0 {
		return nil, invalid("last-version", "it is the number of a version, or 0 for any")
	}
	value := []byte(r.Value)
	defer clear(value)
	version, err := by.SetValue(ctx, r.Name, value, expect)
	if err != nil {
		return nil, err
	}
	return v2.UpdatedSecretValue{Name: slashed(r.Name), Version: version}, nil
}

func getSecretValue(ctx context.Context, by *Session, r *v2.GetSecretValue) (any, error) {
	switch n := r.Version.Or(0); {
	case len(r.Names) == 0:
		return nil, invalid("names", "it is empty")
	case len(r.Names) > maxValues:
		return nil, invalid("names", "it has more than %d names", maxValues)
	case n < -maxVersions || n >= 1<<31:
		return nil, invalid("version", "it is the number of a version, 0 for the latest, or down to -%d for the last ones", maxVersions)
	case n < 0:
		return lastValues(ctx, by, r.Names, int(-n))
	default:
		return oneValue(ctx, by, r.Names, int(n))
	}
}

func oneValue(ctx context.Context, by *Session, names []string, version int) (any, error) {
	values := make(map[string]string, len(names))
	total := 0
	for _, name := range names {
		value, err := readValue(ctx, by, name, version, &total)
		if err != nil {
			return nil, err
		}
		values[name] = value
	}
	return values, nil
}

// lastValues tells the last n versions, the latest first.
func lastValues(ctx context.Context, by *Session, names []string, n int) (any, error) {
	values := make(map[string][]v2.SecretVersion, len(names))
	total := 0
	for _, name := range names {
		item, err := by.Item(ctx, name)
		if err != nil {
			return nil, err
		}
		versions := item.Versions[max(0, len(item.Versions)-n):]
		told := make([]v2.SecretVersion, 0, len(versions))
		for _, v := range slices.Backward(versions) {
			value, err := readValue(ctx, by, name, v.Number, &total)
			if err != nil {
				return nil, err
			}
			told = append(told, v2.SecretVersion{Version: v.Number, Value: value})
		}
		values[name] = told
	}
	return values, nil
}

// readValue reads one version, and adds its size to total.
func readValue(ctx context.Context, by *Session, name string, version int, total *int) (string, error) {
	value, _, err := by.Value(ctx, name, version)
	if err != nil {
		return "", err
	}
	defer clear(value)
	if *total += len(value); *total > maxValueBytes {
		return "", invalid("names", "their values have more than %d bytes together; ask for fewer at a time", maxValueBytes)
	}
	if !utf8.Valid(value) {
		return "", invalid("names", "the value of %s is not text, which is all that this API can tell", name)
	}
	return string(value), nil
}

func describeItem(ctx context.Context, by *Session, r *v2.DescribeItem) (any, error) {
	if err := required("name", r.Name); err != nil {
		return nil, err
	}
	item, err := by.Item(ctx, r.Name)
	if err != nil {
		return nil, err
	}
	told := tellItem(&item)
	if r.ShowVersions.Or(false) {
		for _, v := range item.Versions {
			told.Versions = append(told.Versions, v2.ItemVersion{Version: v.Number, State: stateEnabled, Created: v.Created})
		}
	}
	return told, nil
}

// stateEnabled is the state of all versions.
const stateEnabled = "Enabled"

func listItems(ctx context.Context, by *Session, r *v2.ListItems) (any, error) {
	page, err := pageOf(&r.Paging)
	if err != nil {
		return nil, err
	}
	folder := folderOf(r.Path)
	items, folders, next, err := by.ListItems(ctx, folder, page)
	if err != nil {
		return nil, err
	}
	answer := v2.ItemList{Items: []v2.Item{}, Folders: folders, NextPage: next, HasNext: next != ""}
	for i := range items {
		item := &items[i]
		inside := !strings.Contains(strings.TrimPrefix(strings.TrimPrefix(item.Name, folder), "/"), "/")
		switch {
		case !strings.Contains(item.Name, r.Filter),
			r.Tag != "" && !slices.Contains(item.Tags, r.Tag),
			r.CurrentFolder.Or(false) && !inside,
			!wanted(r.Type, v2.ItemTypeStatic, "static-secret"):
			continue
		}
		told := tellItem(item)
		if r.MinimalView.Or(false) {
			told = v2.Item{Name: told.Name, Type: told.Type, LastVersion: told.LastVersion, IsEnabled: true}
		}
		answer.Items = append(answer.Items, told)
	}
	return answer, nil
}

// folderOf takes the slash off a folder's end, which most clients write. The
// root is "/".
func folderOf(path string) string {
	if path = strings.TrimSuffix(path, "/"); path == "" {
		return "/"
	}
	return slashed(path)
}

func updateItem(ctx context.Context, by *Session, r *v2.UpdateItem) (any, error) {
	if err := required("name", r.Name); err != nil {
		return nil, err
	}
	err := by.UpdateItem(ctx, r.Name, func(item *catalog.Item) error {
		set(&item.Name, r.NewName)
		item.Description = changed(item.Description, v2.UnsetMetadata, r.NewMetadata, r.Description)
		item.Tags = slices.DeleteFunc(item.Tags, func(tag string) bool { return slices.Contains(r.RmTag, tag) })
		for _, tag := range r.AddTag {
			if !slices.Contains(item.Tags, tag) {
				item.Tags = append(item.Tags, tag)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return v2.Updated{Updated: true}, nil
}

// changed is the last of the values that is set, and what there was if none is.
func changed(was, unset string, values ...*string) string {
	for _, v := range values {
		if v != nil && *v != unset {
			was = *v
		}
	}
	return was
}

func deleteItem(ctx context.Context, by *Session, r *v2.DeleteItem) (any, error) {
	if err := required("name", r.Name); err != nil {
		return nil, err
	}
	if r.Version.Or(-1) >= 0 {
		return nil, invalid("version", "single versions can't be deleted; leave it out to delete the item")
	}
	if err := by.DeleteItem(ctx, r.Name); err != nil {
		return nil, err
	}
	return v2.DeletedItem{Name: slashed(r.Name)}, nil
}

func tellItem(i *catalog.Item) v2.Item {
	return v2.Item{
		Name:        slashed(i.Name),
		Type:        v2.ItemTypeStatic,
		SubType:     v2.SecretTypeGeneric,
		Description: i.Description,
		Tags:        i.Tags,
		LastVersion: i.Latest(),
		IsEnabled:   true,
		Created:     i.Created,
		Modified:    i.Modified,
		FromFile:    i.FromFile,
	}
}

// slashed is the name of an item as it is told.
func slashed(name string) string {
	if strings.HasPrefix(name, "/") {
		return name
	}
	return "/" + name
}
