package catalog

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/gateway/session"
)

// FuzzRecords puts any value under any key, as somebody who can write the store
// may: the view takes it or leaves it out, everything that is made of a view can
// still be made, and a record that is deleted leaves nothing behind.
func FuzzRecords(f *testing.F) {
	for key, value := range map[string]string{
		itemPrefix + "a/b":               `{"id":"i","tags":["t"],"first":1,"versions":[1],"created":1,"modified":1}`,
		methodPrefix + "m":               `{"access_id":"p-1","type":"k8s","expires":"2030-01-01T00:00:00Z","session_ttl":-1,"bound_ips":["x"],"public_key":"k"}`,
		authConfigPrefix + "c":           `{"id":"c","access_id":"p-1","host":"https://h","reviewer":"token","secret":1}`,
		rolePrefix + "r":                 `{"id":"r1","rules":[{"type":"item-rule","path":"/{{x}}/*","capabilities":["read","none"]}]}`,
		associationPrefix + "s":          `{"role":"r1","access_id":"p-1","sub_claims":{"a":"*,b"}}`,
		revokedSessionPrefix + "p-1/jti": `{"expires":9223372036854775807}`,
		revokedMethodPrefix + "p-1":      `{"before":9223372036854775807,"expires":-1}`,
		revokedIdentityPrefix + "00":     `{"subject":"s","before":1,"expires":2}`,
		leasePrefix + "p-1/jti":          `{"until":-9223372036854775808,"expires":1}`,
		declaredMethodPrefix + "p-1":     `{}`,
		lineageKey:                       `{"id":"x"}`,
		ticksKey:                         `{"revisions":[3,1,-2,9223372036854775807]}`,
		settingsKey:                      `{"session_ttl":9223372036854775807}`,
		administratorKey:                 `{"access_id":"p-1"}`,
		issuerKey:                        `{"issuer":"https://g"}`,
		accessIDPrefix + "p-1":           `{}`,
		prefix + "of/a/later/version":    `{}`,
		strings.TrimSuffix(prefix, "/"):  `null`,
	} {
		f.Add(key, []byte(value))
	}
	quiet := slog.New(slog.DiscardHandler)
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		v := newView()
		// A method and a role, for an association to name.
		for _, known := range [][2]string{
			{methodPrefix + "known", `{"access_id":"p-1","type":"k8s"}`}, {rolePrefix + "known", `{"id":"r1"}`},
		} {
			if _, err := v.apply(known[0], []byte(known[1]), 1); err != nil {
				t.Fatal(err)
			}
		}
		if key == methodPrefix+"known" || key == rolePrefix+"known" {
			return
		}
		before := counts(v)
		if value == nil {
			value = []byte{}
		}
		if _, err := v.apply(key, value, 2); err != nil && counts(v) != before {
			t.Errorf("%s: %v, and %v instead of %v", key, err, counts(v), before)
		}
		use(v, quiet)
		if _, err := v.apply(key, nil, 3); err != nil {
			t.Errorf("%s can't be deleted: %v", key, err)
		}
		if after := counts(v); after != before {
			t.Errorf("%s was put in and deleted: %v instead of %v", key, after, before)
		}
	})
}

func counts(v *View) [10]int {
	return [...]int{
		v.items.len(), v.methods.len(), v.configs.len(), v.roles.len(), v.associations.len(),
		v.revokedSessions.len(), v.revokedIdentities.len(), v.revokedMethods.len(), v.leases.len(), v.declaredMethods.len(),
	}
}

// use does what the gateway does with a view.
func use(v *View, log *slog.Logger) {
	v.compile(log)
	v.Settings()
	for _, i := range v.items.all() {
		i.tell()
		i.latest()
	}
	for _, m := range v.methods.all() {
		m.tell()
		v.VerifyAccessKey(m.AccessID, "key")
	}
	for _, c := range v.configs.all() {
		c.tell()
	}
	claims := &session.Claims{ID: "jti", AccessID: "p-1", Subject: "s", IssuedAt: 1, Lease: 2, Expiry: 3, Generation: "x.y"}
	_ = v.Check(claims, time.Unix(1, 0)) // either answer is right
	v.Generation("p-1", "s")
	v.age(1)
}

// FuzzPublicKey: a public key has one spelling, and no error quotes what it is of.
func FuzzPublicKey(f *testing.F) {
	private, public, err := generateKey()
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(public))
	f.Add(private)
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"))
	f.Add([]byte("-----BEGIN RSA PUBLIC KEY-----\nMAA=\n-----END RSA PUBLIC KEY-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		once, err := parsePublicKey(string(text))
		if err != nil {
			if once != "" || len(err.Error()) > 2*len(text)+200 {
				t.Errorf("%q with %v", once, err)
			}
			return
		}
		if twice, err := parsePublicKey(once); err != nil || twice != once {
			t.Errorf("%q is spelt %q again: %v", once, twice, err)
		}
	})
}
