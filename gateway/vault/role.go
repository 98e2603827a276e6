package vault

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatepass/gatepass/gateway/access"
	"github.com/gatepass/gatepass/gateway/catalog"
)

// role is a role of an auth mount, as it is read. Durations are in seconds.
type role struct {
	Names             []string `json:"bound_service_account_names"`
	Namespaces        []string `json:"bound_service_account_namespaces"`
	NamespaceSelector string   `json:"bound_service_account_namespace_selector"`
	PodNames          []string `json:"bound_pod_names"`
	Audience          string   `json:"audience"`
	AliasNameSource   string   `json:"alias_name_source"`
	BoundCIDRs        []string `json:"token_bound_cidrs"`
	ExplicitMaxTTL    int64    `json:"token_explicit_max_ttl"`
	MaxTTL            int64    `json:"token_max_ttl"`
	NoDefaultPolicy   bool     `json:"token_no_default_policy"`
	NumUses           int64    `json:"token_num_uses"`
	Period            int64    `json:"token_period"`
	Policies          []string `json:"token_policies"`
	TTL               int64    `json:"token_ttl"`
	Type              string   `json:"token_type"`
}

// roleRequest is a role as it is written. A field that is not sent stays what it
// was.
type roleRequest struct {
	Names      *list     `json:"bound_service_account_names"`
	Namespaces *list     `json:"bound_service_account_namespaces"`
	PodNames   *list     `json:"bound_pod_names"` // ours: Vault has no such rule
	Audience   *string   `json:"audience"`
	BoundCIDRs *list     `json:"token_bound_cidrs"`
	MaxTTL     *duration `json:"token_max_ttl"`
	Policies   *list     `json:"token_policies"`
	TTL        *duration `json:"token_ttl"`

	// What can't be had, and would be less strict than it says if it were ignored.
	NamespaceSelector string   `json:"bound_service_account_namespace_selector"`
	AliasNameSource   string   `json:"alias_name_source"`
	ExplicitMaxTTL    duration `json:"token_explicit_max_ttl"`
	NumUses           number   `json:"token_num_uses"`
	Period            duration `json:"token_period"`
	Type              string   `json:"token_type"`
	OldPolicies       list     `json:"policies"`
	OldCIDRs          list     `json:"bound_cidrs"`
	OldTTL            duration `json:"ttl"`
	OldMaxTTL         duration `json:"max_ttl"`
	OldPeriod         duration `json:"period"`
	OldNumUses        number   `json:"num_uses"`
}

const (
	anyName         = "*"
	aliasByUID      = "serviceaccount_uid"
	tokenTypeByRole = "default"
)

// readRole is GET auth/<mount>/role/<name>.
func (h *Handler) readRole(c *call) (*answer, error) {
	m, given, err := c.role()
	if err != nil {
		return nil, err
	}
	return data(role{
		Names:           orAny(m.ServiceAccounts),
		Namespaces:      orAny(m.Namespaces),
		PodNames:        orNone(m.PodNames),
		Audience:        m.Audience,
		AliasNameSource: aliasByUID,
		BoundCIDRs:      m.BoundIPs,
		MaxTTL:          seconds(m.SessionMaxTTL),
		Policies:        policiesOf(given),
		TTL:             seconds(m.SessionTTL),
		Type:            tokenTypeByRole,
	}), nil
}

// role is the auth method that the request names, if it is a role of the mount.
func (c *call) role() (catalog.Method, []catalog.Association, error) {
	m, given, err := c.as.Method(c.Context(), c.name)
	if err != nil {
		return m, nil, err
	}
	owner, err := c.owner()
	if err != nil {
		return m, nil, err
	}
	if !isRole(&m, c.mount, owner) {
		return m, nil, errNotRole
	}
	return m, given, nil
}

// errNotRole means that there is an auth method of that name, but not on that
// mount.
var errNotRole = refuse(http.StatusNotFound)

// owner is the access id that the mount's config belongs to. There may be none,
// no config yet, or one that the caller may not see.
func (c *call) owner() (string, error) {
	config, err := c.as.AuthConfig(c.Context(), c.mount)
	if err != nil && !errors.Is(err, catalog.ErrNotFound) && !errors.Is(err, catalog.ErrDenied) {
		return "", err
	}
	return config.AccessID, nil
}

func isRole(m *catalog.Method, mount, owner string) bool {
	return m.Type == catalog.TypeK8s && (slices.Contains(m.AuthConfigs, mount) || (owner != "" && owner == m.AccessID))
}

// orAny writes a rule that binds nothing as Vault does.
func orAny(names []string) []string {
	if len(names) == 0 {
		return []string{anyName}
	}
	return names
}

