package vault

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/gatepass/gatepass/gateway/access"
	"github.com/gatepass/gatepass/gateway/catalog"
)

// version is what is said of one version of an item. Versions are never
// deleted on their own here: an item goes with all of them.
type version struct {
	Created        time.Time          `json:"created_time"`
	CustomMetadata *map[string]string `json:"custom_metadata"`
	Deleted        string             `json:"deletion_time"`
	Destroyed      bool               `json:"destroyed"`
	Version        int                `json:"version,omitzero"`
}

// item is the path of the item that a request names.
func (c *call) item() string { return "/" + c.name }

// readItem is GET <mount>/data/<path>.
func (h *Handler) readItem(c *call) (*answer, error) {
	wanted := 0
	if text := c.URL.Query().Get("version"); text != "" {
		var err error
		if wanted, err = strconv.Atoi(text); err != nil || wanted < 0 {
			return nil, refuse(http.StatusBadRequest, "version must be a whole number, 0 for the latest")
		}
	}
	value, got, err := c.as.Value(c.Context(), c.item(), wanted)
	if err != nil {
		return nil, err
	}
	described, err := c.as.Item(c.Context(), c.item())
	if err != nil {
		return nil, err
	}
	shown, err := fieldsOf(value)
	if err != nil {
		return nil, err
	}
	return data(struct {
		Data     jsontext.Value `json:"data"`
		Metadata version        `json:"metadata"`
	}{shown, versionOf(&described, got)}), nil
}

func versionOf(i *catalog.Item, n int) version {
	v := version{Version: n, CustomMetadata: customMetadata(i)}
	if at := slices.IndexFunc(i.Versions, func(v catalog.Version) bool { return v.Number == n }); at >= 0 {
		v.Created = i.Versions[at].Created.UTC()
	}
	return v
}

// customMetadata is where clients of Vault find an item's description and tags. It
// is null if there are none.
func customMetadata(i *catalog.Item) *map[string]string {
	if i.Description == "" && len(i.Tags) == 0 {
		return nil
	}
	m := map[string]string{}
	if i.Description != "" {
		m["description"] = i.Description
	}
	if len(i.Tags) > 0 {
		m["tags"] = strings.Join(i.Tags, ",")
	}
	return &m
}

// writeItem is POST <mount>/data/<path>.
func (h *Handler) writeItem(c *call) (*answer, error) {
	var req struct {
		Data    jsontext.Value `json:"data"`
		Options struct {
			CAS *number `json:"cas"`
		} `json:"options"`
	}
	if err := c.decode(maxWriteBody, &req); err != nil {
		return nil, err
	}
	value, err := valueOf(req.Data)
	if err != nil {
		return nil, err
	}
	expect := -1
	if req.Options.CAS != nil {
		if expect = int(*req.Options.CAS); expect < 0 {
			return nil, refuse(http.StatusBadRequest, "cas must not be negative")
		}
	}
	// What the caller may do decides what is tried, so that the audit log has few
	// denials that nobody asked for: a new item of who may also update leaves one.
	may, err := c.as.Permissions(c.Context(), access.ItemRule, c.item())
	if err != nil {
		return nil, err
	}
	n, err := c.set(c.Context(), value, expect, may)
	if errors.Is(err, catalog.ErrExists) || (expect > 0 && errors.Is(err, catalog.ErrNotFound)) {
		return nil, refuse(http.StatusBadRequest, "check-and-set parameter did not match the current version")
	}
	if err != nil {
		return nil, err
	}
	written := version{Version: n, Created: time.Now().UTC()}
	if slices.Contains(may, access.Read) {
		// It is written: that it can't be described now is no failure.
		if described, err := c.as.Item(c.Context(), c.item()); err == nil {
			written = versionOf(&described, n)
		}
	}
	return data(written), nil
}

// set writes an item that may or may not exist; expect is -1 if that does not
// matter, and 0 if it must not exist.
func (c *call) set(ctx context.Context, value []byte, expect int, may []access.Capability) (int, error) {
	creates, updates := slices.Contains(may, access.Create), slices.Contains(may, access.Update)
	if expect != 0 && (updates || !creates) {
		n, err := c.as.SetValue(ctx, c.item(), value, expect)
		if !errors.Is(err, catalog.ErrNotFound) || expect > 0 || !creates {
			return n, err
		}
	}
	err := c.as.CreateItem(ctx, catalog.Item{Name: c.item()}, value)
	switch {
	case err == nil:
		return 1, nil
	case errors.Is(err, catalog.ErrExists) && expect < 0 && updates: // it was created in between
		return c.as.SetValue(ctx, c.item(), value, expect)
	case errors.Is(err, catalog.ErrExists) && expect < 0:
		return 0, catalog.ErrDenied
	}
	return 0, err
}

