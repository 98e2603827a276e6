package command

import (
	"cmp"
	"context"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatepass/gatepass/gateway/catalog"
	"github.com/gatepass/gatepass/gateway/config"
	v2 "github.com/gatepass/gatepass/gateway/v2"
)

func createMethodK8s(ctx context.Context, by *Session, r *v2.CreateAuthMethodK8s) (any, error) {
	m := catalog.Method{Type: catalog.TypeK8s, GeneratedKey: r.GenKey.Or(r.PublicKey == "")}
	if err := setMethod(&m, &r.AuthMethodFields); err != nil {
		return nil, err
	}
	if err := setMethodK8s(&m, &r.AuthMethodK8sFields); err != nil {
		return nil, err
	}
	switch {
	case m.GeneratedKey && m.PublicKey != "":
		// SDKs send gen-key=true unless told otherwise, so the key is what was meant.
		m.GeneratedKey = false
	case !m.GeneratedKey && m.PublicKey == "":
		return nil, invalid("public-key", "it is missing; give it, or leave gen-key out")
	}
	return createMethod(ctx, by, m)
}

func createMethodKey(ctx context.Context, by *Session, r *v2.CreateAuthMethodKey) (any, error) {
	m := catalog.Method{Type: catalog.TypeAccessKey}
	if err := setMethod(&m, &r.AuthMethodFields); err != nil {
		return nil, err
	}
	return createMethod(ctx, by, m)
}

func createMethod(ctx context.Context, by *Session, m catalog.Method) (any, error) {
	created, err := by.CreateMethod(ctx, m)
	if err != nil {
		return nil, err
	}
	answer := v2.CreatedAuthMethod{Name: created.Name, AccessID: created.AccessID, AccessKey: created.AccessKey, EveryPod: everyPod(&m)}
	if len(created.PrivateKey) > 0 {
		answer.PrivateKey = base64.StdEncoding.EncodeToString(created.PrivateKey)
	}
	return answer, nil
}

func updateMethodK8s(ctx context.Context, by *Session, r *v2.UpdateAuthMethodK8s) (any, error) {
	return updateMethod(ctx, by, &r.AuthMethodFields, r.NewName, catalog.TypeK8s, func(m *catalog.Method) error {
		return setMethodK8s(m, &r.AuthMethodK8sFields)
	})
}

func updateMethodKey(ctx context.Context, by *Session, r *v2.UpdateAuthMethodKey) (any, error) {
	return updateMethod(ctx, by, &r.AuthMethodFields, r.NewName, catalog.TypeAccessKey, func(*catalog.Method) error { return nil })
}

// updateMethod changes only what a request sets: a restriction that it does not
// mention must not go.
func updateMethod(ctx context.Context, by *Session, f *v2.AuthMethodFields, newName string, of catalog.MethodType, set func(*catalog.Method) error) (any, error) {
	if err := required("name", f.Name); err != nil {
		return nil, err
	}
	sent := *f
	sent.AccessExpires, sent.JWTTTL = f.AccessExpires.Update(), f.JWTTTL.Update()
	var now catalog.Method
	err := by.UpdateMethod(ctx, f.Name, func(m *catalog.Method) error {
		if m.Type != of {
			return invalid("name", "the auth method is of type %s; use the command for that", m.Type)
		}
		name := cmp.Or(newName, m.Name)
		if err := setMethod(m, &sent); err != nil {
			return err
		}
		m.Name = name
		if err := set(m); err != nil {
			return err
		}
		now = *m
		return nil
	})
	if err != nil {
		return nil, err
	}
	return v2.UpdatedAuthMethod{Name: strings.TrimPrefix(now.Name, "/"), EveryPod: everyPod(&now)}, nil
}

// everyPod says whether an auth method lets in whatever runs in the cluster: it
// binds no name, or all of them.
func everyPod(m *catalog.Method) bool {
	for _, bound := range [][]string{m.Namespaces, m.PodNames, m.ServiceAccounts} {
		if len(bound) > 0 && !slices.Contains(bound, "*") {
			return false
		}
	}
	return m.Type == catalog.TypeK8s && !m.Listed
}

// setMethod puts in what a request sets.
func setMethod(m *catalog.Method, f *v2.AuthMethodFields) error {
	if err := required("name", f.Name); err != nil {
		return err
	}
	m.Name = f.Name
	set(&m.Description, f.Description)
	setList(&m.BoundIPs, f.BoundIPs)
	setList(&m.GatewayBoundIPs, f.GWBoundIPs)
	m.ForceSubClaims = f.ForceSubClaims.Or(m.ForceSubClaims)
	if !f.AccessExpires.IsZero() {
		seconds := f.AccessExpires.Or(0)
		switch {
		case seconds < 0 || seconds > maxUnix:
			return invalid("access-expires", "it is seconds since 1970, or 0 for never")
		case seconds == 0:
			m.Expires = time.Time{}
		default:
			m.Expires = time.Unix(seconds, 0).UTC()
		}
	}
	if !f.JWTTTL.IsZero() {
		ttl, err := minutes("jwt-ttl", f.JWTTTL.Or(0))
		if err != nil {
			return err
		}
		// An update that repeats what was told, rounded up, changes nothing.
		if ttl != time.Duration(inMinutes(m.SessionTTL))*time.Minute {
			m.SessionTTL = ttl
		}
	}
	return nil
}

