// Package authenticator_test has a real API server take sessions as credentials
// of its own users, in both ways in which it can: by verifying them itself
// (structured authentication configuration) and by asking the gateway (webhook
// token authentication).
package authenticator_test

import (
	"context"
	"crypto"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/gatepass/gatepass/gateway/keys"
	"github.com/gatepass/gatepass/test/await"
	"github.com/gatepass/gatepass/test/cluster"
	"github.com/gatepass/gatepass/test/pki"
	"github.com/gatepass/gatepass/test/product"
)

const (
	accessID = "p-abcdefghij12km"
	// anyAudience is of a method that takes what the API server takes.
	anyAudience = "p-anyaudience2km"
	port        = 8000
)

// The configurations of the two API servers. They are in docs/authenticator.md, too.
const (
	structured = `apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
jwt:
- issuer:
    url: ISSUER
    audiences: [ACCESS-ID]
    certificateAuthority: |
CA
  claimMappings:
    username: {expression: '"gatepass:" + claims.access_id + ":" + claims.sub'}
    groups:
      expression: '["gatepass:sessions", "gatepass:access-id:" + claims.access_id] + claims.sub_claims.namespace.map(n, "gatepass:" + claims.access_id + ":namespace:" + n)'
    extra:
    - {key: gatepass.dev/pod-name, valueExpression: 'has(claims.sub_claims.pod_name) ? claims.sub_claims.pod_name : []'}
`
	webhook = `apiVersion: v1
kind: Config
clusters:
- name: gatepass
  cluster: {server: ISSUER/k8s/token-review, certificate-authority: "FILE"}
users:
- name: api-server
contexts:
- name: gatepass
  context: {cluster: gatepass, user: api-server}
current-context: gatepass
`
)

func TestAnAPIServerTakesSessions(t *testing.T) {
	for i, row := range []struct {
		name, file, content, flag string
		extra                     map[string][]string
		revocable                 bool
	}{
		{"which it verifies itself, by structured authentication configuration", "authentication.yaml", structured, "authentication-config", nil, false},
		{"which it asks the gateway about, by webhook token authentication", "webhook.yaml", webhook, "authentication-token-webhook-config-file", map[string][]string{
			"authentication-token-webhook-version": {"v1"}, "authentication-token-webhook-cache-ttl": {"0s"},
		}, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, i, row.file, row.content, row.flag, row.extra)
			session := s.login(t)
			var who *authenticationv1.SelfSubjectReview
			await.Until(t, "the API server knows the issuer", func() bool {
				var err error
				who, err = s.as(t, session).AuthenticationV1().SelfSubjectReviews().Create(t.Context(), &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
				return err == nil
			}, func() string { return "the gateway's log:\n" + s.gateway.Logs() })
			user := who.Status.UserInfo
			if want := "gatepass:" + accessID + ":system:serviceaccount:shop:web"; user.Username != want {
				t.Errorf("the user is %q, want %q", user.Username, want)
			}
			for _, group := range []string{"gatepass:sessions", "gatepass:access-id:" + accessID, "gatepass:" + accessID + ":namespace:shop", "system:authenticated"} {
				if !strings.Contains(fmt.Sprint(user.Groups), group) {
					t.Errorf("group %s is not in %v", group, user.Groups)
				}
			}
			if got := fmt.Sprint(user.Extra["gatepass.dev/pod-name"]); got != "[web-1]" {
				t.Errorf("extra has the pod's name %s", got)
			}
			s.checkRights(t, session)
			s.checkForgeries(t, session)
			s.checkToldKey(t, session)
			s.checkNoLogin(t, session)
			if row.revocable {
				s.checkRevocation(t, session)
			}
		})
	}
}

type setup struct {
	cluster *cluster.Cluster
	gateway *product.Server
	issuer  string
	client  *http.Client
	// admin is the file with the administrator's credentials.
	admin string
}

