package workload

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// templatePath says where the kinds of Kubernetes itself that make pods keep the
// pod, as a JSON pointer (RFC 6901); "" is the object itself. Kinds of other API
// groups may have the same names (Knative's Service), so it looks at the group too.
func templatePath(o *object) (path string, ok bool) {
	group, _, grouped := strings.Cut(o.APIVersion, "/")
	if grouped && group != "apps" && group != "batch" && group != "extensions" {
		return "", false
	}
	switch o.Kind {
	case "Pod":
		return "", true
	case "Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job", "ReplicationController":
		return "/spec/template", true
	case "CronJob":
		return "/spec/jobTemplate/spec/template", true
	case "PodTemplate":
		return "/template", true
	}
	return "", false
}

// shapes finds the pod templates of an object of an unknown kind by what they look
// like, as JSON pointers in the order of their names: a spec whose containers are a
// list of objects with a name or an image. Rollouts, Knative Services, JobSets and
// most operators' resources have one or several.
func shapes(raw []byte) []string {
	var v any
	if json.Unmarshal(raw, &v) != nil {
		return nil
	}
	var found []string
	var look func(v any, path string)
	look = func(v any, path string) {
		switch v := v.(type) {
		case map[string]any:
			if podShaped(v) {
				found = append(found, path)
				return // what is inside of a pod is not a pod
			}
			for name, inner := range v {
				look(inner, path+"/"+escape(name))
			}
		case []any:
			for i, inner := range v {
				look(inner, path+"/"+strconv.Itoa(i))
			}
		}
	}
	look(v, "")
	slices.Sort(found)
	return found
}

func podShaped(v map[string]any) bool {
	spec, _ := v["spec"].(map[string]any)
	containers, _ := spec["containers"].([]any)
	for _, c := range containers {
		fields, _ := c.(map[string]any)
		_, named := fields["name"].(string)
		_, image := fields["image"].(string)
		if !named && !image {
			return false
		}
	}
	return len(containers) > 0
}

// at returns the value that a JSON pointer points to.
func at(raw []byte, pointer string) ([]byte, error) {
	if pointer == "" {
		return raw, nil
	}
	for name := range strings.SplitSeq(pointer[1:], "/") {
		next, err := step(raw, unescape(name))
		if err != nil {
			return nil, fmt.Errorf("it has no %s", dotted(pointer))
		}
		raw = next
	}
	return raw, nil
}

var errNotThere = errors.New("not there")

func step(raw []byte, name string) ([]byte, error) {
	if i, err := strconv.Atoi(name); err == nil {
		var entries []json.RawMessage
		if json.Unmarshal(raw, &entries) == nil && i < len(entries) {
			return entries[i], nil
		}
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return nil, err
	}
	if next, ok := fields[name]; ok {
		return next, nil
	}
	return nil, errNotThere
}

// dotted writes a JSON pointer as people write the path of a field.
func dotted(pointer string) string {
	return unescape(strings.ReplaceAll(strings.TrimPrefix(pointer, "/"), "/", "."))
}

// escape and unescape write and read a name in a JSON pointer (RFC 6901, section 3).
func escape(name string) string { return strings.NewReplacer("~", "~0", "/", "~1").Replace(name) }

func unescape(name string) string { return strings.NewReplacer("~1", "/", "~0", "~").Replace(name) }
