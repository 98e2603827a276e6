package gateway_test

import (
	"encoding/base64"
	"fmt"
	"maps"
	"strings"
	"testing"
)

func TestAuthConfigs(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	made := r.do("create-auth-method-k8s", fields{"name": "m"})
	ca := base64.StdEncoding.EncodeToString(certificate(t))
	const host = "https://kubernetes.example.com"
	create := func(name string, f fields) fields {
		request := fields{"name": name, "access-id": made["access_id"], "k8s-auth-type": "token", "k8s-issuer": "kubernetes/serviceaccount", "token-exp": 300}
		maps.Copy(request, f)
		return request
	}
	for _, tt := range []struct {
		name string
		f    fields
		want fields
	}{
		{"nothing", fields{"k8s-host": host}, fields{"reviewer": "self", "use_local_ca_jwt": false, "k8s_host": host}},
		{"own", fields{"use-gw-service-account": true, "k8s-host": ""}, fields{"reviewer": "gateway", "use_local_ca_jwt": true, "k8s_host": ""}},
		{"own-named", fields{"use-gw-service-account": "true", "k8s-host": "https://kubernetes.default.svc:443/"}, fields{"reviewer": "gateway", "k8s_host": ""}},
		{"token", fields{"k8s-host": host, "token-reviewer-jwt": "a.b.c\n", "k8s-ca-cert": ca}, fields{"reviewer": "token", "k8s_ca_cert": ca, "k8s_issuer": "kubernetes/serviceaccount"}},
		{"raw-ca", fields{"k8s-host": host, "k8s-ca-cert": string(certificate(t)), "disable-issuer-validation": true}, fields{"disable_iss_validation": true, "am_token_expiration": 300.0}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r.do("gateway-create-k8s-auth-config", create(tt.name, tt.f))
			got := r.do("gateway-get-k8s-auth-config", fields{"name": tt.name})
			for field, want := range tt.want {
				if got[field] != want {
					t.Errorf("%s is %v, want %v", field, got[field], want)
				}
			}
		})
	}
	for _, tt := range []struct {
		name string
		f    fields
		text string
	}{
		{"two reviewers", fields{"use-gw-service-account": true, "token-reviewer-jwt": "a.b.c"}, "choose one"},
		{"the gateway's account for another cluster", fields{"use-gw-service-account": true, "k8s-host": host}, "own cluster"},
		{"a certificate and a token", fields{"k8s-client-certificate": ca, "token-reviewer-jwt": "a.b.c"}, "choose one"},
		{"a certificate of the wrong type", fields{"k8s-client-certificate": ca}, "k8s-auth-type"},
		{"a certificate that is missing", fields{"k8s-auth-type": "certificate"}, "k8s-client-certificate"},
		{"a certificate without its key", fields{"k8s-auth-type": "certificate", "k8s-client-certificate": ca}, "belong together"},
		{"another type", fields{"k8s-auth-type": "basic"}, "use token or certificate"},
		{"Rancher", fields{"cluster-api-type": "rancher"}, "not supported"},
		{"a life that is too long", fields{"token-exp": 1 << 40}, "token-exp"},
		{"a CA that is none", fields{"k8s-ca-cert": "aGVsbG8="}, "k8s-ca-cert"},
		{"another method's key", fields{"signing-key": base64.StdEncoding.EncodeToString(certificate(t))}, "signing key"},
	} {
		t.Run(tt.name+" is refused", func(*testing.T) {
			r.refused("gateway-create-k8s-auth-config", create("x", tt.f), 400, tt.text)
		})
	}
	t.Run("an update keeps the reviewer and its token, but not for another host", func(t *testing.T) {
		r.do("gateway-update-k8s-auth-config", fields{"name": "token", "token-exp": 60, "k8s-auth-type": "token"})
		if got := r.do("gateway-get-k8s-auth-config", fields{"name": "token"}); got["reviewer"] != "token" || got["am_token_expiration"] != 60.0 {
			t.Errorf("%v", got)
		}
		r.refused("gateway-update-k8s-auth-config", fields{"name": "token", "k8s-host": "https://evil.example"}, 400, "token for the new one")
		r.refused("gateway-update-k8s-auth-config", fields{"name": "token", "k8s-ca-cert": string(certificate(t))}, 400, "token for the new one")
		r.do("gateway-update-k8s-auth-config", fields{"name": "token", "k8s-ca-cert": ca, "k8s-host": host})
		r.refused("gateway-update-k8s-auth-config", fields{"name": "own", "k8s-ca-cert": ca}, 400, "leave the CA out")
		r.refused("gateway-update-k8s-auth-config", fields{"name": "token", "access-id": r.do("create-auth-method-k8s", fields{"name": "other"})["access_id"]}, 409, "auth method m (access id ")
		r.refused("gateway-create-k8s-auth-config", create("token", nil), 409, "already exists; it belongs to auth method m (access id ")
		r.do("gateway-update-k8s-auth-config", fields{"name": "token", "k8s-host": "https://new.example", "token-reviewer-jwt": "d.e.f"})
		r.do("gateway-update-k8s-auth-config", fields{"name": "own", "use-gw-service-account": false})
		if got := r.do("gateway-get-k8s-auth-config", fields{"name": "own"}); got["reviewer"] != "self" {
			t.Errorf("%v", got)
		}
	})
	t.Run("what the SDKs send in every update changes nothing", func(t *testing.T) {
		r.do("gateway-create-k8s-auth-config", create("strict", fields{"k8s-host": host, "k8s-issuer": "https://issuer.example", "token-exp": 60}))
		sdk := fields{"name": "strict", "cluster-api-type": "native_k8s", "k8s-auth-type": "token", "k8s-issuer": "kubernetes/serviceaccount", "token-exp": 300}
		r.do("gateway-update-k8s-auth-config", sdk)
		if got := r.do("gateway-get-k8s-auth-config", fields{"name": "strict"}); got["k8s_issuer"] != "https://issuer.example" || got["am_token_expiration"] != 60.0 {
			t.Errorf("%v", got)
		}
		r.do("gateway-update-k8s-auth-config", fields{"name": "strict", "k8s-issuer": "default"})
		if got := r.do("gateway-get-k8s-auth-config", fields{"name": "strict"}); got["k8s_issuer"] != "kubernetes/serviceaccount" {
			t.Errorf("%v", got)
		}
	})
	t.Run("no secret is told", func(t *testing.T) {
		for _, command := range []string{"gateway-get-config", "gateway-get-k8s-auth-config"} {
			text := r.text(r.do(command, fields{"name": "token"}))
			for _, secret := range []string{"a.b.c", "d.e.f", fmt.Sprint(made["prv_key"])} {
				if strings.Contains(text, secret) {
					t.Errorf("%s tells %s", command, secret)
				}
			}
		}
	})
}
