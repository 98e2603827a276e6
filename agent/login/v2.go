package login

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/gatepass/gatepass/agent/session"
)

// accessType is what the V2 API calls logging in with a service-account token.
const accessType = "k8s"

// v2 is the gateway's V2 API.
type v2 struct{ options Options }

// request is the body of /auth. gateway-url is what the seeds' own clients
// send along with a Kubernetes login.
type request struct {
	AccessID   string `json:"access-id"`
	AccessType string `json:"access-type"`
	AuthConfig string `json:"k8s-auth-config-name"`
	Identity   string `json:"k8s-service-account-token"`
	GatewayURL string `json:"gateway-url"`
}

func (v v2) login(identity string) (call, []string) {
	// Existing gateways want the token base64-encoded; ours takes both forms.
	encoded := base64.StdEncoding.EncodeToString([]byte(identity))
	return v.post("login", "/auth", request{
		AccessID:   v.options.AccessID,
		AccessType: accessType,
		AuthConfig: v.options.AuthConfig,
		Identity:   encoded,
		GatewayURL: baseURL(v.options.URL),
	}), []string{identity, encoded}
}

func (v v2) revoke(token string) call {
	return v.post("revocation", "/revoke-creds", map[string]string{"token": token})
}

func (v v2) check(token string) call {
	return v.post("check", "/validate-token", map[string]string{"token": token})
}

func (v v2) ended(status int, body []byte) (reason string, ended, known bool) {
	var a struct {
		IsValid *bool  `json:"is_valid"`
		Reason  string `json:"reason"`
	}
	if status != http.StatusOK || json.Unmarshal(body, &a) != nil || a.IsValid == nil {
		return "", false, false
	}
	return cmp.Or(a.Reason, noReason), !*a.IsValid, true
}

// noReason stands for the reason that a server did not give.
const noReason = "no reason was given"

func (v v2) post(what, path string, body any) call {
	return call{what: what, method: http.MethodPost, url: strings.TrimRight(v.options.URL, "/") + path, body: body}
}

func (v v2) header(h http.Header, _ call) { h.Set("Content-Type", "application/json") }

func (v v2) granted(body []byte, now time.Time) (session.Session, *Error) {
	return parseSession(body, now)
}

// refused passes on the gateway's reason, and says what to do about those
// whose text alone does not.
func (v v2) refused(_ int, body []byte) (string, bool) {
	var r struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(body, &r) != nil || r.Error == "" {
		return "", false
	}
	text := r.Error
	switch {
	case strings.Contains(text, "audience"):
		text += "; use the one that the gateway's auth method names (a profile's token.audience, the annotation gatepass.dev/audience)"
	case strings.Contains(text, ": bound "):
		text += "; the gateway's administrators find in its audit log what would pass"
	case strings.Contains(text, "k8s auth name ["):
		text += "; check the access id and the auth config (a profile's login.accessID and login.authConfig)"
	}
	return text, true
}

// baseURL is the gateway's address without the API's prefix.
func baseURL(configured string) string {
	base := strings.TrimRight(configured, "/")
	base = strings.TrimSuffix(base, "/v2")
	return strings.TrimSuffix(base, "/api")
}
