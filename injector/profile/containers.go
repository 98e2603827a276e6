package profile

import (
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// containers reads names of containers that a profile leaves out.
func (v *validator) containers(p *field.Path, names []string) map[string]bool {
	set := make(map[string]bool, len(names))
	for i, name := range names {
		if reasons := validation.IsDNS1123Label(name); len(reasons) > 0 {
			v.invalid(p.Index(i), name, strings.Join(reasons, "; "))
		} else if set[name] {
			v.errs = append(v.errs, field.Duplicate(p.Index(i), name))
		}
		set[name] = true
	}
	return set
}
