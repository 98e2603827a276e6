package v2

import "time"

// CreateSecret is /create-secret.
type CreateSecret struct {
	Credentials
	Name        string  `json:"name"`
	Value       string  `json:"value"`
	Description string  `json:"description,omitempty"`
	Metadata    string  `json:"metadata,omitempty"` // older clients' word for the description
	Tags        Strings `json:"tags,omitzero"`
	// Type is generic; the other kinds of static secrets are refused.
	Type string `json:"type,omitempty"`
}

// SecretTypeGeneric is the one kind of static secret there is.
const SecretTypeGeneric = "generic"

// UpdateSecretValue is /update-secret-val: it adds a version.
type UpdateSecretValue struct {
	Credentials
	Name  string `json:"name"`
	Value string `json:"value"`
	// LastVersion, if set and not 0, is the version that the caller knows as the
	// latest; if it is not the latest any more, nothing changes.
	LastVersion Int `json:"last-version,omitzero"`
}

// UpdatedSecretValue is its answer.
type UpdatedSecretValue struct {
	Name    string `json:"name"`
	Version int    `json:"version"`
}

// GetSecretValue is /get-secret-value. Its answer is a JSON object with the
// requested names, as they were written, and their values: text, or, if Version
// is negative, lists of SecretVersion.
type GetSecretValue struct {
	Credentials
	Names Strings `json:"names"`
	// Version is a number, 0 for the latest; -N gives the last N versions, 20 at
	// most.
	Version Int `json:"version,omitzero"`
}

// SecretVersion is one version of a value.
type SecretVersion struct {
	Version int    `json:"version"`
	Value   string `json:"value"`
}

// DescribeItem is /describe-item.
type DescribeItem struct {
	Credentials
	Name         string `json:"name"`
	ShowVersions Bool   `json:"show-versions,omitzero"`
}

// ListItems is /list-items.
type ListItems struct {
	Credentials
	Paging
	// Path is a folder; everything below it is listed, unless CurrentFolder.
	Path          string `json:"path,omitempty"`
	CurrentFolder Bool   `json:"current-folder,omitzero"`
	Tag           string `json:"tag,omitempty"`
	// Type holds types that are wanted, static-secret or STATIC_SECRET; none is
	// all.
	Type Strings `json:"type,omitzero"`
	// MinimalView leaves descriptions, tags and dates out.
	MinimalView Bool `json:"minimal-view,omitzero"`
}

// ItemList is its answer.
type ItemList struct {
	Items    []Item   `json:"items"`
	Folders  []string `json:"folders"`
	NextPage string   `json:"next_page,omitempty"`
	HasNext  bool     `json:"has_next"`
}

// Item is a static secret without its value.
type Item struct {
	Name string `json:"item_name"`
	// Type is ItemTypeStatic.
	Type        string        `json:"item_type"`
	SubType     string        `json:"item_sub_type,omitempty"`
	Description string        `json:"item_metadata,omitempty"`
	Tags        []string      `json:"item_tags,omitempty"`
	LastVersion int           `json:"last_version"`
	IsEnabled   bool          `json:"is_enabled"`
	Versions    []ItemVersion `json:"item_versions,omitempty"`
	Created     time.Time     `json:"creation_date,omitzero"`
	Modified    time.Time     `json:"modification_date,omitzero"`
	FromFile    bool          `json:"from_file,omitzero"`
}

// ItemTypeStatic is the type of all items.
const ItemTypeStatic = "STATIC_SECRET"

// ItemVersion is one version of an item.
type ItemVersion struct {
	Version int       `json:"version"`
	State   string    `json:"item_version_state"`
	Created time.Time `json:"creation_date,omitzero"`
}

// UpdateItem is /update-item. What is unset stays as it is.
type UpdateItem struct {
	Credentials
	Name    string `json:"name"`
	NewName string `json:"new-name,omitempty"`
	// Description and NewMetadata are two names of one field. Unset, UnsetMetadata.
	Description *string `json:"description,omitempty"`
	NewMetadata *string `json:"new-metadata,omitempty"`
	AddTag      Strings `json:"add-tag,omitzero"`
	RmTag       Strings `json:"rm-tag,omitzero"`
}

// What SDKs send for descriptions that are not to be changed.
const (
	UnsetMetadata = "default_metadata"
	UnsetComment  = "default_comment"
)

// DeleteItem is /delete-item.
type DeleteItem struct {
	Credentials
	Name string `json:"name"`
	// Version is -1 or unset: an item is deleted with all of its versions.
	Version Int `json:"version,omitzero"`
}

// DeletedItem is its answer.
type DeletedItem struct {
	Name string `json:"item_name"`
}
