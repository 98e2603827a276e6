package vault

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/gatepass/gatepass/gateway/catalog"
	"github.com/gatepass/gatepass/internal/bodies"
	"github.com/gatepass/gatepass/internal/jsonbound"
)

// Bounds of request bodies, in bytes.
const (
	// maxBody has room for a service-account token, and for an auth config's CA.
	maxBody = 64 << 10
	// maxWriteBody has room for the largest value that the catalog keeps, 64 KiB,
	// with every character escaped by a backslash.
	maxWriteBody = 160 << 10
)

// protocol is what the audit log calls this one.
const protocol = "vault"

// call is a request as an operation sees it.
type call struct {
	*http.Request
	writer http.ResponseWriter

	// mount and name are the parts of the path that name objects.
	mount, name string
	// token, session and as are set unless the endpoint is public.
	token   string
	session *Session
	as      catalog.Accessor
	bodies  *bodies.Budget
	// body is nil unless it was read.
	body *bodies.Body
	// turns are to be given back when the answer is written.
	turns []func()
	// begin waits for the turn of a change, when its body of some size has been read: how
	// long that takes is up to the caller. It is nil for endpoints that are public.
	begin func(size int) error
}

// take waits for a turn.
func (h *Handler) take(c *call, of Turns) error {
	giveBack, err := h.options.Turn(c.Context(), of)
	if err != nil {
		if of == Bodies || of == Lists {
			return tooMany("large requests")
		}
		return tooMany("requests")
	}
	c.turns = append(c.turns, giveBack)
	return nil
}

func tooMany(what string) error {
	return &refusal{http.StatusTooManyRequests, []string{"too many " + what + " at a time; try again"}, 2 * time.Second}
}

// operation does what a request asks.
type operation func(*call) (*answer, error)

// endpoint is what a path has. Operations that it does not have are nil.
type endpoint struct {
	read, list, write, remove operation
	// head says whether read also answers HEAD.
	head bool
	// public is for those who have no session.
	public bool
}

// find tells what a path has, and puts its variable parts into the call.
func (h *Handler) find(c *call, path string) (endpoint, bool) {
	if rest, ok := strings.CutPrefix(path, "auth/"); ok {
		return h.findAuth(c, rest)
	}
	switch path {
	case "sys/health":
		return endpoint{read: h.health, head: true, public: true}, true
	case "sys/seal-status":
		return endpoint{read: h.sealStatus, public: true}, true
	case "sys/internal/ui/mounts":
		return endpoint{read: h.mounts}, true
	}
	if rest, ok := strings.CutPrefix(path, "sys/internal/ui/mounts/"); ok {
		c.name = rest
		return endpoint{read: h.mountOf}, true
	}
	if rest, ok := strings.CutPrefix(path, h.options.Mount+"/"); ok {
		return h.findItem(c, rest)
	}
	return endpoint{}, false
}

func (h *Handler) findAuth(c *call, path string) (endpoint, bool) {
	switch path {
	case "token/lookup-self":
		return endpoint{read: h.lookupSelf, write: h.lookupSelf}, true
	case "token/renew-self":
		return endpoint{write: h.renewSelf}, true
	case "token/revoke-self":
		return endpoint{write: h.revokeSelf}, true
	}
	var ok bool
	// A mount may hold slashes, and so may a role: the first /role/ divides them.
	if c.mount, c.name, ok = strings.Cut(path, "/role/"); ok && c.mount != "" && c.name != "" {
		return endpoint{read: h.readRole, write: h.writeRole, remove: h.deleteRole}, true
	}
	for suffix, found := range map[string]endpoint{
		"/login":  {write: h.login, public: true},
		"/config": {read: h.readConfig, write: h.writeConfig, remove: h.deleteConfig},
		"/role":   {list: h.listRoles},
	} {
		if c.mount, ok = strings.CutSuffix(strings.TrimSuffix(path, "/"), suffix); ok && c.mount != "" {
			return found, true
		}
	}
	return endpoint{}, false
}

func (h *Handler) findItem(c *call, path string) (endpoint, bool) {
	var kind string
	kind, c.name, _ = strings.Cut(path, "/")
	switch kind {
	case "data":
		return endpoint{read: h.readItem, write: h.writeItem}, true
	case "metadata":
		return endpoint{read: h.readMetadata, list: h.listItems, remove: h.deleteItem}, true
	case "delete", "undelete", "destroy", "config", "subkeys":
		return endpoint{}, true
	}
	return endpoint{}, false
}

