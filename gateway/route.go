package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/gatepass/gatepass/gateway/session"
	"github.com/gatepass/gatepass/gateway/tokenreview"
	v2 "github.com/gatepass/gatepass/gateway/v2"
	"github.com/gatepass/gatepass/gateway/v2/command"
	"github.com/gatepass/gatepass/gateway/vault"
	"github.com/gatepass/gatepass/internal/bodies"
	"github.com/gatepass/gatepass/internal/connlimit"
	"github.com/gatepass/gatepass/internal/jsonbound"
)

// Bounds of request bodies, in bytes. They decide how much memory strangers
// can make the gateway hold: maxUsualBody for each connection, and maxLargeBodies for
// all of them together.
const (
	// maxLoginBody has room for a token of maxToken in base64, and for the fields
	// of other access types, which some clients send empty.
	maxLoginBody = 64 << 10
	// maxTokenBody is for the commands that take a session token.
	maxTokenBody = 2 * session.MaxLength
	// maxUsualBody is what every connection may send at a time. A command that takes
	// more waits, when it has arrived and its session is valid, until few others do.
	maxUsualBody = 64 << 10
	// maxLargeBodies bounds what is beyond that, of all bodies: as many as may be under
	// way, and as many that arrive meanwhile.
	maxLargeBodies = 2 * maxBulky * command.MaxBody
	// bodyGrace is for how long a body beyond maxUsualBody may arrive while others need
	// its memory.
	bodyGrace = time.Second
)

// route is a command as the server carries it out.
type route struct {
	// names are the spellings of its path, without base and slash.
	names []string
	// maxBody bounds its request, in bytes. It is at most maxUsualBody, or
	// command.MaxBody.
	maxBody int64
	do      func(*call) (any, *refusal)
}

// routes are all commands.
func (g *Gateway) routes() []route {
	routes := []route{
		{names: []string{"auth"}, maxBody: maxLoginBody, do: g.login},
		{names: []string{"validate-token"}, maxBody: maxTokenBody, do: g.validateToken},
		{names: []string{"describe-sub-claims"}, maxBody: maxTokenBody, do: g.describeSubClaims},
	}
	for _, c := range command.Table() {
		routes = append(routes, route{names: c.Names, maxBody: c.MaxBody, do: g.managed(c)})
	}
	return routes
}

// call is a request as a command sees it.
type call struct {
	*http.Request
	writer http.ResponseWriter
	// state is nil as long as there is no valid configuration.
	state State
	// body is nil unless it was read, size bytes of it.
	body *bodies.Body
	size int
	// turns are to be given back when the answer is written.
	turns []*limiter
}

// tooManyLarge is the answer to large requests beyond their bounds.
func tooManyLarge() *refusal {
	return &refusal{http.StatusTooManyRequests, "too many large requests at a time; try again", 2 * time.Second}
}

// take waits for a turn of those that bound what takes much memory.
func (c *call) take(ctx context.Context, turns *limiter) *refusal {
	if err := turns.acquire(ctx); err != nil {
		return tooManyLarge()
	}
	c.turns = append(c.turns, turns)
	return nil
}

// large reports whether the call's body is beyond what every connection may send.
func (c *call) large() bool { return c.size > maxUsualBody }

// giveBack ends what the call holds. Its body is overwritten.
func (c *call) giveBack() {
	if c.body != nil {
		c.body.Free()
	}
	for _, turns := range c.turns {
		turns.release()
	}
}

// refusal is an answer other than 200.
type refusal struct {
	status int
	// public is the text for the caller.
	public string
	// retryAfter is sent with 429 and 503.
	retryAfter time.Duration
}

func refuse(status int, format string, args ...any) *refusal {
	return &refusal{status: status, public: fmt.Sprintf(format, args...)}
}

