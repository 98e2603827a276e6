package gateway_test

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/gatepass/gatepass/gateway/store"
)

// laggingStore tells a gateway of no commit until it is asked which one is the last.
type laggingStore struct {
	store.Store

	mu    sync.Mutex
	asked int
	fails bool
	// told is closed when the gateway may hear of what there is.
	told chan struct{}
}

func (s *laggingStore) Get(ctx context.Context, key string) (store.Item, error) {
	if strings.HasSuffix(key, "/last") {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.asked++
		if s.fails {
			return store.Item{}, store.ErrUnavailable
		}
		select {
		case <-s.told:
		default:
			close(s.told)
		}
	}
	return s.Store.Get(ctx, key) //nolint:wrapcheck // it is the store's
}

func (s *laggingStore) Watch(ctx context.Context, prefix string, after int64) iter.Seq2[store.Event, error] {
	return func(yield func(store.Event, error) bool) {
		for event, err := range s.Store.Watch(ctx, prefix, after) {
			s.mu.Lock()
			told := s.told
			s.mu.Unlock()
			select {
			case <-told:
			case <-ctx.Done():
			}
			if !yield(event, err) {
				return
			}
		}
	}
}

// lag withholds what is committed from now on, and says how often the gateway had
// asked before.
func (s *laggingStore) lag(fails bool) (asked int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.told:
		s.told = make(chan struct{})
	default: // what it waits for
	}
	s.fails = fails
	return s.asked
}

func (s *laggingStore) questions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// newcomer is what an administrator has just made at one gateway.
type newcomer struct{ name, id, key, session string }

func (r *rig) newcomer(name string) newcomer {
	r.t.Helper()
	made := r.do("create-auth-method", fields{"name": name})
	n := newcomer{name: name, id: fmt.Sprint(made["access_id"]), key: fmt.Sprint(made["access_key"])}
	n.session = r.logIn(n.id, n.key)
	made = r.do("create-auth-method-k8s", fields{"name": name + "-k8s"})
	r.do("gateway-create-k8s-auth-config", fields{
		"name": name, "access-id": made["access_id"], "signing-key": made["prv_key"], "k8s-host": "https://127.0.0.1:1",
		"k8s-ca-cert": string(certificate(r.t)),
	})
	return n
}

func TestWhatOneGatewayMadeAMomentAgoIsKnownToTheOther(t *testing.T) {
	t.Parallel()
	database, sealer := newStore(t)
	here := newReplica(t, database, sealer)
	here.token = here.logIn(here.admin.AccessID, here.admin.AccessKey)
	lagging := &laggingStore{Store: database, told: make(chan struct{})}
	there := newReplica(t, lagging, sealer)
	jwt := "aGVhZA.Ym9keQ.c2ln"
	for i, tt := range []struct {
		name, method, path, body string
		status                   int // if it is known
		text                     string
		refused                  int // if it is not
	}{
		{"a session is valid", "POST", "/validate-token", `{"token":"SESSION"}`, 200, `"is_valid":true`, 200},
		{"a session reads", "POST", "/describe-sub-claims", `{"token":"SESSION"}`, 200, `"sub_claims"`, 401},
		{"a session is looked up by Vault's protocol", "GET", "/v1/auth/token/lookup-self", ``, 200, `"data"`, 403},
		{"a session is a user of Kubernetes", "POST", "/k8s/token-review", `{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","spec":{"token":"SESSION"}}`, 200, `"authenticated":true`, 200},
		{"an access key logs in", "POST", "/auth", `{"access-id":"ID","access-key":"KEY"}`, 200, `"token"`, 401},
		{"a service account logs in, as far as the API server", "POST", "/auth", `{"access-type":"k8s","access-id":"K8S","k8s-auth-config-name":"NAME","k8s-service-account-token":"JWT"}`, 503, "can't reach", 401},
		{"a service account logs in by Vault's protocol, as far as the API server", "PUT", "/v1/auth/NAME/login", `{"role":"NAME-k8s","jwt":"JWT"}`, 503, "can't reach", 403},
	} {
		for _, known := range []bool{true, false} {
			before := lagging.lag(!known)
			n := here.newcomer(fmt.Sprintf("n%d-%v", i, known))
			k8s := here.do("get-auth-method", fields{"name": n.name + "-k8s"})
			fill := strings.NewReplacer("SESSION", n.session, "K8S", fmt.Sprint(k8s["auth_method_access_id"]), "ID", n.id, "KEY", n.key, "NAME", n.name, "JWT", jwt)
			request := httptest.NewRequestWithContext(t.Context(), tt.method, fill.Replace(tt.path), strings.NewReader(fill.Replace(tt.body)))
			request.Header.Set("X-Vault-Token", n.session)
			recorder := httptest.NewRecorder()
			there.ServeHTTP(recorder, request)
			status, text := tt.status, tt.text
			if !known {
				status, text = tt.refused, ""
			}
			if got := recorder.Body.String(); recorder.Code != status || !strings.Contains(got, text) || strings.Contains(got, tt.text) != known {
				t.Errorf("%s (%v): %d %s", tt.name, known, recorder.Code, got)
			}
			if asked := lagging.questions() - before; asked != 1 {
				t.Errorf("%s (%v): the store was asked %d times", tt.name, known, asked)
			}
		}
	}
}

