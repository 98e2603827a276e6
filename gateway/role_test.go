package gateway_test

import (
	"reflect"
	"strings"
	"testing"
)

func TestRoles(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.do("create-auth-method-k8s", fields{"name": "strict", "force-sub-claims": true})
	r.do("create-role", fields{"name": "r", "comment": "old word"})
	r.do("set-role-rule", fields{"role-name": "/r", "path": "apps/*", "capability": "read"})
	r.do("set-role-rule", fields{"role-name": "r", "path": "/apps/*", "capability": []string{"deny"}, "rule-type": "", "ttl": 0})
	for _, tt := range []struct {
		command string
		f       fields
		status  int
		text    string
	}{
		{"create-role", fields{"name": "r"}, 409, "already exists"},
		{"create-role", fields{"name": "admin"}, 409, "already exists"},
		{"delete-role", fields{"name": "admin"}, 409, "configuration file"},
		{"set-role-rule", fields{"role-name": "r", "path": "/x", "capability": "fly"}, 400, "capabilities"},
		{"set-role-rule", fields{"role-name": "r", "path": "/x"}, 400, "capabilities"},
		{"set-role-rule", fields{"role-name": "r", "path": "/x/**", "capability": "read"}, 400, "path"},
		{"set-role-rule", fields{"role-name": "r", "path": "/x", "capability": "read", "rule-type": "target-rule"}, 400, "type"},
		{"set-role-rule", fields{"role-name": "r", "path": "/x", "capability": "read", "ttl": 60}, 400, "ttl"},
		{"delete-role-rule", fields{"role-name": "r", "path": "/x"}, 404, "not found"},
		{"assoc-role-am", fields{"role-name": "r"}, 400, "am-name"},
		{"assoc-role-am", fields{"role-name": "r", "am-name": "strict"}, 400, "sub-claims"},
		{"assoc-role-am", fields{"role-name": "r", "am-name": "missing"}, 404, "missing"},
		{"describe-permissions", fields{"path": "/x", "type": "target"}, 400, "use item, role or am"},
		{"update-account-settings", fields{"jwt-ttl-default": 0}, 400, "life of a session"},
	} {
		r.refused(tt.command, tt.f, tt.status, tt.text)
	}
	made := r.do("assoc-role-am", fields{"role-name": "r", "am-name": "strict", "sub-claims": fields{"namespace": "a, b"}, "case-sensitive": false})
	// Keeps what it does not name, and does not take "no sub-claims" for that.
	r.do("update-assoc", fields{"assoc-id": made["assoc_id"]})
	r.refused("update-assoc", fields{"assoc-id": made["assoc_id"], "sub-claims": fields{}}, 400, "sub-claims")
	r.do("update-role", fields{"name": "r", "description": "default_comment", "new-comment": "default_comment"})
	role := r.do("get-role", fields{"name": "r"})
	rules, _ := role["rules"].(map[string]any)
	methods, _ := role["role_auth_methods_assoc"].([]any)
	if role["comment"] != "old word" || len(methods) != 1 ||
		!reflect.DeepEqual(rules["path_rules"], []any{map[string]any{"path": "/apps/*", "type": "item-rule", "capabilities": []any{"deny"}}}) {
		t.Errorf("%v", role)
	}
	method := r.do("get-auth-method", fields{"name": "strict"})
	if text := r.text(method["auth_method_roles_assoc"]); !strings.Contains(text, `"auth_method_sub_claims":{"namespace":["a","b"]}`) || !strings.Contains(text, `"is_sub_claims_case_sensitive":false`) {
		t.Errorf("%s", text)
	}
}
