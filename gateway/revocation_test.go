package gateway_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

func TestRevocation(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	made := r.do("create-auth-method", fields{"name": "ci"})
	id, key := fmt.Sprint(made["access_id"]), fmt.Sprint(made["access_key"])
	valid := func(token string) bool {
		_, _, answer := r.post("/validate-token", `{"token":"`+token+`"}`)
		good, _ := answer["is_valid"].(bool)
		return good
	}
	revoked := func(token string) {
		t.Helper()
		_, _, answer := r.post("/validate-token", `{"token":"`+token+`"}`)
		if good, known := answer["is_valid"].(bool); good || !known || answer["reason"] != "the session was revoked" {
			t.Errorf("%v", answer)
		}
		if status, answer := r.as(token, "get-account-settings", nil); status != http.StatusUnauthorized || answer["error"] != "unauthorized: the session was revoked" {
			t.Errorf("%d %v", status, answer)
		}
	}
	first, second := r.logIn(id, key), r.logIn(id, key)
	request := httptest.NewRequest(http.MethodPost, "/revoke-creds", nil) // as SDKs send it
	request.Header.Set("Authorization", "Bearer "+first)
	recorder := httptest.NewRecorder()
	if r.ServeHTTP(recorder, request); recorder.Code != http.StatusOK || recorder.Body.String() != "{}" {
		t.Fatalf("%d %s", recorder.Code, recorder.Body)
	}
	revoked(first)
	if !valid(second) {
		t.Error("the other session was revoked too")
	}
	r.do("revoke-identity-sessions", fields{"name": "ci", "subject": "access-key:somebody-else"})
	if !valid(second) {
		t.Error("somebody else's revocation ended it")
	}
	r.do("revoke-identity-sessions", fields{"name": "ci", "subject": "access-key:" + id})
	revoked(second)
	third := r.logIn(id, key)
	if !valid(third) {
		t.Error("a session after the revocation is not valid")
	}
	r.do("revoke-auth-method-sessions", fields{"name": "ci"})
	revoked(third)
	fourth := r.logIn(id, key)
	r.do("update-auth-method", fields{"name": "ci", "access-expires": time.Now().Add(-time.Minute).Unix()})
	revoked(fourth)
	r.do("delete-auth-method", fields{"name": "ci"})
	if !valid(r.token) {
		t.Error("the administrator's session has gone, too")
	}
}

func TestAccessKeys(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	made := r.do("create-auth-method", fields{"name": "ci"})
	id, key := fmt.Sprint(made["access_id"]), fmt.Sprint(made["access_key"])
	try := func(id, key string) (int, http.Header) {
		status, header, _ := r.post("/auth", `{"access-type":"api_key","access-id":"`+id+`","access-key":"`+key+`"}`)
		return status, header
	}
	r.logIn(id, key)
	renewed := r.do("reset-access-key", fields{"name": "ci"})["access_key"]
	for name, keys := range map[string][2]string{
		"the old key": {id, key}, "somebody else's key": {r.admin.AccessID, fmt.Sprint(renewed)}, "an unknown access id": {"p-abcdefghij12ab", key},
		"a key with more": {id, fmt.Sprint(renewed) + "x"},
	} {
		if status, _ := try(keys[0], keys[1]); status != http.StatusUnauthorized {
			t.Errorf("%s: %d", name, status)
		}
		if event := r.log.last(); event.Reason != "access-key-mismatch" || event.Client == "" {
			t.Errorf("%s: recorded as %+v", name, event)
		}
	}
	if status, _ := try(id, ""); status != http.StatusBadRequest {
		t.Errorf("an empty key: %d", status)
	}
	r.logIn(id, fmt.Sprint(renewed))
	for range 8 { // two of the rows above were of this access id
		if status, _ := try(id, "wrong"); status != http.StatusUnauthorized {
			t.Errorf("a wrong key: %d", status)
		}
	}
	status, header := try(id, "wrong")
	if status != http.StatusTooManyRequests || header.Get("Retry-After") == "" || r.log.last().Reason != "too-many-failures" {
		t.Errorf("after ten failures: %d %v %+v", status, header, r.log.last())
	}
	r.logIn(id, fmt.Sprint(renewed)) // who has the right key is not kept out by that
	r.do("update-auth-method", fields{"name": "admin", "bound-ips": "10.0.0.0/8"})
	if status, _ := try(r.admin.AccessID, r.admin.AccessKey); status != http.StatusUnauthorized || r.log.last().Reason != "client-address-not-bound" {
		t.Errorf("from an address that is not bound: %d %+v", status, r.log.last())
	}
}

// TestRevocationsDelayNobody: one tenant ends the sessions of identities of its own,
// again and again, and the administrator those of its method; all others log in
// meanwhile, and so do the tenant's.
func TestRevocationsDelayNobody(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	made, other := r.do("create-auth-method", fields{"name": "tenant"}), r.do("create-auth-method", fields{"name": "other"})
	tenant := r.somebody("owner", fields{"path": "/tenant", "capability": []string{"update"}, "rule-type": "auth-method-rule"})
	for n := range 300 {
		if status, answer := r.as(tenant, "revoke-identity-sessions", fields{"name": "tenant", "subject": fmt.Sprint("system:serviceaccount:shop:web-", n)}); status != http.StatusOK {
			t.Fatalf("%d %v", status, answer)
		}
	}
	r.do("revoke-auth-method-sessions", fields{"name": "tenant"})
	for range 20 {
		r.do("revoke-auth-method-sessions", fields{"name": "other"})
	}
	for name, m := range map[string]map[string]any{"the tenant's method": made, "another": other} {
		token := r.logIn(fmt.Sprint(m["access_id"]), fmt.Sprint(m["access_key"]))
		if _, _, answer := r.post("/validate-token", r.text(fields{"token": token})); fmt.Sprint(answer["is_valid"]) != "true" {
			t.Errorf("a session of %s: %v", name, answer)
		}
	}
	if status, answer := r.as(r.token, "get-account-settings", nil); status != http.StatusOK {
		t.Errorf("the administrator's session: %d %v", status, answer)
	}
}
