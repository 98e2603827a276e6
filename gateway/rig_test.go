package gateway_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/rest"

	"github.com/gatepass/gatepass/gateway"
	"github.com/gatepass/gatepass/gateway/audit"
	"github.com/gatepass/gatepass/gateway/catalog"
	"github.com/gatepass/gatepass/gateway/config"
	"github.com/gatepass/gatepass/gateway/keys"
	"github.com/gatepass/gatepass/gateway/seal"
	"github.com/gatepass/gatepass/gateway/state"
	"github.com/gatepass/gatepass/gateway/store"
	"github.com/gatepass/gatepass/gateway/store/bolt"
)

// rig is a gateway as it is served, on a store of its own, with an
// administrator's session. It has no cluster.
type rig struct {
	*gateway.Gateway
	t testing.TB
	// admin has the administrator's access id and key, and token its session.
	admin *catalog.Credentials
	token string
	log   *ledger
}

// ledger is an audit log in memory.
type ledger struct {
	mu     sync.Mutex
	events []audit.Event
	broken bool
}

func (l *ledger) Write(e *audit.Event) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken {
		return errors.New("disk full")
	}
	l.events = append(l.events, *e)
	return nil
}

func (l *ledger) last() audit.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.events[len(l.events)-1]
}

func (l *ledger) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.events)
}

func (l *ledger) since(n int) []audit.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.events[n:])
}

func (l *ledger) fail(broken bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.broken = broken
}

func newRig(t testing.TB) *rig {
	t.Helper()
	database, sealer := newStore(t)
	r := newReplica(t, database, sealer)
	r.token = r.logIn(r.admin.AccessID, r.admin.AccessKey)
	return r
}

// newStore makes an empty store, and what seals its records.
func newStore(t testing.TB) (store.Store, *seal.Sealer) {
	t.Helper()
	must := (&rig{t: t}).must
	dir := t.TempDir()
	database, err := bolt.Open(bolt.Options{Dir: dir})
	must(err)
	t.Cleanup(func() { must(database.Close()) })
	keyFile := filepath.Join(dir, "seal.key")
	_, err = seal.CreateFile(keyFile)
	must(err)
	sealer, err := seal.New(seal.Options{File: keyFile, Logger: slog.New(slog.DiscardHandler)})
	must(err)
	return seal.Guard(database), sealer
}

// newReplica is a gateway on a store. If it is the first it makes the administrator.
func newReplica(t testing.TB, database store.Store, sealer *seal.Sealer) *rig {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	r := &rig{t: t, log: &ledger{}}
	kept := keys.NewStored(database, sealer, 0)

	var present *state.Store
	objects, err := catalog.New(catalog.Options{
		Store: database, Seal: sealer, Audit: r.log, Logger: quiet,
		Changed: func(ctx context.Context) { present.CatalogChanged(ctx) },
	})
	r.must(err)
	present = state.New(state.Options{
		Cluster: func() (*rest.Config, error) { return nil, errors.New("not in a cluster") },
		Catalog: objects, Keys: kept, Logger: quiet,
	})
	t.Cleanup(present.Close)
	r.run(objects)
	r.must(present.Apply(t.Context(), &config.Config{Issuer: "https://gateway.example:8000"}))
	r.admin, err = objects.Bootstrap(t.Context(), nil)
	r.must(err)
	r.Gateway, err = gateway.New(gateway.Options{
		State: present.State, Catalog: objects, Audit: r.log, Ready: present.Ready, Logger: quiet, Metrics: prometheus.NewRegistry(),
	})
	r.must(err)
	return r
}

// run runs a catalog until the test ends.
func (r *rig) run(objects *catalog.Catalog) {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- objects.Run(ctx) }()
	r.t.Cleanup(func() {
		cancel()
		r.must(<-ended)
	})
	deadline := time.After(10 * time.Second)
	for objects.Ready() != nil {
		select {
		case <-deadline:
			r.t.Fatal("the store is not read")
		case <-time.After(time.Millisecond):
		}
	}
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// post sends a body, and checks what every answer must be like.
func (r *rig) post(path, body string) (status int, header http.Header, answer map[string]any) {
	r.t.Helper()
	return r.send(http.MethodPost, path, strings.NewReader(body))
}

func (r *rig) send(method, path string, body io.Reader) (status int, header http.Header, answer map[string]any) {
	r.t.Helper()
	return r.serve(method+" "+path, httptest.NewRequest(method, path, body))
}

func (r *rig) serve(what string, request *http.Request) (status int, header http.Header, answer map[string]any) {
	r.t.Helper()
	recorder := httptest.NewRecorder()
	r.ServeHTTP(recorder, request)
	header = recorder.Result().Header
	if header.Get("Content-Type") != "application/json" || header.Get("Cache-Control") != "no-store" || header.Get("Location") != "" {
		r.t.Errorf("%s: headers %v", what, header)
	}
	if err := json.Unmarshal(recorder.Body.Bytes(), &answer); err != nil {
		r.t.Errorf("%s: %v in %q", what, err, recorder.Body)
	}
	problem, failed := answer["error"].(string)
	if failed != (recorder.Code != http.StatusOK) || failed && (problem == "" || len(answer) != 1) || recorder.Code >= 300 && recorder.Code < 400 {
		r.t.Errorf("%s: %d with %s", what, recorder.Code, recorder.Body)
	}
	return recorder.Code, header, answer
}

// fields are those of a request, in JSON.
type fields map[string]any

// as sends a command with a session.
func (r *rig) as(token, command string, f fields) (status int, answer map[string]any) {
	r.t.Helper()
	body := fields{"token": token}
	for name, value := range f {
		body[name] = value
	}
	status, _, answer = r.post("/"+command, r.text(body))
	return status, answer
}

// text is a value in JSON.
func (r *rig) text(v any) string {
	r.t.Helper()
	text, err := json.Marshal(v)
	r.must(err)
	return string(text)
}

// do sends a command of the administrator's, which must succeed.
func (r *rig) do(command string, f fields) map[string]any {
	r.t.Helper()
	status, answer := r.as(r.token, command, f)
	if status != http.StatusOK {
		r.t.Fatalf("%s %v: %d %v", command, f, status, answer)
	}
	return answer
}

// refused sends a command of the administrator's, which must be refused.
func (r *rig) refused(command string, f fields, status int, text string) {
	r.t.Helper()
	got, answer := r.as(r.token, command, f)
	if problem, _ := answer["error"].(string); got != status || !strings.Contains(problem, text) {
		r.t.Errorf("%s %v: %d %v, want %d and %q", command, f, got, answer, status, text)
	}
}

func (r *rig) logIn(accessID, accessKey string) string {
	r.t.Helper()
	_, _, answer := r.post("/auth", `{"access-type":"access_key","access-id":"`+accessID+`","access-key":"`+accessKey+`"}`)
	token, ok := answer["token"].(string)
	if !ok {
		r.t.Fatalf("no session: %v", answer)
	}
	return token
}

// somebody logs in who has a role with these rules: maps with path, capability and
// rule-type.
func (r *rig) somebody(name string, rules ...fields) string {
	r.t.Helper()
	made := r.do("create-auth-method", fields{"name": name})
	r.do("create-role", fields{"name": name})
	for _, rule := range rules {
		rule["role-name"] = name
		r.do("set-role-rule", rule)
	}
	r.do("assoc-role-am", fields{"role-name": name, "am-name": name})
	id, _ := made["access_id"].(string)
	key, _ := made["access_key"].(string)
	return r.logIn(id, key)
}
