package gateway_test

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/gateway/audit"
)

// TestTransport holds every command in each spelling to the rules of transport.
// The list of commands is the gateway's own, and each has an example in the
// document, so none can be forgotten. What every answer must be like, post checks.
func TestTransport(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	examples := map[string]string{}
	for _, e := range readExamples(t) {
		for _, path := range e.paths {
			examples[strings.TrimPrefix(path, "/")] = e.request
		}
	}
	routes, maxBodies := r.RouteNames()
	for i, names := range routes {
		for _, name := range names {
			t.Run(name, func(t *testing.T) {
				inner := *r
				inner.t = t
				c := transport{&inner, name, examples[name], maxBodies[i]}
				c.basePaths()
				c.methods()
				c.bodies()
				c.sessions()
			})
		}
	}
}

// transport is one spelling of a command.
type transport struct {
	*rig
	name    string
	example string
	maxBody int64
}

// open says whether the command is for those who have no session.
func (c transport) open() bool { return c.name == "auth" || c.name == "validate-token" }

func (c transport) problem(answer map[string]any) string {
	text, _ := answer["error"].(string)
	return text
}

func (c transport) basePaths() {
	for _, base := range []string{"", "/v2", "/api/v2", "/", "//v2/", "/api//v2//"} {
		for _, end := range []string{"", "/", "?x=1"} {
			status, _, answer := c.post(base+"/"+c.name+end, "{}")
			if status != http.StatusBadRequest && status != http.StatusUnauthorized || strings.Contains(c.problem(answer), "unknown command") {
				c.t.Errorf("%s/%s%s: %d %v", base, c.name, end, status, answer)
			}
		}
		status, _, answer := c.post(base+"/"+c.name+"/more", "{}")
		if status != http.StatusNotFound || !strings.Contains(c.problem(answer), "unknown command") {
			c.t.Errorf("%s/%s/more: %d %v", base, c.name, status, answer)
		}
	}
}

func (c transport) methods() {
	for _, method := range []string{"GET", "PUT", "DELETE", "PATCH", "OPTIONS"} {
		status, header, answer := c.send(method, "/"+c.name, strings.NewReader(c.example))
		if status != http.StatusMethodNotAllowed || header.Get("Allow") != "POST" || !strings.Contains(c.problem(answer), "use POST") {
			c.t.Errorf("%s: %d %v %v", method, status, header, answer)
		}
	}
}

func (c transport) bodies() {
	for _, tt := range []struct {
		name, body string
		status     int
		text       string
	}{
		{"white space", " ", 400, "not a JSON object"},
		{"no JSON", "token=x", 400, "not a JSON object"},
		{"a list", "[]", 400, "not a JSON object"},
		{"two objects", "{}{}", 400, "not a JSON object"},
		{"half an object", `{"token":"`, 400, "not a JSON object"},
		{"a field twice", `{"token":"a","token":"b"}`, 400, "more than once"},
		{"text that is not UTF-8", "{\"token\":\"\xff\"}", 400, "not a JSON object"},
		{"too many brackets", strings.Repeat("[", 11000), 400, "not a JSON object"},
		{"too much", strings.Repeat(" ", int(c.maxBody)+1), 413, "more than"},
	} {
		status, _, answer := c.post("/"+c.name, tt.body)
		if status != tt.status || !strings.Contains(c.problem(answer), tt.text) {
			c.t.Errorf("%s: %d %v, want %d and %q", tt.name, status, answer, tt.status, tt.text)
		}
	}
	// Without a length, and as large as it may be.
	status, _, answer := c.send("POST", "/"+c.name, io.MultiReader(strings.NewReader(`{"x":"`), strings.NewReader(strings.Repeat("x", int(c.maxBody)))))
	if status != http.StatusRequestEntityTooLarge {
		c.t.Errorf("too much without a length: %d %v", status, answer)
	}
	status, _, answer = c.post("/"+c.name, `{"x":"`+strings.Repeat("x", int(c.maxBody)-8)+`"}`)
	if status != http.StatusBadRequest && status != http.StatusUnauthorized || strings.Contains(c.problem(answer), "JSON") {
		c.t.Errorf("the largest body: %d %v", status, answer)
	}
	c.wrongTypes()
}

// wrongTypes gives every field of the example what it can't be, and then things
// that some clients send.
func (c transport) wrongTypes() {
	var request map[string]any
	if err := json.Unmarshal([]byte(c.example), &request); err != nil {
		c.t.Fatal(err)
	}
	for field := range request {
		wrong := maps.Clone(request)
		wrong[field] = []any{map[string]any{}}
		status, _, answer := c.post("/"+c.name, c.text(wrong))
		if status != http.StatusBadRequest || !strings.Contains(c.problem(answer), "field /"+field) {
			c.t.Errorf("a wrong %s: %d %v", field, status, answer)
		}
	}
	plain := maps.Clone(request)
	for name := range plain {
		plain[name] = ""
		if name == "sub-claims" {
			delete(plain, name)
		}
	}
	status, _, answer := c.post("/"+c.name, c.text(plain))
	more := maps.Clone(plain)
	maps.Copy(more, map[string]any{"json": false, "debug": nil, "not-a-field": []any{1, map[string]any{"a": "b"}}, "uid-token": ""})
	sameStatus, _, sameAnswer := c.post("/"+c.name, c.text(more))
	if sameStatus != status || c.problem(answer) != c.problem(sameAnswer) || status == http.StatusOK {
		c.t.Errorf("empty text: %d %v; with fields that are not known: %d %v", status, answer, sameStatus, sameAnswer)
	}
}