// operation chooses by the request's method. POST and PUT mean the same, and
// so do LIST and a GET with list=true.
func (e *endpoint) operation(c *call) (operation, error) {
	var do operation
	switch c.Method {
	case http.MethodGet:
		do = e.read
		if listing, err := strconv.ParseBool(c.URL.Query().Get("list")); err == nil && listing {
			do = e.list
		}
	case http.MethodHead:
		if e.head {
			do = e.read
		}
	case "LIST":
		do = e.list
	case http.MethodPost, http.MethodPut:
		do = e.write
	case http.MethodDelete:
		do = e.remove
	}
	if do == nil {
		return nil, unsupported()
	}
	return do, nil
}

// authenticate finds out who asks.
func (h *Handler) authenticate(c *call) error {
	c.token = strings.TrimSpace(c.Header.Get("X-Vault-Token"))
	if scheme, credentials, ok := strings.Cut(c.Header.Get("Authorization"), " "); c.token == "" && ok && strings.EqualFold(scheme, "Bearer") {
		c.token = strings.TrimSpace(credentials)
	}
	found, err := h.options.Session(c.Request, c.token)
	switch {
	case errors.Is(err, ErrSealed), errors.Is(err, catalog.ErrUnrecorded), errors.As(err, new(*TooMany)):
		return err
	case err != nil && (c.token == "" || errors.As(err, new(*catalog.ClientAddressError))):
		return refuse(http.StatusForbidden, textDenied)
	case err != nil:
		// Clients look for both texts to tell a session that ended from a missing right.
		return refuse(http.StatusForbidden, textDenied, textInvalidToken)
	}
	c.session = found
	c.as = h.options.As(catalog.CallerOf(found.Claims, h.options.Client(c.Request), protocol))
	return nil
}

// decode reads the request's body, of limit bytes at most. Fields that v does not
// have are ignored, and so is the content type, which Vault's own clients
// don't send. A body that is empty sets nothing. What the body takes of the budget is the
// call's until its end, for v has a copy.
func (c *call) decode(limit int64, v any) error {
	body, err := c.bodies.Read(c.writer, c.Request, limit)
	c.body = body
	switch {
	case errors.Is(err, bodies.ErrTooLarge):
		c.writer.Header().Set("Connection", "close") // what is left of it is not worth reading
		return refuse(http.StatusRequestEntityTooLarge, "the request body has more than "+strconv.FormatInt(limit, 10)+" bytes")
	case errors.Is(err, bodies.ErrBusy):
		return tooMany("large requests")
	case err != nil:
		return refuse(http.StatusBadRequest, "the request body could not be read")
	}
	size := len(body.Bytes())
	if size > 0 {
		if _, err := jsonbound.OfBody(limit).Check(body.Bytes()); err != nil {
			return refuse(http.StatusRequestEntityTooLarge, "the request body is larger than the gateway takes: "+err.Error())
		}
		if err := decode(body.Bytes(), v); err != nil {
			return err
		}
	}
	body.Forget()
	if c.begin == nil {
		return nil
	}
	return c.begin(size)
}

// decode reads JSON. Its errors name the field and don't quote the value, which
// may be a secret.
func decode(body []byte, v any) error {
	err := json.Unmarshal(body, v)
	const failed = "failed to parse JSON input: "
	var semantic *json.SemanticError
	var twice *jsontext.SyntacticError
	var wanted want
	switch {
	case err == nil:
		return nil
	case errors.As(err, &wanted) && errors.As(err, &semantic):
		return refuse(http.StatusBadRequest, failed+"field "+quote(string(semantic.JSONPointer))+": "+wanted.Error())
	case errors.As(err, &semantic) && semantic.JSONPointer != "":
		return refuse(http.StatusBadRequest, failed+"field "+quote(string(semantic.JSONPointer))+" can't be what was sent")
	case errors.Is(err, jsontext.ErrDuplicateName) && errors.As(err, &twice):
		return refuse(http.StatusBadRequest, failed+"field "+quote(string(twice.JSONPointer))+" is there twice")
	}
	return refuse(http.StatusBadRequest, failed+"it is not a JSON object")
}
