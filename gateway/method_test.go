package gateway_test

import (
	"encoding/base64"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func TestAuthMethods(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	get := func(name string) map[string]any { return r.do("get-auth-method", fields{"name": name}) }
	rules := func(name string) map[string]any {
		info, _ := get(name)["access_info"].(map[string]any)
		k8s, _ := info["k8s_access_rules"].(map[string]any)
		return k8s
	}
	made := r.do("create-auth-method-k8s", fields{
		"name": "/teams/web", "bound-namespaces": []string{"a"}, "bound-sa-names": "sa", "gen-key": "true", "access-expires": "0", "jwt-ttl": "5",
	})
	private, err := base64.StdEncoding.DecodeString(fmt.Sprint(made["prv_key"]))
	if id := fmt.Sprint(made["access_id"]); err != nil || !strings.HasPrefix(string(private), "-----BEGIN ") || made["name"] != "teams/web" || len(id) != 16 || id[14] != 'k' {
		t.Errorf("created %v", made)
	}
	public := rules("teams/web")["pub_key"]

	t.Run("an update changes only what it names", func(t *testing.T) {
		r.do("auth-method-update-k8s", fields{"name": "teams/web", "bound-pod-names": []string{"p"}, "gen-key": "true", "bound-sa-names": ""})
		if got := rules("teams/web"); !reflect.DeepEqual(got["bound_namespaces"], []any{"a"}) || !reflect.DeepEqual(got["bound_service_account_names"], []any{"sa"}) ||
			!reflect.DeepEqual(got["bound_pod_names"], []any{"p"}) || got["pub_key"] != public || got["gen_key_pair"] != "true" {
			t.Errorf("%v", got)
		}
		if ttl := reflect.ValueOf(get("teams/web")["access_info"]).MapIndex(reflect.ValueOf("jwt_ttl")).Interface(); ttl != 5.0 {
			t.Errorf("jwt_ttl %v", ttl)
		}
	})
	t.Run("an empty list empties", func(t *testing.T) {
		r.do("update-auth-method-k8s", fields{"name": "teams/web", "bound-pod-names": []string{}})
		if got := rules("teams/web"); got["bound_pod_names"] != nil || got["bound_namespaces"] == nil {
			t.Errorf("%v", got)
		}
	})
	t.Run("a public key of one's own leaves the gateway without a private one", func(t *testing.T) {
		own := r.do("auth-method-create-k8s", fields{"name": "own", "gen-key": "false", "public-key": public})
		if own["prv_key"] != nil || rules("own")["gen_key_pair"] != "false" || rules("own")["pub_key"] != public {
			t.Errorf("%v %v", own, rules("own"))
		}
		r.refused("gateway-create-k8s-auth-config", fields{"name": "c", "access-id": own["access_id"]}, 400, "signing key is missing")
		r.do("gateway-create-k8s-auth-config", fields{"name": "c", "access-id": own["access_id"], "signing-key": made["prv_key"]})
	})
	t.Run("what is wrong is refused", func(*testing.T) {
		for _, tt := range []struct {
			command string
			f       fields
			status  int
			text    string
		}{
			{"create-auth-method-k8s", nil, 400, "name: it is missing"},
			{"create-auth-method-k8s", fields{"name": "teams/web"}, 409, "already exists"},
			{"create-auth-method-k8s", fields{"name": "a//b"}, 400, "slashes"},
			{"create-auth-method-k8s", fields{"name": "x", "gen-key": "yes"}, 400, "field /gen-key of the request body: want true or false"},
			{"create-auth-method-k8s", fields{"name": "x", "jwt-ttl": 1.5}, 400, "field /jwt-ttl of the request body: want a whole number"},
			{"create-auth-method-k8s", fields{"name": "x", "bound-namespaces": []int{1}}, 400, "field /bound-namespaces of the request body: want a list of texts"},
			{"create-auth-method-k8s", fields{"name": "x", "gen-key": "false"}, 400, "public-key: it is missing"},
			{"create-auth-method-k8s", fields{"name": "x", "public-key": "hello"}, 400, "public-key"},
			{"create-auth-method-k8s", fields{"name": "x", "bound-ips": "10.0.0.0/99"}, 400, "10.0.0.0/99"},
			{"create-auth-method-k8s", fields{"name": "x", "bound-namespaces": []string{""}}, 400, "bound namespaces"},
			{"create-auth-method-k8s", fields{"name": "x", "access-expires": -1}, 400, "access-expires"},
			{"create-auth-method-k8s", fields{"name": "x", "access-expires": 1 << 62}, 400, "access-expires"},
			{"create-auth-method-k8s", fields{"name": "x", "jwt-ttl": -1}, 400, "jwt-ttl"},
			{"create-auth-method-k8s", fields{"name": "x", "jwt-ttl": 1 << 60}, 400, "jwt-ttl"},
			{"create-auth-method-k8s", fields{"name": "x", "jwt-ttl": 1441}, 400, "from 1 to 1440"},
			{"update-auth-method", fields{"name": "teams/web"}, 400, "of type k8s"},
			{"update-auth-method-k8s", fields{"name": "admin"}, 400, "of type access_key"},
			{"reset-access-key", fields{"name": "teams/web"}, 400, "k8s"},
			{"list-auth-methods", fields{"auto-pagination": "yes"}, 400, "auto-pagination"},
		} {
			r.refused(tt.command, tt.f, tt.status, tt.text)
		}
	})
	t.Run("what the SDKs send in every update changes nothing", func(t *testing.T) {
		// An end in the past, so the method is switched off.
		r.do("create-auth-method-k8s", fields{"name": "off", "access-expires": 1600000000, "jwt-ttl": 7})
		r.do("update-auth-method-k8s", fields{"name": "off", "description": "new", "access-expires": 0, "jwt-ttl": 0})
		info, _ := get("off")["access_info"].(map[string]any)
		if info["access_expires"] != 1600000000.0 || info["jwt_ttl"] != 7.0 {
			t.Errorf("%v", info)
		}
		r.do("update-auth-method-k8s", fields{"name": "off", "access-expires": -1, "jwt-ttl": -1})
		info, _ = get("off")["access_info"].(map[string]any)
		if info["access_expires"] != 0.0 || info["jwt_ttl"] != 0.0 {
			t.Errorf("%v", info)
		}
	})
	t.Run("a new name leaves the old one to nobody", func(t *testing.T) {
		r.do("update-auth-method-k8s", fields{"name": "teams/web", "new-name": "teams/new"})
		r.refused("get-auth-method", fields{"name": "teams/web"}, 404, "teams/web: not found")
		if got := get("/teams/new"); got["auth_method_access_id"] != made["access_id"] || got["auth_method_name"] != "teams/new" {
			t.Errorf("%v", got)
		}
	})
}