// dispatch finds what answers a path. Clients write the base in three ways, and
// some join it with two slashes; http.ServeMux would answer those with a
// redirect, which clients don't follow with a POST.
func (g *Gateway) dispatch(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, vault.Prefix) {
		if r.URL.Path != vault.HealthPath { // probes are free
			if refused := g.overRate(r); refused != nil {
				vault.Refuse(w, refused.status, refused.retryAfter, refused.public)
				return
			}
		}
		g.vault.ServeHTTP(w, r)
		return
	}
	name := commandName(r.URL.Path)
	switch name {
	case "healthz":
		g.get(w, r, func() { writeRaw(w, http.StatusOK, []byte(`{"status":"ok"}`)) })
	case "readyz":
		g.get(w, r, func() { g.serveReady(w) })
	case strings.TrimPrefix(session.DiscoveryPath, "/"):
		g.get(w, r, func() { g.serveKeys(w, (*session.Keyring).Discovery) })
	case strings.TrimPrefix(session.JWKSPath, "/"):
		g.get(w, r, func() { g.serveKeys(w, (*session.Keyring).JWKS) })
	default:
		if refused := g.overRate(r); refused != nil {
			writeRefusal(w, refused)
			return
		}
		if name == tokenreview.Path {
			g.reviews.ServeHTTP(w, r)
			return
		}
		g.post(w, r, name)
	}
}

// commandName takes the base off a path: what is left of /v2//auth/ is auth.
func commandName(path string) string {
	parts := strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
	if len(parts) > 1 && parts[0] == "api" && parts[1] == "v2" {
		parts = parts[2:]
	} else if len(parts) > 0 && parts[0] == "v2" {
		parts = parts[1:]
	}
	return strings.Join(parts, "/")
}

func (g *Gateway) get(w http.ResponseWriter, r *http.Request, answer func()) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		writeRefusal(w, refuse(http.StatusMethodNotAllowed, "use GET"))
		return
	}
	answer()
}

func (g *Gateway) post(w http.ResponseWriter, r *http.Request, name string) {
	found, ok := g.byName[name]
	if !ok {
		// One client probes the base for this text.
		writeRefusal(w, refuse(http.StatusNotFound, "unknown command: %s", shorten(name)))
		return
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", "POST")
		writeRefusal(w, refuse(http.StatusMethodNotAllowed, "use POST"))
		return
	}
	c := &call{Request: r, writer: w, state: g.state()}
	defer c.giveBack()
	answer, refused := found.do(c)
	status := http.StatusOK
	if refused != nil {
		status = refused.status
	}
	g.metrics.commands.WithLabelValues(found.names[0], strconv.Itoa(status)).Inc()
	if refused != nil {
		writeRefusal(w, refused)
		return
	}
	writeAnswer(w, answer)
}

// notConfigured is the answer to everything that needs a configuration as long
// as there is none.
func notConfigured() *refusal {
	return &refusal{http.StatusServiceUnavailable, "the gateway has no valid configuration yet", 5 * time.Second}
}

// decode reads a request's body, of limit bytes at most. Fields that v does not have
// are ignored, and so is the content type: some clients send none. What the body takes of
// the budget is the call's until its end, for v has a copy.
func (g *Gateway) decode(c *call, limit int64, v any) *refusal {
	body, err := g.bodies.Read(c.writer, c.Request, limit)
	c.body = body
	switch {
	case errors.Is(err, bodies.ErrTooLarge):
		c.writer.Header().Set("Connection", "close") // what is left of it is not worth reading
		return refuse(http.StatusRequestEntityTooLarge, "the request body has more than %d bytes", limit)
	case errors.Is(err, bodies.ErrBusy):
		return tooManyLarge()
	case err != nil:
		return refuse(http.StatusBadRequest, "the request body could not be read")
	}
	if refused := checkJSON(limit, body.Bytes()); refused != nil {
		return refused
	}
	c.size = len(body.Bytes())
	err = json.Unmarshal(body.Bytes(), v)
	body.Forget()
	var semantic *json.SemanticError
	var syntactic *jsontext.SyntacticError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &syntactic) && errors.Is(err, jsontext.ErrDuplicateName):
		return refuse(http.StatusBadRequest, "the request body has the field %s more than once", shorten(string(syntactic.JSONPointer)))
	case errors.As(err, &semantic) && semantic.Err != nil && semantic.JSONPointer != "":
		return refuse(http.StatusBadRequest, "field %s of the request body: %s", shorten(string(semantic.JSONPointer)), shorten(semantic.Err.Error()))
	case errors.As(err, &semantic) && semantic.GoType != nil && semantic.JSONPointer != "":
		return refuse(http.StatusBadRequest, "field %s of the request body can't be a JSON %s",
			shorten(string(semantic.JSONPointer)), semantic.JSONKind)
	}
	return refuse(http.StatusBadRequest, "the request body is not a JSON object")
}