// start runs an API server that trusts a gateway, and the gateway, at an
// address of 127/8 that nobody else has: each has to know the other's.
func start(t *testing.T, row int, file, content, flag string, extra map[string][]string) *setup {
	t.Helper()
	address := fmt.Sprintf("127.78.%d.%d", os.Getpid()>>8&0xff, (os.Getpid()&0x7f)<<1|row)
	s := &setup{issuer: fmt.Sprintf("https://%s:%d", address, port)}
	dir := t.TempDir()
	ca, err := pki.NewCA("gateway")
	check(t, err)
	pair, err := ca.Server(address)
	check(t, err)
	cert, key, err := pair.Write(dir)
	check(t, err)
	caFile := write(t, dir, "ca.crt", string(ca.PEM()))
	indented := "      " + strings.ReplaceAll(strings.TrimSpace(string(ca.PEM())), "\n", "\n      ")
	content = strings.NewReplacer("ISSUER", s.issuer, "ACCESS-ID", accessID, "CA\n", indented+"\n", "FILE", caFile).Replace(content)
	args := map[string][]string{flag: {write(t, dir, file, content)}}
	for name, values := range extra {
		args[name] = values
	}
	s.cluster, err = cluster.Start(t.Context(), cluster.Options{APIServerArgs: args})
	check(t, err)
	t.Cleanup(func() {
		if err := s.cluster.Stop(); err != nil {
			t.Error(err)
		}
	})
	commands, err := product.New(t.Context(), product.Gateway)
	check(t, err)
	t.Cleanup(func() {
		if err := commands.Close(); err != nil {
			t.Error(err)
		}
	})
	s.admin = filepath.Join(dir, "administrator")
	s.gateway, err = commands.StartGateway(t.Context(), product.GatewayOptions{
		Config: write(t, dir, "gateway.yaml", `apiVersion: config.gatepass.dev/v1alpha1
kind: GatewayConfig
issuer: `+s.issuer+`
authMethods:
- {name: pods, accessID: `+accessID+`, kubernetes: {audience: gatepass}}
- {name: anybody, accessID: `+anyAudience+`, kubernetes: {}}
kubernetesAuthConfigs:
- {name: k8s-conf, accessID: `+accessID+`, reviewer: {type: gateway}}
- {name: any-conf, accessID: `+anyAudience+`, reviewer: {type: gateway}}
`),
		DataDir: t.TempDir(), CertFile: cert, KeyFile: key, Kubeconfig: s.cluster.Kubeconfig, BindAddress: address, Port: port,
		ExtraArgs: []string{"--admin-credentials-file=" + s.admin},
	})
	check(t, err)
	t.Cleanup(func() {
		if err := s.gateway.Stop(); err != nil {
			t.Error(err)
		}
	})
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.Pool(), MinVersion: tls.VersionTLS12}}
	t.Cleanup(transport.CloseIdleConnections)
	s.client = &http.Client{Transport: transport, Timeout: 10 * time.Second}
	return s
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, dir, name, content string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	check(t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

// login exchanges the token of a pod for a session.
func (s *setup) login(t *testing.T) string {
	t.Helper()
	ctx := t.Context()
	for _, ns := range []string{"shop", "other"} {
		_, err := s.cluster.Client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}}, metav1.CreateOptions{})
		check(t, err)
	}
	check(t, s.cluster.EnsureServiceAccount(ctx, "shop", "web"))
	_, err := s.cluster.Client.CoreV1().Pods("shop").Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "web-1"},
		Spec:       corev1.PodSpec{ServiceAccountName: "web", Containers: []corev1.Container{{Name: "app", Image: "registry.invalid/app"}}},
	}, metav1.CreateOptions{})
	check(t, err)
	token, err := s.cluster.PodToken(ctx, cluster.TokenRequest{Namespace: "shop", ServiceAccount: "web", Pod: "web-1", Audience: "gatepass"})
	check(t, err)
	var answer struct{ Token, Error string }
	s.post(t, "/auth", map[string]string{
		"access-id": accessID, "access-type": "k8s", "k8s-auth-config-name": "k8s-conf", "k8s-service-account-token": token,
	}, &answer)
	if answer.Token == "" {
		t.Fatalf("no session: %s", answer.Error)
	}
	return answer.Token
}

func (s *setup) post(t *testing.T, path string, question, answer any) {
	t.Helper()
	body, err := json.Marshal(question)
	check(t, err)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.issuer+path, strings.NewReader(string(body)))
	check(t, err)
	res, err := s.client.Do(req)
	check(t, err)
	defer func() { _ = res.Body.Close() }()
	check(t, json.NewDecoder(res.Body).Decode(answer))
}

// as is a client of the API server with a bearer token.
func (s *setup) as(t *testing.T, token string) *kubernetes.Clientset {
	t.Helper()
	config := rest.AnonymousClientConfig(s.cluster.Config)
	config.BearerToken = token
	client, err := kubernetes.NewForConfig(config)
	check(t, err)
	return client
}

// checkRights binds a role to the session's user, and to nobody else.
func (s *setup) checkRights(t *testing.T, session string) {
	t.Helper()
	ctx := t.Context()
	pods := func(ns string) error {
		_, err := s.as(t, session).CoreV1().Pods(ns).List(ctx, metav1.ListOptions{})
		return err
	}
	if err := pods("shop"); !apierrors.IsForbidden(err) {
		t.Errorf("a session without a binding lists pods: %v", err)
	}
	// Not the role view: a controller would have to fill it.
	_, err := s.cluster.Client.RbacV1().Roles("shop").Create(ctx, &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Name: "pods"},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"list"}}},
	}, metav1.CreateOptions{})
	check(t, err)
	_, err = s.cluster.Client.RbacV1().RoleBindings("shop").Create(ctx, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "sessions"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "pods"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "Group", Name: "gatepass:" + accessID + ":namespace:shop"}},
	}, metav1.CreateOptions{})
	check(t, err)
	await.Until(t, "the binding takes effect", func() bool { return pods("shop") == nil }, func() string { return fmt.Sprint(pods("shop")) })
	if err := pods("other"); !apierrors.IsForbidden(err) {
		t.Errorf("the session lists pods of another namespace: %v", err)
	}
}