// metadata is what is said of an item.
type metadata struct {
	CASRequired        bool               `json:"cas_required"`
	Created            time.Time          `json:"created_time"`
	CurrentVersion     int                `json:"current_version"`
	CustomMetadata     *map[string]string `json:"custom_metadata"`
	DeleteVersionAfter string             `json:"delete_version_after"`
	MaxVersions        int                `json:"max_versions"`
	OldestVersion      int                `json:"oldest_version"`
	Updated            time.Time          `json:"updated_time"`
	Versions           map[string]version `json:"versions"`
}

// readMetadata is GET <mount>/metadata/<path>.
func (h *Handler) readMetadata(c *call) (*answer, error) {
	i, err := c.as.Item(c.Context(), c.item())
	if err != nil {
		return nil, err
	}
	m := metadata{
		Created:            i.Created.UTC(),
		CurrentVersion:     i.Latest(),
		CustomMetadata:     customMetadata(&i),
		DeleteVersionAfter: "0s",
		OldestVersion:      i.Versions[0].Number,
		Updated:            cmp.Or(i.Modified, i.Created).UTC(),
		Versions:           make(map[string]version, len(i.Versions)),
	}
	for _, v := range i.Versions {
		m.Versions[strconv.Itoa(v.Number)] = version{Created: v.Created.UTC()}
	}
	return data(m), nil
}

// deleteItem is DELETE <mount>/metadata/<path>: the item with all its versions. One
// that is not there is no error in Vault.
// DELETE <mount>/data/<path> would leave the other versions of it, so it is not
// taken for this.
func (h *Handler) deleteItem(c *call) (*answer, error) {
	if err := c.as.DeleteItem(c.Context(), c.item()); err != nil && !errors.Is(err, catalog.ErrNotFound) {
		return nil, err
	}
	return done(), nil
}

// keys is the answer to a list.
type keys struct {
	Keys []string `json:"keys"`
}

// listed is a list's answer. Vault says 404 of an empty one.
func listed(names []string) (*answer, error) {
	if len(names) == 0 {
		return nil, refuse(http.StatusNotFound)
	}
	slices.Sort(names)
	return data(keys{slices.Compact(names)}), nil
}

// listItems is LIST <mount>/metadata/<path>: what is directly in a folder.
// Folders have a slash at the end.
func (h *Handler) listItems(c *call) (*answer, error) {
	if err := h.take(c, Lists); err != nil {
		return nil, err
	}
	folder := "/" + strings.Trim(c.name, "/")
	inside := strings.TrimSuffix(folder, "/") + "/"
	var names []string
	page := catalog.Page{Limit: h.listPage}
	for {
		items, _, next, err := c.as.ListItems(c.Context(), folder, page)
		if err != nil {
			return nil, err
		}
		for i := range items {
			name, _, deeper := strings.Cut(strings.TrimPrefix(items[i].Name, inside), "/")
			if deeper {
				name += "/"
			}
			if len(names) == 0 || names[len(names)-1] != name {
				names = append(names, name)
			}
		}
		if next == "" {
			return listed(names)
		}
		page.After = next
		if last := names[len(names)-1]; strings.HasSuffix(last, "/") {
			// Nothing else of that folder is wanted. Names are in the order of their
			// bytes, and no UTF-8 has this one: it is after all names of the folder, and
			// before all others that come after those.
			page.After = inside + last + "\xff"
		}
	}
}

// soleField is the name of the field that a value of plain text is shown as.
const soleField = "value"

// fieldsOf shows a value as Vault's clients expect one: an object. It is the
// value itself if that is a JSON object, and {"value": text} of any other.
func fieldsOf(value []byte) (jsontext.Value, error) {
	if object, ok := objectOf(value); ok {
		return object, nil
	}
	text, err := jsontext.AppendQuote(nil, string(bytes.ToValidUTF8(value, []byte("�"))))
	if err != nil {
		return nil, err
	}
	return slices.Concat([]byte(`{"`+soleField+`":`), text, []byte("}")), nil
}

// objectOf is the JSON object that a value is.
func objectOf(value []byte) (jsontext.Value, bool) {
	object := jsontext.Value(bytes.TrimSpace(value))
	return object, object.Kind() == '{' && object.IsValid()
}

// valueOf is the other way round: what fieldsOf would show as the object. So
// the text of {"value": text} alone is kept as it is, unless it is an object
// itself.
func valueOf(fields jsontext.Value) ([]byte, error) {
	object, ok := objectOf(fields)
	if !ok {
		return nil, refuse(http.StatusBadRequest, "no data provided; send {\"data\": {…}} with an object")
	}
	var members map[string]jsontext.Value
	if err := decode(object, &members); err != nil {
		return nil, err
	}
	if sole, ok := members[soleField]; ok && len(members) == 1 && sole.Kind() == '"' {
		text, err := jsontext.AppendUnquote(nil, sole)
		if _, nested := objectOf(text); err == nil && !nested {
			return text, nil
		}
	}
	return object, nil
}