// checkJSON refuses a body of limit bytes at most that would become much more than it is.
func checkJSON(limit int64, body []byte) *refusal {
	_, err := jsonbound.OfBody(limit).Check(body)
	var beyond *jsonbound.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &beyond) && beyond.Deep:
		return refuse(http.StatusBadRequest, "the request body is not a JSON object of any command: %v", err)
	}
	return refuse(http.StatusRequestEntityTooLarge, "the request body is larger than the gateway takes: %v", err)
}

// serveKeys answers with a document that anybody may keep for a while; a
// verifier that meets an unknown key id asks again.
func (g *Gateway) serveKeys(w http.ResponseWriter, document func(*session.Keyring) []byte) {
	state := g.state()
	if state == nil {
		writeRefusal(w, notConfigured())
		return
	}
	w.Header().Set("Cache-Control", fmt.Sprintf("public, max-age=%d", int(session.KeysMaxAge/time.Second)))
	writeRaw(w, http.StatusOK, document(state.Sessions()))
}

func (g *Gateway) serveReady(w http.ResponseWriter) {
	if err := g.ready(); err != nil {
		writeRefusal(w, refuse(http.StatusServiceUnavailable, "not ready: %s", err))
		return
	}
	writeRaw(w, http.StatusOK, []byte(`{"status":"ok"}`))
}

func writeAnswer(w http.ResponseWriter, answer any) {
	body, err := json.Marshal(answer)
	if err != nil {
		writeRefusal(w, refuse(http.StatusInternalServerError, "internal error"))
		return
	}
	writeRaw(w, http.StatusOK, body)
	clear(body) // it may hold a token or a value
}

func writeRefusal(w http.ResponseWriter, f *refusal) {
	if f.retryAfter > 0 {
		seconds := int64((f.retryAfter + time.Second - 1) / time.Second)
		w.Header().Set("Retry-After", strconv.FormatInt(seconds, 10))
	}
	// The text quotes what callers sent, cut off by shorten between any two bytes;
	// Marshal refuses what is not UTF-8.
	body, err := json.Marshal(v2.Failure{Error: strings.ToValidUTF8(f.public, "�")})
	if err != nil {
		body = []byte(`{"error":"internal error"}`)
	}
	writeRaw(w, f.status, body)
}

func writeRaw(w http.ResponseWriter, status int, body []byte) {
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("X-Content-Type-Options", "nosniff")
	if header.Get("Cache-Control") == "" {
		header.Set("Cache-Control", "no-store")
	}
	header.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // the caller is gone: nobody is left to tell
}

// recoverPanic keeps a defect in one request from looking like a network
// failure to the caller.
func (g *Gateway) recoverPanic(w http.ResponseWriter, r *http.Request) {
	v := recover()
	if v == nil {
		return
	}
	g.panicked(r, v)
	writeRefusal(w, refuse(http.StatusInternalServerError, "internal error"))
}

// panicked counts a panic and records where it was; its value may hold
// anything, a token too, and stays out of the log.
func (g *Gateway) panicked(r *http.Request, v any) {
	g.metrics.panics.Inc()
	g.log.ErrorContext(r.Context(), "a request caused a panic; this is a defect, please report it",
		"path", shorten(r.URL.Path), "panic_type", fmt.Sprintf("%T", v), "stack", string(debug.Stack()))
}

// clientAddress is that of the connection. Forwarding headers are written by
// anybody, so they are not looked at.
func clientAddress(r *http.Request) netip.Addr { return connlimit.Address(r.RemoteAddr) }

// addressText is clientAddress as it is recorded, empty if it is not known.
func addressText(r *http.Request) string {
	if client := clientAddress(r); client.IsValid() {
		return client.String()
	}
	return ""
}

// shorten bounds a text of the caller's that is repeated to the caller.
func shorten(text string) string {
	const enough = 128
	if len(text) <= enough {
		return text
	}
	return text[:enough] + "…"
}
