package replicas_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/gatepass/gatepass/test/await"
)

func TestThreeGatewaysAreOne(t *testing.T) {
	t.Parallel()
	gateways := start(t, startEtcd(t), 3)
	a, b, c := gateways[0], gateways[1], gateways[2]
	session := login(t, a, gateways)
	for i, g := range gateways {
		if !g.post(t, "/validate-token", "token", session).IsValid {
			t.Errorf("gateway %d does not know a session that another has just issued", i)
		}
	}
	if got := a.post(t, "/create-secret", "token", session, "name", "/a/b", "value", "first"); got.status != 200 {
		t.Fatalf("%+v", got)
	}
	if got := a.post(t, "/get-secret-value", "token", session, "names", []string{"/a/b"}); got.values["/a/b"] != "first" {
		t.Errorf("who wrote does not read it at once: %+v", got)
	}
	for _, g := range []*replica{b, c} {
		await.Until(t, "a secret to be seen by the others", func() bool {
			return g.post(t, "/get-secret-value", "token", session, "names", []string{"/a/b"}).values["/a/b"] == "first"
		})
	}

	second := login(t, b, gateways)
	began := time.Now()
	if got := c.post(t, "/revoke-creds", "token", second); got.status != 200 {
		t.Fatalf("%+v", got)
	}
	for _, g := range gateways {
		await.Until(t, "a revocation to be known", func() bool { return !g.post(t, "/validate-token", "token", second).IsValid })
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("a revocation took %s to be known to all", took)
	}

	if err := a.Kill(); err != nil {
		t.Fatal(err)
	}
	for _, g := range []*replica{b, c} {
		if !g.post(t, "/validate-token", "token", session).IsValid {
			t.Error("a session ends with the gateway that issued it")
		}
	}
	if got := b.post(t, "/update-secret-val", "token", session, "name", "/a/b", "value", "second"); got.status != 200 {
		t.Errorf("writing without the lost gateway: %+v", got)
	}
}

// TestWhoIsNewIsKnownEverywhereAtOnce has each gateway make auth methods, another one
// log in with them, and all of them asked for the session, with no pause between. What
// they hear of each other is behind by milliseconds.
func TestWhoIsNewIsKnownEverywhereAtOnce(t *testing.T) {
	t.Parallel()
	gateways := start(t, startEtcd(t), 3)
	session := login(t, gateways[0], gateways)
	for round := range 60 {
		maker, other := gateways[round%3], gateways[(round+1)%3]
		made := maker.post(t, "/create-auth-method", "token", session, "name", fmt.Sprintf("new-%d", round))
		if made.status != 200 {
			t.Fatalf("%+v", made)
		}
		in := other.post(t, "/auth", "access-type", "access_key", "access-id", made.AccessID, "access-key", made.AccessKey)
		if in.status != 200 {
			t.Fatalf("round %d: a login at another gateway than the auth method was made at: %+v", round, in)
		}
		for i, g := range gateways {
			if got := g.post(t, "/validate-token", "token", in.Token); !got.IsValid {
				t.Fatalf("round %d: gateway %d does not know a session that another has just issued: %+v", round, i, got)
			}
		}
	}
}

