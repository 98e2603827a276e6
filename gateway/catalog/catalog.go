// Package catalog keeps what administrators manage: auth methods, Kubernetes auth
// configs, roles and their associations, static secrets, and what has been revoked.
//
// The objects lie in a store, secret parts sealed. All but the secrets' values is
// also held in memory, as one immutable View that follows the store within a
// moment, whichever gateway changed it, and which outlives an outage of it. Objects
// of the configuration file are part of the view, and can't be changed here.
//
// Reading and changing goes through As: authorisation and audit happen here and
// nowhere else, so that no protocol can forget them, denials included.
package catalog

import (
	"context"
	"errors"
	"time"

	"github.com/gatepass/gatepass/gateway/access"
)

// What an operation can fail with. They come wrapped, with a text for the caller
// that names the object and holds no secret.
var (
	// ErrDenied means that the caller may not do that, and may not know whether
	// the object exists. (401)
	ErrDenied = errors.New("unauthorized")
	// ErrNotFound means that there is no such object, and the caller may know. (404)
	ErrNotFound = errors.New("not found")
	// ErrExists means that there is one of that name. (409)
	ErrExists = errors.New("already exists")
	// ErrInvalid means that a field is wrong; the text names it and the fix. (400)
	ErrInvalid = errors.New("invalid")
	// ErrReadOnly means that the object comes from the configuration file. (409)
	ErrReadOnly = errors.New("declared in the gateway's configuration file; change it there")
	// ErrInUse means that something refers to the object. (409)
	ErrInUse = errors.New("in use")
	// ErrUnavailable means that the store can't be reached. A change that fails with
	// it may have been made nevertheless. (503)
	ErrUnavailable = errors.New("the store is not available; try again")
	// ErrUnopened means that a record does not open with the keys that the gateway has.
	// (503)
	ErrUnopened = errors.New("the gateway can't open what is stored; a key is missing from its key file, or the record was tampered with")
	// ErrUnrecorded means that the audit log can't be written. (503)
	ErrUnrecorded = errors.New("the gateway can't record requests at the moment")
)

// Caller is who asks: a verified session, or the administrator.
type Caller struct {
	// AccessID and SubClaims are the session's.
	AccessID  string
	SubClaims map[string][]string
	// Subject is who it is, for the audit log.
	Subject string
	// Session is the session's jti, and Life how long it lasts from its issue on.
	Session string
	Life    time.Duration
	// Client is the address of the connection.
	Client string
	// Protocol is "v2" or "vault", for the audit log.
	Protocol string
}

// Page selects a part of a list.
type Page struct {
	// After is Next of the page before; empty starts at the first.
	After string
	// Limit is how many objects at most; 0 means all.
	Limit int
}

// Accessor does what one caller asks.
type Accessor interface {
	// Methods. Names of auth methods have no leading slash.
	CreateMethod(ctx context.Context, m Method) (CreatedMethod, error)
	// Updates are made by functions that change what there is. One is called again if
	// somebody else changed it meanwhile, so it must rest on nothing but what it is
	// given. A new name renames.

	// UpdateMethod changes all but access id and type. It does not tell the public key
	// to change; one that is given and is another replaces the key.
	UpdateMethod(ctx context.Context, name string, change func(*Method) error) error
	Method(ctx context.Context, name string) (Method, []Association, error)
	ListMethods(ctx context.Context, p Page) (methods []Method, next string, err error)
	// DeleteMethod deletes the method's associations too. It fails with ErrInUse
	// while the method has auth configs, and for the administrator's.
	DeleteMethod(ctx context.Context, name string) error

	// CreateAuthConfig and UpdateAuthConfig fail with ErrInvalid if a signing key is
	// not the private key of the method, or if it is missing and the method was made
	// with a public key. An update that names another host must bring the reviewer's
	// token.
	CreateAuthConfig(ctx context.Context, c AuthConfig) (AuthConfig, error)
	// UpdateAuthConfig does not tell secrets to change; those that it leaves empty stay.
	UpdateAuthConfig(ctx context.Context, name string, change func(*AuthConfig) error) (AuthConfig, error)
	AuthConfig(ctx context.Context, name string) (AuthConfig, error)
	ListAuthConfigs(ctx context.Context) ([]AuthConfig, error)
	DeleteAuthConfig(ctx context.Context, name string) error

	CreateRole(ctx context.Context, r Role) error
	// UpdateRole changes the name and the description.
	UpdateRole(ctx context.Context, name string, change func(*Role) error) error
	Role(ctx context.Context, name string) (Role, error)
	ListRoles(ctx context.Context, p Page) (roles []Role, next string, err error)
	DeleteRole(ctx context.Context, name string) error
	SetRule(ctx context.Context, role string, r access.Rule) error // replaces one of the same type and path
	DeleteRule(ctx context.Context, role string, t access.RuleType, path string) error
	Associate(ctx context.Context, a Association) (id string, err error)
	// UpdateAssociation changes the sub-claims and whether case counts.
	UpdateAssociation(ctx context.Context, id string, change func(*Association) error) error
	DeleteAssociation(ctx context.Context, id string) error
	// Permissions tells what the caller itself may do on a path.
	Permissions(ctx context.Context, t access.RuleType, path string) ([]access.Capability, error)

	CreateItem(ctx context.Context, i Item, value []byte) error
	// SetValue adds a version, which it returns. With expect >= 0 it fails with
	// ErrExists unless the latest version is expect (Vault's check-and-set).
	SetValue(ctx context.Context, name string, value []byte, expect int) (version int, err error)
	Item(ctx context.Context, name string) (Item, error)
	// Value returns a version's value: 0 is the latest, -N is the Nth before it.
	Value(ctx context.Context, name string, version int) (value []byte, number int, err error)
	// ListItems returns the items below a path that the caller may list, and the
	// folders directly below it.
	ListItems(ctx context.Context, path string, p Page) (items []Item, folders []string, next string, err error)
	// UpdateItem changes the name, the description and the tags.
	UpdateItem(ctx context.Context, name string, change func(*Item) error) error
	// DeleteItem deletes all versions too.
	DeleteItem(ctx context.Context, name string) error

	Settings(ctx context.Context) (Settings, error)
	UpdateSettings(ctx context.Context, s Settings) error

	// RenewSession lets the caller's own session, which has a lease, live until then,
	// on every gateway; expires is the session's own end, after which the record of
	// it is of no use. The View tells when a session's lease ends: the later one of
	// its first lease (session.Claims.Lease) and what it was renewed until.
	RenewSession(ctx context.Context, until, expires time.Time) error
	// RevokeSession ends the caller's own session. RevokeIdentity ends all sessions
	// of a subject under an auth method, RevokeMethod all of an auth method; both
	// take the capability update on the method.
	RevokeSession(ctx context.Context, expires time.Time) error
	RevokeIdentity(ctx context.Context, method, subject string) error
	RevokeMethod(ctx context.Context, method string) error

	// RotateAccessKey makes a new access key for the administrator's method or
	// another of TypeAccessKey; DisableMethod is UpdateMethod with an Expires in the
	// past.
	RotateAccessKey(ctx context.Context, method string) (accessKey string, err error)
}

// CreatedMethod is what is told once, when an auth method is made.
type CreatedMethod struct {
	Name     string
	AccessID string
	// PrivateKey is PEM, of TypeK8s with a generated key; empty otherwise.
	PrivateKey []byte
	// AccessKey is of TypeAccessKey.
	AccessKey string
}