// maxUnix is the end of the year 9999, the last that RFC 3339 can write.
const maxUnix = 253402300799

// minutes reads the life of sessions. 0 may mean something; the catalog knows.
func minutes(field string, n int64) (time.Duration, error) {
	if most := inMinutes(config.MaxSessionTTL); n < 0 || n > most {
		return 0, invalid(field, "it is a number of minutes, from 1 to %d", most)
	}
	return time.Duration(n) * time.Minute, nil
}

// inMinutes rounds up, so that what is set is never told as unset.
func inMinutes(d time.Duration) int64 { return int64((d + time.Minute - 1) / time.Minute) }

func setMethodK8s(m *catalog.Method, f *v2.AuthMethodK8sFields) error {
	set(&m.Audience, f.Audience)
	setList(&m.Namespaces, f.BoundNamespaces)
	setList(&m.PodNames, f.BoundPodNames)
	setList(&m.ServiceAccounts, f.BoundSANames)
	key, err := pemOf("public-key", f.PublicKey)
	if err != nil {
		return err
	}
	m.PublicKey = string(key)
	return nil
}

func set(to *string, value string) {
	if value != "" {
		*to = value
	}
}

func setList(to *[]string, values v2.Strings) {
	if values != nil {
		*to = slices.Clone(values)
	}
}

func getMethod(ctx context.Context, by *Session, r *v2.GetAuthMethod) (any, error) {
	if err := required("name", r.Name); err != nil {
		return nil, err
	}
	m, associations, err := by.Method(ctx, r.Name)
	if err != nil {
		return nil, err
	}
	return tellMethod(&m, associations), nil
}

func listMethods(ctx context.Context, by *Session, r *v2.ListAuthMethods) (any, error) {
	page, err := pageOf(&r.Paging)
	if err != nil {
		return nil, err
	}
	methods, next, err := by.ListMethods(ctx, page)
	if err != nil {
		return nil, err
	}
	answer := v2.AuthMethodList{AuthMethods: []v2.AuthMethod{}, NextPage: next}
	for i := range methods {
		told := tellMethod(&methods[i], nil)
		if strings.Contains(told.Name, r.Filter) && wanted(r.Type, told.AccessInfo.RulesType, string(methods[i].Type)) {
			answer.AuthMethods = append(answer.AuthMethods, told)
		}
	}
	return answer, nil
}

// wanted says whether a list of types, which may be empty, has one of the names
// of a type.
func wanted(types v2.Strings, names ...string) bool {
	return len(types) == 0 || slices.ContainsFunc(names, func(name string) bool { return slices.Contains(types, name) })
}

func deleteMethod(ctx context.Context, by *Session, r *v2.DeleteAuthMethod) (any, error) {
	if err := required("name", r.Name); err != nil {
		return nil, err
	}
	if err := by.DeleteMethod(ctx, r.Name); err != nil {
		return nil, err
	}
	return v2.Named{Name: strings.TrimPrefix(r.Name, "/")}, nil
}

func resetAccessKey(ctx context.Context, by *Session, r *v2.ResetAccessKey) (any, error) {
	if err := required("name", r.Name); err != nil {
		return nil, err
	}
	key, err := by.RotateAccessKey(ctx, r.Name)
	if err != nil {
		return nil, err
	}
	return v2.AccessKey{AccessKey: key}, nil
}

func tellMethod(m *catalog.Method, associations []catalog.Association) v2.AuthMethod {
	told := v2.AuthMethod{
		Name:        m.Name,
		AccessID:    m.AccessID,
		Description: m.Description,
		AccessInfo: v2.AccessInfo{
			RulesType:       v2.RulesTypeKey,
			JWTTTL:          inMinutes(m.SessionTTL),
			CIDRWhitelist:   strings.Join(m.BoundIPs, ","),
			GWCIDRWhitelist: strings.Join(m.GatewayBoundIPs, ","),
			ForceSubClaims:  m.ForceSubClaims,
		},
		Roles:    []v2.MethodRole{},
		Created:  m.Created,
		Modified: m.Modified,
		FromFile: m.FromFile,
	}
	if !m.Expires.IsZero() {
		told.AccessInfo.AccessExpires = m.Expires.Unix()
	}
	if m.Type == catalog.TypeK8s {
		told.AccessInfo.RulesType = v2.RulesTypeK8s
		told.AccessInfo.K8s = &v2.K8sAccessRules{
			Audience:        m.Audience,
			BoundNamespaces: m.Namespaces,
			BoundPodNames:   m.PodNames,
			BoundSANames:    m.ServiceAccounts,
			EveryPod:        everyPod(m),
			GenKeyPair:      strconv.FormatBool(m.GeneratedKey),
			PublicKey:       base64.StdEncoding.EncodeToString([]byte(m.PublicKey)),
			Algorithm:       algorithm(m.PublicKey),
		}
	} else {
		told.AccessInfo.Key = &v2.KeyAccessRules{}
	}
	for i := range associations {
		a := &associations[i]
		told.Roles = append(told.Roles, v2.MethodRole{
			AssocID:       a.ID,
			RoleName:      a.Role,
			SubClaims:     tellSubClaims(a.SubClaims),
			CaseSensitive: a.CaseSensitive,
		})
	}
	return told
}