func TestOutageOfEtcd(t *testing.T) {
	t.Parallel()
	const outage = 30 * time.Second
	server := startEtcd(t)
	all := start(t, server, 3)
	gateways, lost := all[:2], all[2]
	a, b := gateways[0], gateways[1]
	session, key := login(t, a, all), administrator(t, all)
	revoked := login(t, b, all)
	for _, name := range []string{"/read", "/unread"} {
		if got := a.post(t, "/create-secret", "token", session, "name", name, "value", "v"); got.status != 200 {
			t.Fatalf("%+v", got)
		}
	}
	a.post(t, "/get-secret-value", "token", session, "names", []string{"/read"})
	if got := a.post(t, "/revoke-creds", "token", revoked); got.status != 200 {
		t.Fatalf("%+v", got)
	}
	await.Until(t, "the revocation to arrive", func() bool { return !b.post(t, "/validate-token", "token", revoked).IsValid })

	if err := errors.Join(server.process.Kill(), lost.Kill()); err != nil {
		t.Fatal(err)
	}
	unknown := a.post(t, "/auth", "access-type", "access_key", "access-id", "p-abcdefghij12km", "access-key", "x")
	if unknown.status != 401 || unknown.took > 2*time.Second {
		t.Errorf("who is unknown, in the outage: %+v", unknown)
	}
	validations := 0
	rounds := 0
	for began := time.Now(); time.Since(began) < outage || rounds < len(changes("", "")); rounds++ {
		for range 200 {
			for _, g := range gateways {
				if got := g.post(t, "/validate-token", "token", session); !got.IsValid {
					t.Fatalf("a session is lost in the outage: %+v", got)
				}
				validations++
			}
		}
		begun := map[string]bool{}
		for _, g := range gateways {
			if g.post(t, "/validate-token", "token", revoked).IsValid {
				t.Error("a revoked session is valid in the outage")
			}
			got := g.post(t, "/auth", key...)
			if got.status != 200 {
				t.Errorf("a login in the outage: %+v", got)
			}
			begun[got.Token] = true
			for token := range begun {
				for _, other := range gateways {
					if !other.post(t, "/validate-token", "token", token).IsValid {
						t.Error("a session that began in the outage is not valid at every gateway")
					}
				}
			}
			change := changes(session, got.Token)[rounds%len(changes("", ""))]
			if got := g.post(t, change.path, change.fields...); got.status != 503 || got.Error == "" || got.took > 5*time.Second {
				t.Errorf("%s in the outage: %+v", change.path, got)
			}
		}
		if got := a.post(t, "/get-secret-value", "token", session, "names", []string{"/read"}); got.values["/read"] != "v" {
			t.Errorf("what was read before can't be read: %+v", got)
		}
		if got := a.post(t, "/get-secret-value", "token", session, "names", []string{"/unread"}); got.status != 503 {
			t.Errorf("what was not: %+v", got)
		}
	}
	t.Logf("%d validations and %d changes that failed in %s without etcd", validations, rounds*len(gateways), outage)
	if err := server.run(); err != nil {
		t.Fatal(err)
	}
	for _, g := range gateways {
		await.Until(t, "writes to be possible again", func() bool {
			return g.post(t, "/update-secret-val", "token", session, "name", "/read", "value", "again").status == 200
		})
	}
	for _, g := range gateways {
		await.Until(t, "both to see it", func() bool {
			return g.post(t, "/get-secret-value", "token", session, "names", []string{"/read"}).values["/read"] == "again"
		})
		if got := g.post(t, "/get-secret-value", "token", session, "names", []string{"/new"}); got.status != 404 {
			t.Errorf("a write that failed: %+v", got)
		}
		if got := g.post(t, "/describe-item", "token", session, "name", "/unread"); got.status != 200 {
			t.Errorf("a deletion that failed: %+v", got)
		}
	}
	last := login(t, a, all)
	began := time.Now()
	if got := b.post(t, "/revoke-creds", "token", last); got.status != 200 {
		t.Fatalf("%+v", got)
	}
	await.Until(t, "a revocation after the outage to be known", func() bool { return !a.post(t, "/validate-token", "token", last).IsValid })
	if took := time.Since(began); took > time.Second {
		t.Errorf("it took %s", took)
	}
}

type change struct {
	path   string
	fields []any
}

// changes are of every kind; the last one ends another session.
func changes(session, other string) []change {
	return []change{
		{"/create-secret", []any{"token", session, "name", "/new", "value", "v"}},
		{"/update-secret-val", []any{"token", session, "name", "/read", "value", "lost"}},
		{"/delete-item", []any{"token", session, "name", "/unread"}},
		{"/create-role", []any{"token", session, "name", "new"}},
		{"/create-auth-method-k8s", []any{"token", session, "name", "new"}},
		{"/revoke-creds", []any{"token", other}},
	}
}
