package config

import (
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gatepass/gatepass/gateway/access"
	"github.com/gatepass/gatepass/internal/visible"
)

// administratorRole is the name of the role that is built in.
const administratorRole = "admin"

// validateRoles adds the roles to cfg, whose auth methods they may be given to.
func (f *file) validateRoles(cfg *Config) field.ErrorList {
	var errs field.ErrorList
	accessIDs := make(map[string]string, len(cfg.AuthMethods))
	for i := range cfg.AuthMethods {
		accessIDs[cfg.AuthMethods[i].Name] = cfg.AuthMethods[i].AccessID
	}
	names := map[string]bool{}
	for i, entry := range f.Roles {
		path := field.NewPath("roles").Index(i)
		role, invalid := entry.validate(path, accessIDs)
		errs = append(errs, invalid...)
		errs = append(errs, distinct(path.Child("name"), names, role.Name)...)
		cfg.Roles = append(cfg.Roles, role)
	}
	return errs
}

func (e *roleEntry) validate(path *field.Path, accessIDs map[string]string) (Role, field.ErrorList) {
	r := Role{Description: e.Description}
	var errs field.ErrorList
	name, err := access.ParsePath(e.Name)
	switch {
	case e.Name == "":
		errs = append(errs, field.Required(path.Child("name"), "choose a name"))
	case err != nil:
		errs = append(errs, field.Invalid(path.Child("name"), e.Name, err.Error()))
	case isHidden(e.Name):
		errs = append(errs, field.Invalid(path.Child("name"), e.Name, hiddenDetail))
	case name.Name() == administratorRole:
		errs = append(errs, field.Forbidden(path.Child("name"), "the role admin is built in; choose another name"))
	default:
		r.Name = name.Name()
	}
	rules := map[string]bool{}
	for i, entry := range e.Rules {
		path := path.Child("rules").Index(i)
		rule := access.Rule{Type: access.RuleType(entry.Type), Path: entry.Path}
		for _, c := range entry.Capabilities {
			rule.Capabilities = append(rule.Capabilities, access.Capability(c))
		}
		invalid := rule.Validate(path)
		if invalid == nil && isHidden(entry.Path) {
			invalid = field.ErrorList{field.Invalid(path.Child("path"), entry.Path, hiddenDetail)}
		}
		errs = append(errs, invalid...)
		errs = append(errs, distinct(path.Child("path"), rules, entry.Type+" "+strings.TrimPrefix(entry.Path, "/"))...)
		r.Rules = append(r.Rules, rule)
	}
	for i, entry := range e.Associations {
		association, invalid := entry.validate(path.Child("associations").Index(i), accessIDs)
		errs = append(errs, invalid...)
		r.Associations = append(r.Associations, association)
	}
	return r, errs
}

func (e *associationEntry) validate(path *field.Path, accessIDs map[string]string) (Association, field.ErrorList) {
	a := Association{AccessID: accessIDs[e.AuthMethod], SubClaims: e.SubClaims, CaseSensitive: e.CaseSensitive == nil || *e.CaseSensitive}
	switch {
	case e.AuthMethod == "":
		return a, field.ErrorList{field.Required(path.Child("authMethod"), "name an auth method of this file")}
	case a.AccessID == "":
		return a, field.ErrorList{notFound(path.Child("authMethod"), e.AuthMethod, "no auth method of this file has this name")}
	}
	conditions := access.Association{Role: "a role", AccessID: a.AccessID, SubClaims: a.SubClaims, IgnoreCase: !a.CaseSensitive}
	errs := conditions.Validate(path)
	if errs != nil {
		return a, errs
	}
	for _, name := range slices.Sorted(maps.Keys(e.SubClaims)) {
		if isHidden(e.SubClaims[name]) {
			errs = append(errs, field.Invalid(path.Child("subClaims").Key(name), e.SubClaims[name], hiddenDetail))
		}
	}
	return a, errs
}

const hiddenDetail = "must hold only characters that can be seen"

func isHidden(text string) bool {
	_, hidden := visible.Hidden(text)
	return hidden
}
