package command

import (
	"context"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/gatepass/gatepass/gateway/access"
	"github.com/gatepass/gatepass/gateway/config"
	v2 "github.com/gatepass/gatepass/gateway/v2"
)

func describePermissions(ctx context.Context, by *Session, r *v2.DescribePermissions) (any, error) {
	if err := required("path", r.Path); err != nil {
		return nil, err
	}
	var of access.RuleType
	switch r.Type {
	case "", "item", string(access.ItemRule):
		of = access.ItemRule
	case "role", string(access.RoleRule):
		of = access.RoleRule
	case "am", string(access.AuthMethodRule):
		of = access.AuthMethodRule
	default:
		return nil, invalid("type", "use item, role or am")
	}
	capabilities, err := by.Permissions(ctx, of, r.Path)
	if err != nil {
		return nil, err
	}
	return v2.Permissions{ClientPermissions: tellCapabilities(capabilities)}, nil
}

func revokeCreds(ctx context.Context, by *Session, _ *v2.RevokeCreds) (any, error) {
	if err := by.RevokeSession(ctx, by.Expires); err != nil {
		return nil, err
	}
	return v2.Nothing{}, nil
}

func revokeIdentity(ctx context.Context, by *Session, r *v2.RevokeIdentitySessions) (any, error) {
	if err := required("name", r.Name); err != nil {
		return nil, err
	}
	if err := checkSubject(r.Subject); err != nil {
		return nil, err
	}
	if err := by.RevokeIdentity(ctx, r.Name, r.Subject); err != nil {
		return nil, err
	}
	return v2.Nothing{}, nil
}

// checkSubject refuses a subject that no session has. Which of the others have
// sessions nobody knows: the gateway keeps none.
func checkSubject(subject string) error {
	if err := required("subject", subject); err != nil {
		return err
	}
	account, ofPod := strings.CutPrefix(subject, "system:serviceaccount:")
	namespace, name, _ := strings.Cut(account, ":")
	if ofPod && len(validation.IsDNS1123Label(namespace)) == 0 && len(validation.IsDNS1123Subdomain(name)) == 0 {
		return nil
	}
	if id, ofKey := strings.CutPrefix(subject, "access-key:"); ofKey && id != "" {
		return nil
	}
	return invalid("subject", "it is system:serviceaccount:NAMESPACE:NAME, or access-key:ACCESS-ID, as the sub of the sessions says")
}

func revokeMethod(ctx context.Context, by *Session, r *v2.RevokeAuthMethodSessions) (any, error) {
	if err := required("name", r.Name); err != nil {
		return nil, err
	}
	if err := by.RevokeMethod(ctx, r.Name); err != nil {
		return nil, err
	}
	return v2.Nothing{}, nil
}

func getSettings(ctx context.Context, by *Session, _ *v2.GetAccountSettings) (any, error) {
	s, err := by.Settings(ctx)
	if err != nil {
		return nil, err
	}
	return v2.AccountSettings{SystemAccessCreds: v2.SystemAccessCreds{
		JWTTTLDefault: inMinutes(s.SessionTTL),
		JWTTTLMinimum: inMinutes(config.MinSessionTTL),
		JWTTTLMaximum: inMinutes(config.MaxSessionTTL),
	}}, nil
}

func updateSettings(ctx context.Context, by *Session, r *v2.UpdateAccountSettings) (any, error) {
	s, err := by.Settings(ctx)
	if err != nil {
		return nil, err
	}
	if !r.JWTTTLDefault.IsZero() {
		if s.SessionTTL, err = minutes("jwt-ttl-default", r.JWTTTLDefault.Or(0)); err != nil {
			return nil, err
		}
	}
	if err := by.UpdateSettings(ctx, s); err != nil {
		return nil, err
	}
	return v2.Updated{Updated: true}, nil
}
