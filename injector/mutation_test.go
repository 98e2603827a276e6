package injector_test

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/injector"
)

// freeParts are the parts of an agent's container that others may set to anything,
// and the numbers of which any is taken. What is not here can't be changed in
// any place, nor anything be added to it.
func freeParts() []string {
	return []string{
		"imagePullPolicy", "envFrom", "resizePolicy", "resources.requests", "resources.limits",
		"securityContext.runAsUser", "securityContext.runAsGroup", "securityContext.capabilities.drop[more]",
		"env[GATEPASS_TOKEN_MODE].value", "env[GATEPASS_TIMEOUT].value", "env[GATEPASS_REVOKE_ON_EXIT].value", "env[GATEPASS_LOG_LEVEL].value",
	}
}

// Each value of an agent is changed, each field taken away, and to each object
// and list something is added: all of that is refused but in the parts that are
// free. Fields that Gatepass gets later are in this test without a further line.
func TestNoChangeOfAnAgentIsOverlooked(t *testing.T) {
	i := injector.New(profiles(t))
	allowed := freeParts()
	for name := range fixtures(t) {
		t.Run(name, func(t *testing.T) {
			p := inject(t, i, name)
			changes := 0
			check := func(where string) {
				changes++
				d := i.Decide(p.json(t))
				free := slices.ContainsFunc(allowed, func(part string) bool {
					return where == part || strings.HasPrefix(where, part+".") || strings.HasPrefix(where, part+"[")
				})
				if d.Reason != injector.ReasonForeignAgent && !free {
					t.Errorf("%s was changed, and the pod is %s, %s: %s", where, d.Result, d.Reason, d.Message())
				}
			}
			for what, part := range map[string]map[string]any{
				"": p.agent, "session": named(p.spec["volumes"], "gatepass-session"), "identity": named(p.spec["volumes"], "gatepass-identity"),
			} {
				mutate(what, part, check)
			}
			if changes < 100 {
				t.Errorf("only %d changes were tried", changes)
			}
		})
	}
}

// mutate makes one change after the other to an object, calls check after each
// with its place, and undoes it.
func mutate(at string, o map[string]any, check func(where string)) {
	for _, key := range slices.Sorted(maps.Keys(o)) {
		was, where := o[key], strings.TrimPrefix(at+"."+key, ".")
		if key == "name" {
			continue // another name is another container, volume, variable or mount
		}
		switch v := was.(type) {
		case map[string]any:
			mutate(where, v, check)
		case []any:
			mutateList(where, v, check)
			if where != "env" && where != "volumeMounts" { // anything may be added to these
				o[key] = append(slices.Clone(v), map[string]any{"zzFutureField": true})
				check(where + "[more]")
			}
		case string:
			o[key] = v + "x"
			check(where)
		case bool:
			o[key] = !v
			check(where)
		default: // a number
			o[key] = 7
			check(where)
		}
		if empty(was) || key == "resources" {
			o[key] = was
			continue
		}
		delete(o, key)
		check(where)
		o[key] = was
	}
	o["zzFutureField"] = true
	check(at + ".zzFutureField")
	delete(o, "zzFutureField")
}

func mutateList(at string, list []any, check func(where string)) {
	for n, e := range list {
		switch v := e.(type) {
		case map[string]any:
			id := strconv.Itoa(n)
			if name, ok := v["name"].(string); ok {
				id = name
			}
			mutate(at+"["+id+"]", v, check)
		case string:
			list[n] = v + "x"
			check(fmt.Sprintf("%s[%d]", at, n))
			list[n] = v
		}
	}
}

// empty values are those that may be left out as well.
func empty(v any) bool {
	if is, boolean := v.(bool); boolean {
		return !is
	}
	return v == nil || v == "" || len(array(v)) == 0 && len(object(v)) == 0 && fmt.Sprint(v) == "map[]"
}
