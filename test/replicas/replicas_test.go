package replicas_test

import (
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

func TestOutageOfEtcd(t *testing.T) {
	t.Parallel()
	const outage = 30 * time.Second
	server := startEtcd(t)
	gateways := start(t, server, 2)
	a, b := gateways[0], gateways[1]
	session := login(t, a, gateways)
	revoked := login(t, b, gateways)
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

	if err := server.process.Kill(); err != nil {
		t.Fatal(err)
	}
	validations := 0
	for began := time.Now(); time.Since(began) < outage; {
		for range 200 {
			for _, g := range gateways {
				if got := g.post(t, "/validate-token", "token", session); !got.IsValid {
					t.Fatalf("a session is lost in the outage: %+v", got)
				}
				validations++
			}
		}
		for _, g := range gateways {
			if g.post(t, "/validate-token", "token", revoked).IsValid {
				t.Error("a revoked session is valid in the outage")
			}
			got := g.post(t, "/create-secret", "token", session, "name", "/new", "value", "v")
			if got.status != 503 || got.Error == "" || got.took > 5*time.Second {
				t.Errorf("a write in the outage: %+v", got)
			}
		}
		if got := a.post(t, "/get-secret-value", "token", session, "names", []string{"/read"}); got.values["/read"] != "v" {
			t.Errorf("what was read before can't be read: %+v", got)
		}
		if got := a.post(t, "/get-secret-value", "token", session, "names", []string{"/unread"}); got.status != 503 {
			t.Errorf("what was not: %+v", got)
		}
	}
	t.Logf("%d validations in %s without etcd", validations, outage)
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
	}
}