// orNone writes a list in JSON that may be empty. A rule on pod names, * included,
// takes only tokens that are bound to a pod, so no rule is another thing.
func orNone(names []string) []string {
	if names == nil {
		return []string{}
	}
	return names
}

// policiesOf are the roles that everybody who logs in gets.
func policiesOf(given []catalog.Association) []string {
	var names []string
	for i := range given {
		if len(given[i].SubClaims) == 0 {
			names = append(names, given[i].Role)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// listRoles is LIST auth/<mount>/role.
func (h *Handler) listRoles(c *call) (*answer, error) {
	if err := h.take(c, Lists); err != nil {
		return nil, err
	}
	owner, err := c.owner()
	if err != nil {
		return nil, err
	}
	methods, _, err := c.as.ListMethods(c.Context(), catalog.Page{})
	if err != nil {
		return nil, err
	}
	var names []string
	for i := range methods {
		if isRole(&methods[i], c.mount, owner) {
			names = append(names, methods[i].Name)
		}
	}
	return listed(names)
}

// writeRole is POST auth/<mount>/role/<name>.
func (h *Handler) writeRole(c *call) (*answer, error) {
	var req roleRequest
	if err := c.decode(maxBody, &req); err != nil {
		return nil, err
	}
	if err := req.check(); err != nil {
		return nil, err
	}
	if req.Policies != nil {
		*req.Policies = roleNames(*req.Policies)
	}
	m, given, err := c.role()
	if req.Policies != nil && !refuses(err) {
		if err := c.mayGive(*req.Policies, given); err != nil {
			return nil, err
		}
	}
	if err := c.put(&req, m, err); err != nil {
		return nil, err
	}
	if req.Policies != nil {
		if err := c.giveRoles(c.Context(), *req.Policies, given); err != nil {
			return nil, err
		}
	}
	return done(), nil
}

// put makes the role, or changes it. m and found are what role returned.
func (c *call) put(req *roleRequest, m catalog.Method, found error) error {
	switch {
	case errors.Is(found, errNotRole):
		return refuse(http.StatusBadRequest, "there is an auth method "+quote(c.name)+" that does not belong to auth/"+c.mount+"; choose another name")
	case errors.Is(found, catalog.ErrNotFound):
		m = catalog.Method{Name: c.name, Type: catalog.TypeK8s, AuthConfigs: []string{c.mount}}
		if err := req.complete(); err != nil {
			return err
		}
		req.apply(&m)
		_, err := c.as.CreateMethod(c.Context(), m)
		if errors.Is(err, catalog.ErrNotFound) {
			return refuse(http.StatusBadRequest, "there is no auth/"+c.mount+" yet; write auth/"+c.mount+"/config first")
		}
		return err
	case found != nil:
		return found
	}
	return c.as.UpdateMethod(c.Context(), c.name, func(now *catalog.Method) error {
		if now.AccessID != m.AccessID {
			return fmt.Errorf("auth method %s: %w as it was", c.name, catalog.ErrNotFound)
		}
		req.apply(now)
		return nil
	})
}

// check refuses what can't be had.
func (r *roleRequest) check() error {
	for _, f := range []struct {
		name string
		set  bool
		why  string
	}{
		{"bound_service_account_namespace_selector", r.NamespaceSelector != "", "name the namespaces"},
		{"alias_name_source", r.AliasNameSource != "" && r.AliasNameSource != aliasByUID, "a service account is known by its UID"},
		{"token_explicit_max_ttl", r.ExplicitMaxTTL != 0, "use token_max_ttl"},
		{"token_num_uses", r.NumUses != 0, "sessions are not counted"},
		{"token_period", r.Period != 0, "every session has an end; use token_ttl and token_max_ttl"},
		{"token_type", r.Type != "" && r.Type != tokenTypeByRole && r.Type != tokenType && r.Type != "default-service", "there is one type of session"},
		{"policies", len(r.OldPolicies) > 0, "use token_policies"},
		{"bound_cidrs", len(r.OldCIDRs) > 0, "use token_bound_cidrs"},
		{"ttl", r.OldTTL != 0, "use token_ttl"},
		{"max_ttl", r.OldMaxTTL != 0, "use token_max_ttl"},
		{"period", r.OldPeriod != 0, "every session has an end; use token_ttl and token_max_ttl"},
		{"num_uses", r.OldNumUses != 0, "sessions are not counted"},
	} {
		if f.set {
			return refuse(http.StatusBadRequest, f.name+" is not supported by this gateway: "+f.why)
		}
	}
	for _, f := range []struct {
		name  string
		bound *list
		// must is whether an empty list, which binds nothing, is refused: in Vault
		// it would let nobody in.
		must bool
	}{
		{"bound_service_account_names", r.Names, true},
		{"bound_service_account_namespaces", r.Namespaces, true},
		{"bound_pod_names", r.PodNames, false},
	} {
		switch {
		case f.bound == nil:
		case len(*f.bound) == 0 && f.must:
			return refuse(http.StatusBadRequest, strconv.Quote(f.name)+" can not be empty")
		case len(*f.bound) > 1 && slices.Contains(*f.bound, anyName):
			return refuse(http.StatusBadRequest, strconv.Quote(f.name)+`: can not mix "*" with values`)
		}
	}
	return nil
}

// complete says what a new role lacks.
func (r *roleRequest) complete() error {
	if r.Names == nil {
		return refuse(http.StatusBadRequest, `"bound_service_account_names" can not be empty`)
	}
	if r.Namespaces == nil {
		return refuse(http.StatusBadRequest, `"bound_service_account_namespaces" can not be empty`)
	}
	return nil
}

// apply changes what was sent.
func (r *roleRequest) apply(m *catalog.Method) {
	for _, f := range []struct {
		from *list
		to   *[]string
	}{
		{r.Names, &m.ServiceAccounts}, {r.Namespaces, &m.Namespaces}, {r.PodNames, &m.PodNames}, {r.BoundCIDRs, &m.BoundIPs},
	} {
		if f.from != nil {
			*f.to = *f.from
		}
	}
	if r.Audience != nil {
		m.Audience = *r.Audience
	}
	if r.TTL != nil {
		m.SessionTTL = time.Duration(*r.TTL)
	}
	if r.MaxTTL != nil {
		m.SessionMaxTTL = time.Duration(*r.MaxTTL)
	}
}

// refuses says whether a role can't be written, whatever is asked of it.
func refuses(err error) bool { return err != nil && !errors.Is(err, catalog.ErrNotFound) }

// roleNames are policies as roles are named, each once.
func roleNames(policies []string) []string {
	names := make([]string, 0, len(policies))
	for _, policy := range policies {
		if name := strings.TrimPrefix(policy, "/"); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// mayGive finds out before anything is written whether giveRoles will be refused,
// as far as the caller may know.
func (c *call) mayGive(wanted []string, given []catalog.Association) error {
	has := policiesOf(given)
	for _, name := range roleNames(slices.Concat(wanted, has)) {
		if name == policies()[0] || slices.Contains(has, name) && slices.Contains(wanted, name) {
			continue // neither given nor taken
		}
		may, err := c.as.Permissions(c.Context(), access.RoleRule, name)
		if err == nil && !slices.Contains(may, access.Update) {
			err = catalog.ErrDenied
		}
		if err == nil && slices.Contains(may, access.Read) {
			_, err = c.as.Role(c.Context(), name)
		}
		if err != nil {
			return policyError(name, err)
		}
	}
	return nil
}

// giveRoles makes the roles that everybody gets through the auth method those
// that are wanted. Associations with sub-claims, which Vault has no words for,
// stay. It goes on from where it was if it fails and is done again.
func (c *call) giveRoles(ctx context.Context, wanted []string, given []catalog.Association) error {
	has := policiesOf(given)
	for _, name := range wanted {
		if name == policies()[0] || slices.Contains(has, name) {
			continue
		}
		if _, err := c.as.Associate(ctx, catalog.Association{Role: name, Method: c.name, CaseSensitive: true}); err != nil {
			return policyError(name, err)
		}
	}
	for i := range given {
		if len(given[i].SubClaims) > 0 || slices.Contains(wanted, given[i].Role) {
			continue
		}
		if err := c.as.DeleteAssociation(ctx, given[i].ID); err != nil && !errors.Is(err, catalog.ErrNotFound) {
			return policyError(given[i].Role, err)
		}
	}
	return nil
}

// policyError says at which policy it ended. One that does not exist is the
// request's fault: the path that was asked for is another.
func policyError(name string, err error) error {
	refused := refusalOf(err)
	switch {
	case refused == nil || refused.status >= http.StatusInternalServerError:
		return err
	case refused.status == http.StatusNotFound:
		refused = refuse(http.StatusBadRequest, "there is no such role")
	}
	return refuse(refused.status, append([]string{"token_policies: role " + quote(name) + " of the gateway"}, refused.texts...)...)
}

// deleteRole is DELETE auth/<mount>/role/<name>.
func (h *Handler) deleteRole(c *call) (*answer, error) {
	if _, _, err := c.role(); err != nil {
		return nil, err
	}
	if err := c.as.DeleteMethod(c.Context(), c.name); err != nil {
		return nil, err
	}
	return done(), nil
}
