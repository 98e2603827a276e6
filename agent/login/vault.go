package login

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gatepass/gatepass/agent/session"
)

// vault is the API of Vault and OpenBao, as far as a pod's login needs it:
// auth/<path>/login, auth/token/renew-self and auth/token/revoke-self.
type vault struct {
	options Options
	base    string
	path    string
}

func newVault(o Options) (*vault, error) {
	path := strings.Trim(o.AuthPath, "/")
	if path == "" || strings.ContainsAny(path, "?#%\\ ") || slices.Contains(strings.Split(path, "/"), "..") {
		return nil, fmt.Errorf("GATEPASS_AUTH_PATH: %q is not the path of an auth method; use for example auth/kubernetes", o.AuthPath)
	}
	if strings.ContainsFunc(o.Namespace, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return nil, errors.New("GATEPASS_AUTH_NAMESPACE: holds characters that a namespace can't")
	}
	base := strings.TrimSuffix(strings.TrimRight(o.URL, "/"), "/v1")
	return &vault{options: o, base: base + "/v1/", path: path}, nil
}

func (v *vault) login(identity string) (call, []string) {
	return v.put("login", v.path+"/login", "", map[string]string{"role": v.options.Role, "jwt": identity}), []string{identity}
}

// renew asks for no particular increment, so that the role's own TTL counts.
func (v *vault) renew(token string) call {
	return v.put("renewal", "auth/token/renew-self", token, map[string]int{"increment": 0})
}

func (v *vault) revoke(token string) call {
	return v.put("revocation", "auth/token/revoke-self", token, nil)
}

func (v *vault) check(token string) call {
	return call{what: "check", method: http.MethodGet, url: v.base + "auth/token/lookup-self", token: token}
}

// ended goes by the text that Vault and OpenBao have for a token that they don't
// know. A token whose policies don't let it look itself up is refused without it.
func (v *vault) ended(status int, body []byte) (reason string, ended, known bool) {
	switch status {
	case http.StatusOK:
		var a struct {
			Data *struct{} `json:"data"`
		}
		return "", false, json.Unmarshal(body, &a) == nil && a.Data != nil
	case http.StatusForbidden:
		text, ours := v.refused(status, body)
		return text, true, ours && strings.Contains(text, invalidToken)
	}
	return "", false, false
}

// invalidToken is what a server says of a token that has expired or was revoked.
const invalidToken = "invalid token"

func (v *vault) put(what, path, token string, body any) call {
	return call{what: what, method: http.MethodPut, url: v.base + path, body: body, token: token}
}

// header sets what Vault's own clients send; they name no content type.
// Without X-Vault-Request, Vault Agent's proxy may refuse a request.
func (v *vault) header(h http.Header, c call) {
	h.Set("X-Vault-Request", "true")
	if v.options.Namespace != "" {
		h.Set("X-Vault-Namespace", v.options.Namespace)
	}
	if c.token != "" {
		h.Set("X-Vault-Token", c.token)
	}
}

// vaultAnswer is the body of a login or a renewal.
type vaultAnswer struct {
	WrapInfo *struct{} `json:"wrap_info"`
	Auth     *struct {
		ClientToken   string            `json:"client_token"`
		Policies      []string          `json:"policies"`
		Metadata      map[string]string `json:"metadata"`
		LeaseDuration int64             `json:"lease_duration"`
		Renewable     bool              `json:"renewable"`
		TokenType     string            `json:"token_type"`
		NumUses       int64             `json:"num_uses"`
	} `json:"auth"`
}

// maxLease bounds a lease, in seconds: ten years. Vault's own limit is 32
// days unless it was raised.
const maxLease = 10 * 365 * 24 * 60 * 60

func (v *vault) granted(body []byte, now time.Time) (session.Session, *Error) {
	var a vaultAnswer
	// The decoder's error is left out, because it may quote the body.
	if json.Unmarshal(body, &a) != nil {
		return session.Session{}, foreign("the answer is not the JSON of a Vault server")
	}
	if a.WrapInfo != nil {
		return session.Session{}, &Error{Kind: Denied, Status: http.StatusOK, Reason: "the server wrapped its answer (wrap_info), and wrapped sessions are not supported; " +
			"remove what asks for it, such as a proxy that adds X-Vault-Wrap-TTL or a policy with min_wrapping_ttl for this path"}
	}
	if a.Auth == nil {
		return session.Session{}, foreign("the answer holds no auth")
	}
	if failure := checkToken(a.Auth.ClientToken); failure != nil {
		return session.Session{}, failure
	}
	s := session.Session{
		Token:    a.Auth.ClientToken,
		Issued:   now.UTC().Truncate(time.Second),
		Policies: a.Auth.Policies,
		Metadata: a.Auth.Metadata,
		// Batch tokens can't be renewed whatever else is said, and renewing one
		// that may be used only so often takes a use from the application.
		Renewable: a.Auth.Renewable && a.Auth.TokenType != "batch" && !strings.HasPrefix(a.Auth.ClientToken, "hvb.") && a.Auth.NumUses == 0,
	}
	s.Counted = a.Auth.NumUses != 0
	if a.Auth.LeaseDuration > 0 {
		s.Expiry = s.Issued.Add(time.Duration(min(a.Auth.LeaseDuration, maxLease)) * time.Second)
	}
	return s, nil
}

// refused joins the server's errors, and says what to do about those whose
// text alone does not. A missing path is answered without any text.
func (v *vault) refused(status int, body []byte) (string, bool) {
	var r struct {
		Errors *[]string `json:"errors"`
	}
	if json.Unmarshal(body, &r) != nil || r.Errors == nil {
		return "", false
	}
	text := strings.Join(*r.Errors, "; ")
	switch {
	case status == http.StatusNotFound:
		return strings.TrimPrefix(text+"; check the auth path "+v.path+v.inNamespace(), "; "), true
	case status == http.StatusForbidden && slices.Contains(*r.Errors, invalidToken):
		return text + "; the session has expired or was revoked", true
	case status == http.StatusForbidden && text == "permission denied":
		return text + "; the server could not have the pod's token reviewed, or does not know " + v.path + v.inNamespace() +
			": check the auth method's Kubernetes host and reviewer, the token's audience and the auth path", true
	case text == "":
		return noReason, true
	}
	return text, true
}

func (v *vault) inNamespace() string {
	if v.options.Namespace == "" {
		return ""
	}
	return " and the namespace " + v.options.Namespace
}