func TestOnlyWhoMayBeNewAsksTheStore(t *testing.T) {
	t.Parallel()
	database, sealer := newStore(t)
	counting := &laggingStore{Store: database, told: make(chan struct{})}
	close(counting.told)
	r := newReplica(t, counting, sealer)
	token := r.logIn(r.admin.AccessID, r.admin.AccessKey)
	other := newRig(t).token // says the same issuer
	foreign := "eyJhbGciOiJFUzI1NiIsImtpZCI6IngifQ.eyJpc3MiOiJodHRwczovL290aGVyIn0.c2ln"
	for _, tt := range []struct {
		name, token string
		asked       int
	}{
		{"a session", token, 0},
		{"no token", "", 0},
		{"no session", "x", 0},
		{"a token of another issuer", foreign, 0},
		{"a token that says it is from here", other, 1},
	} {
		before := counting.questions()
		if status, _ := r.as(tt.token, "validate-token", nil); status != http.StatusOK && tt.token != "" {
			t.Errorf("%s: %d", tt.name, status)
		}
		if asked := counting.questions() - before; asked != tt.asked {
			t.Errorf("%s: the store was asked %d times", tt.name, asked)
		}
	}
}

func TestASessionOfAfterARevocationIsKnownToTheOther(t *testing.T) {
	t.Parallel()
	database, sealer := newStore(t)
	here := newReplica(t, database, sealer)
	here.token = here.logIn(here.admin.AccessID, here.admin.AccessKey)
	lagging := &laggingStore{Store: database, told: make(chan struct{})}
	there := newReplica(t, lagging, sealer)
	made := here.do("create-auth-method", fields{"name": "ci"})
	logIn := func() string { return here.logIn(fmt.Sprint(made["access_id"]), fmt.Sprint(made["access_key"])) }
	valid := func(token string) bool {
		_, _, answer := there.post("/validate-token", here.text(fields{"token": token}))
		is, _ := answer["is_valid"].(bool)
		return is
	}
	// Both have seen a first revocation, and only one the second.
	here.do("revoke-auth-method-sessions", fields{"name": "ci"})
	before := logIn()
	if !valid(before) {
		t.Fatal("a session is not valid at the other gateway")
	}
	lagging.lag(false)
	here.do("revoke-auth-method-sessions", fields{"name": "ci"})
	after := logIn()
	if !valid(after) {
		t.Error("a session of after the second revocation is not valid at a gateway that has not heard of it")
	}
	if valid(before) {
		t.Error("a session of before it is")
	}
}