// sessions: without one nobody gets further, and it is recorded.
func (c transport) sessions() {
	if c.open() {
		return
	}
	for _, field := range []string{"token", "uid-token"} {
		for _, token := range []string{"", "t-123", "a.b.c", c.token + "x", strings.Repeat("A", 9<<10)} {
			status, _, answer := c.post("/"+c.name, c.text(map[string]string{field: token}))
			if status != http.StatusUnauthorized || !strings.HasPrefix(c.problem(answer), "unauthorized: ") {
				c.t.Errorf("%s %.10q: %d %v", field, token, status, answer)
			}
			event := c.log.last()
			if event.Result != audit.Denied || event.Reason != "session-invalid" && event.Reason != "session-missing" || event.Client != "192.0.2.1" {
				c.t.Errorf("%s %.10q: recorded as %+v", field, token, event)
			}
		}
	}
	status, _, answer := c.post("/"+c.name, "")
	if status != http.StatusUnauthorized && status != http.StatusBadRequest {
		c.t.Errorf("nothing: %d %v", status, answer)
	}
	c.log.fail(true)
	defer c.log.fail(false)
	status, header, answer := c.post("/"+c.name, "{}")
	if status != http.StatusServiceUnavailable || header.Get("Retry-After") != "5" || !strings.Contains(c.problem(answer), "can't record") {
		c.t.Errorf("without an audit log: %d %v %v", status, header, answer)
	}
}

// TestWhoMayKnow holds every command that names an object to the rule of 401 and
// 404: who may do nothing gets the same answer whether the object exists or not,
// and who may do everything is told that it does not.
func TestWhoMayKnow(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.do("create-auth-method-k8s", fields{"name": "there"})
	r.do("create-role", fields{"name": "there"})
	r.do("create-secret", fields{"name": "there", "value": "v"})
	r.do("set-role-rule", fields{"role-name": "there", "path": "/*", "capability": []string{"read"}})
	access := r.do("get-auth-method", fields{"name": "there"})["auth_method_access_id"]
	r.do("gateway-create-k8s-auth-config", fields{"name": "there", "access-id": access})
	association := r.do("assoc-role-am", fields{"role-name": "there", "am-name": "there"})["assoc_id"]
	nobody := r.somebody("nobody", fields{"path": "/*", "capability": []string{"deny"}})

	// What a command takes besides the object's name, and the field that has it.
	type named struct {
		field string
		more  fields
	}
	byName := named{"name", nil}
	commands := map[string]named{
		"update-auth-method-k8s": byName, "get-auth-method": byName, "delete-auth-method": byName,
		"update-auth-method": byName, "reset-access-key": byName,
		"gateway-update-k8s-auth-config": byName, "gateway-get-k8s-auth-config": byName, "gateway-delete-k8s-auth-config": byName,
		"update-secret-val": byName, "describe-item": byName, "update-item": byName, "delete-item": byName,
		"get-secret-value": {"names", nil},
		"get-role":         byName, "update-role": byName, "delete-role": byName,
		"set-role-rule":                  {"role-name", fields{"path": "/x", "capability": "read"}},
		"delete-role-rule":               {"role-name", fields{"path": "/*"}},
		"assoc-role-am":                  {"role-name", fields{"am-name": "there"}},
		"revoke-identity-sessions":       {"name", fields{"subject": "system:serviceaccount:n:s"}},
		"revoke-auth-method-sessions":    byName,
		"update-assoc":                   {"assoc-id", nil},
		"delete-assoc":                   {"assoc-id", nil},
		"gateway-create-k8s-auth-config": {"access-id", fields{"name": "new"}},
	}
	others := []string{
		"auth", "validate-token", "describe-sub-claims", "describe-permissions", "revoke-creds", // about the session
		"list-auth-methods", "list-items", "list-roles", "gateway-get-config", // about what may be listed
		"get-account-settings", "update-account-settings",
		"create-auth-method-k8s", "create-auth-method", "create-secret", "create-role", // about what is not there yet
	}
	routes, _ := r.RouteNames()
	for _, names := range routes {
		name := names[0]
		c, ok := commands[name]
		if ok == slices.Contains(others, name) {
			t.Errorf("%s is not in the table, or twice", name)
		}
		if !ok {
			continue
		}
		there, missing := any("there"), any("missing")
		switch c.field {
		case "assoc-id":
			there = association
		case "access-id":
			there = access
		}
		ask := func(token string, object any) (int, string) {
			request := fields{c.field: object}
			maps.Copy(request, c.more)
			status, answer := r.as(token, name, request)
			text, _ := answer["error"].(string)
			if s, ok := object.(string); ok {
				text = strings.ReplaceAll(text, s, "OBJECT")
			}
			return status, text
		}
		want := http.StatusUnauthorized
		if c.field == "assoc-id" {
			want = http.StatusNotFound // an id can't be guessed: one answer for all who may not know
		}
		known, knownText := ask(nobody, there)
		unknown, unknownText := ask(nobody, missing)
		if known != want || unknown != want || knownText != unknownText {
			t.Errorf("%s: nobody gets %d %q for what exists, and %d %q for what does not", name, known, knownText, unknown, unknownText)
		}
		if status, text := ask(r.token, missing); status != http.StatusNotFound {
			t.Errorf("%s: the administrator gets %d %q for what does not exist", name, status, text)
		}
	}
}