// checkForgeries presents what looks like the session and is not.
func (s *setup) checkForgeries(t *testing.T, session string) {
	t.Helper()
	parts := strings.Split(session, ".")
	flip := func(text string) string {
		last := byte('A')
		if text[10] == last {
			last = 'B'
		}
		return text[:10] + string(last) + text[11:]
	}
	for name, forged := range map[string]string{
		"another signature": parts[0] + "." + parts[1] + "." + flip(parts[2]),
		"other claims":      parts[0] + "." + flip(parts[1]) + "." + parts[2],
		"no signature":      parts[0] + "." + parts[1] + ".",
		"alg none":          "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0." + parts[1] + ".",
	} {
		_, err := s.as(t, forged).AuthenticationV1().SelfSubjectReviews().Create(t.Context(), &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
		if !apierrors.IsUnauthorized(err) {
			t.Errorf("a token with %s: %v", name, err)
		}
	}
}

// checkToldKey signs the session again with the key that whoever makes an auth method
// is told: by its own key id, and by that of the session.
func (s *setup) checkToldKey(t *testing.T, session string) {
	t.Helper()
	var credentials []byte
	await.Until(t, "the administrator is made", func() (made bool) {
		content, err := os.ReadFile(s.admin)
		credentials = content
		return err == nil
	})
	id, key := field(t, credentials, "Access id"), field(t, credentials, "Access key")
	var admin struct{ Token, Error string }
	s.post(t, "/auth", map[string]string{"access-type": "access_key", "access-id": id, "access-key": key}, &admin)
	if admin.Token == "" {
		t.Fatalf("the administrator has no session: %s", admin.Error)
	}
	var made struct {
		Key   string `json:"prv_key"`
		Error string
	}
	s.post(t, "/create-auth-method-k8s", map[string]string{"token": admin.Token, "name": "tenant"}, &made)
	told, err := base64.StdEncoding.DecodeString(made.Key)
	check(t, err)
	private, err := keys.Parse(told)
	check(t, err)
	thumbprint, err := (&jose.JSONWebKey{Key: private.Public()}).Thumbprint(crypto.SHA256)
	check(t, err)
	genuine, err := jose.ParseSignedCompact(session, []jose.SignatureAlgorithm{jose.ES256})
	check(t, err)
	for _, kid := range []string{base64.RawURLEncoding.EncodeToString(thumbprint), genuine.Signatures[0].Header.KeyID} {
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: private}, (&jose.SignerOptions{}).WithHeader("kid", kid).WithType("JWT"))
		check(t, err)
		signed, err := signer.Sign(genuine.UnsafePayloadWithoutVerification())
		check(t, err)
		forged, err := signed.CompactSerialize()
		check(t, err)
		who, err := s.as(t, forged).AuthenticationV1().SelfSubjectReviews().Create(t.Context(), &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
		if !apierrors.IsUnauthorized(err) {
			t.Errorf("a session that is signed with the key of an auth method is %q, %v", who.Status.UserInfo.Username, err)
		}
	}
}

// field is a line of the administrator's credentials.
func field(t *testing.T, credentials []byte, name string) string {
	t.Helper()
	for line := range strings.Lines(string(credentials)) {
		if label, value, ok := strings.Cut(line, ":"); ok && strings.EqualFold(strings.TrimSpace(label), name) {
			return strings.TrimSpace(value)
		}
	}
	t.Fatalf("%s is not in the administrator's file", name)
	return ""
}

// checkNoLogin logs in with the session, which the API server takes for a user's
// credential: it would never end if it bought the next one.
func (s *setup) checkNoLogin(t *testing.T, session string) {
	t.Helper()
	for config, row := range map[string]struct{ accessID, want string }{
		"k8s-conf": {accessID, "failed to validate token"},
		"any-conf": {anyAudience, "the token is not a service account's"},
	} {
		var answer struct{ Token, Error string }
		s.post(t, "/auth", map[string]string{
			"access-id": row.accessID, "access-type": "k8s", "k8s-auth-config-name": config, "k8s-service-account-token": session,
		}, &answer)
		if answer.Token != "" || !strings.Contains(answer.Error, row.want) {
			t.Errorf("%s: a session logs in: %q", config, answer.Error)
		}
	}
}

// checkRevocation revokes the session; an API server that asks knows at once.
func (s *setup) checkRevocation(t *testing.T, session string) {
	t.Helper()
	var answer struct{ Error string }
	s.post(t, "/revoke-creds", map[string]string{"token": session}, &answer)
	if answer.Error != "" {
		t.Fatal(answer.Error)
	}
	await.Until(t, "the revoked session is refused", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := s.as(t, session).CoreV1().Pods("shop").List(ctx, metav1.ListOptions{})
		return apierrors.IsUnauthorized(errors.Unwrap(err)) || apierrors.IsUnauthorized(err)
	})
}
