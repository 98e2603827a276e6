// Package command carries out the commands of the V2 API on what the catalog
// keeps: it turns requests into operations of the catalog, and what comes back into
// answers. It knows nothing of HTTP.
//
// Every operation is authorised and audited by the catalog, under the session
// that asks; nothing here decides who may do what.
package command

import (
	"context"
	"fmt"
	"time"

	"github.com/gatepass/gatepass/gateway/catalog"
	v2 "github.com/gatepass/gatepass/gateway/v2"
)

// Bounds of request bodies, in bytes.
const (
	// maxPlain has room for a session token, a name of 1024 bytes, each of them
	// escaped, and some lists.
	maxPlain = 32 << 10
	// maxConfig has room for a chain of CA certificates and a client's in base64,
	// and a reviewer's token.
	maxConfig = 64 << 10
	// MaxBody is the largest bound of all. It has room for the largest value that the
	// catalog keeps, 64 KiB, with every character escaped by a backslash, and for
	// the session.
	MaxBody = 160 << 10
)

// Session is who calls a command. What is done, is done as that.
type Session struct {
	catalog.Accessor
	// Expires is when the session does.
	Expires time.Time
}

// Command is one command.
type Command struct {
	// Names are the spellings of the command's path, without a slash.
	Names []string
	// MaxBody bounds the request, in bytes.
	MaxBody int64
	// Whole is whether an answer may tell of everything there is, which takes much
	// memory; few of these should be carried out at a time.
	Whole bool
	// Reads is whether it changes nothing.
	Reads bool

	request func() v2.Request
	run     func(context.Context, *Session, v2.Request) (any, error)
}

// Request is an empty request of the command's type, to read a body into.
func (c Command) Request() v2.Request { return c.request() }

// Run carries out a request that came from Request. Errors are the catalog's, and
// their text is for the caller.
func (c Command) Run(ctx context.Context, by *Session, request v2.Request) (any, error) {
	return c.run(ctx, by, request)
}

// command makes a Command of a function.
func command[R any, P interface {
	*R
	v2.Request
}](run func(context.Context, *Session, P) (any, error), names ...string) Command {
	return Command{
		Names:   names,
		MaxBody: maxPlain,
		request: func() v2.Request { return P(new(R)) },
		run: func(ctx context.Context, by *Session, request v2.Request) (any, error) {
			typed, ok := request.(P)
			if !ok {
				return nil, fmt.Errorf("%s got a request of type %T", names[0], request)
			}
			return run(ctx, by, typed)
		},
	}
}

func (c Command) upTo(bytes int64) Command {
	c.MaxBody = bytes
	return c
}

func (c Command) whole() Command {
	c.Whole = true
	return c
}

func (c Command) reads() Command {
	c.Reads = true
	return c
}

// Table lists all commands. New spellings of the API have the object first.
func Table() []Command {
	return []Command{
		command(createMethodK8s, "create-auth-method-k8s", "auth-method-create-k8s"),
		command(createMethodKey, "create-auth-method", "auth-method-create-api-key"),
		command(updateMethodK8s, "update-auth-method-k8s", "auth-method-update-k8s"),
		command(updateMethodKey, "update-auth-method", "auth-method-update-api-key"),
		command(getMethod, "get-auth-method", "auth-method-get").reads(),
		command(listMethods, "list-auth-methods", "auth-method-list").reads().whole(),
		command(deleteMethod, "delete-auth-method", "auth-method-delete"),
		command(resetAccessKey, "reset-access-key"),

		command(createConfig, "gateway-create-k8s-auth-config").upTo(maxConfig),
		command(updateConfig, "gateway-update-k8s-auth-config").upTo(maxConfig),
		command(getConfig, "gateway-get-k8s-auth-config").reads(),
		command(deleteConfig, "gateway-delete-k8s-auth-config"),
		command(getGatewayConfig, "gateway-get-config").reads().whole(),

		command(createSecret, "create-secret").upTo(MaxBody),
		command(updateSecretValue, "update-secret-val").upTo(MaxBody),
		command(getSecretValue, "get-secret-value").reads(),
		command(describeItem, "describe-item").reads(),
		command(listItems, "list-items").reads().whole(),
		command(updateItem, "update-item"),
		command(deleteItem, "delete-item"),

		command(createRole, "create-role"),
		command(getRole, "get-role").reads(),
		command(listRoles, "list-roles").reads().whole(),
		command(updateRole, "update-role"),
		command(deleteRole, "delete-role"),
		command(setRule, "set-role-rule"),
		command(deleteRule, "delete-role-rule"),
		command(associate, "assoc-role-am"),
		command(updateAssociation, "update-assoc"),
		command(deleteAssociation, "delete-assoc"),

		command(describePermissions, "describe-permissions").reads(),
		command(revokeCreds, "revoke-creds"),
		command(revokeIdentity, "revoke-identity-sessions"),
		command(revokeMethod, "revoke-auth-method-sessions"),
		command(getSettings, "get-account-settings").reads(),
		command(updateSettings, "update-account-settings"),
	}
}

// invalid is an error about a field.
func invalid(field, format string, args ...any) error {
	return fmt.Errorf("%w %s: %s", catalog.ErrInvalid, field, fmt.Sprintf(format, args...))
}

// required refuses a field that is not set.
func required(field, value string) error {
	if value == "" {
		return invalid(field, "it is missing")
	}
	return nil
}
