package gateway_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gatepass/gatepass/test/cluster"
	"github.com/gatepass/gatepass/test/product"
)

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	return must(os.ReadFile(name))(t)
}

// apiServerKey is the key that the API server signs service-account tokens
// with, for tokens that it would never issue.
func apiServerKey(t *testing.T) crypto.Signer {
	t.Helper()
	return signerOf(t, shared)
}

func signerOf(t *testing.T, c *cluster.Cluster) crypto.Signer {
	t.Helper()
	block, _ := pem.Decode(readFile(t, c.SigningKeyFile()))
	if block == nil {
		t.Fatal("the API server's signing key is not PEM")
	}
	if key, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
		return key
	}
	key, ok := must(x509.ParsePKCS8PrivateKey(block.Bytes))(t).(crypto.Signer)
	if !ok {
		t.Fatal("the API server's signing key can't sign")
	}
	return key
}

// resign changes claims of a token and signs it again.
func resign(t *testing.T, token string, key crypto.Signer, change func(map[string]any)) string {
	t.Helper()
	parsed := must(jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256}))(t)
	claims := map[string]any{}
	if err := parsed.UnsafeClaimsWithoutVerification(&claims); err != nil {
		t.Fatal(err)
	}
	change(claims)
	signer := must(jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256,
		Key: jose.JSONWebKey{Key: key, KeyID: parsed.Headers[0].KeyID}}, nil))(t)
	return must(must(signer.Sign(must(json.Marshal(claims))(t)))(t).CompactSerialize())(t)
}

func TestTokensThatTheAPIServerRefuses(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	pod(t, ns, "mypod1", "web")
	var c configFile
	id, config := c.add(kubernetes("boundNamespaces: ["+ns+"]"), gatewayReviewer)
	g := startGateway(t, c.String(), product.GatewayOptions{Kubeconfig: kubeconfig(t, delegator(t, ns, "gateway"))})
	ours := apiServerKey(t)
	theirs := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)

	for _, tt := range []struct {
		name          string
		token         func(t *testing.T) string
		reason, words string
	}{
		{"a token signed again without a change is accepted, so that the next rows mean something", func(t *testing.T) string {
			return resign(t, podToken(t, ns, "mypod1", "web"), ours, func(map[string]any) {})
		}, "", ""},
		{"an expired token", func(t *testing.T) string {
			return resign(t, podToken(t, ns, "mypod1", "web"), ours, func(claims map[string]any) {
				past := time.Now().Add(-time.Hour).Unix()
				claims["iat"], claims["nbf"], claims["exp"] = past, past, past+600
			})
		}, "token-expired", "failed to validate token: the token has expired"},
		{"a token of the future", func(t *testing.T) string {
			return resign(t, podToken(t, ns, "mypod1", "web"), ours, func(claims map[string]any) {
				future := time.Now().Add(time.Hour).Unix()
				claims["iat"], claims["nbf"], claims["exp"] = future, future, future+600
			})
		}, "token-not-yet-valid", "not valid yet"},
		{"a token with another issuer's key", func(t *testing.T) string {
			return resign(t, podToken(t, ns, "mypod1", "web"), theirs, func(map[string]any) {})
		}, "token-signature", "failed to validate token: the token is not signed by the API server"},
		{"a token with another issuer's name", func(t *testing.T) string {
			return resign(t, podToken(t, ns, "mypod1", "web"), ours, func(claims map[string]any) { claims["iss"] = "https://other.invalid" })
		}, "token-not-accepted", "failed to validate token: the API server does not accept the token"},
		{"a token of a deleted pod", func(t *testing.T) string {
			pod(t, ns, "gone", "web")
			token := podToken(t, ns, "gone", "web")
			now := int64(0)
			if err := shared.Client.CoreV1().Pods(ns).Delete(t.Context(), "gone", metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil {
				t.Fatal(err)
			}
			return token
		}, "token-revoked", "no longer exists"},
		{"a token of a pod that was deleted and made again", func(t *testing.T) string {
			pod(t, ns, "again", "web")
			token := podToken(t, ns, "again", "web")
			now := int64(0)
			if err := shared.Client.CoreV1().Pods(ns).Delete(t.Context(), "again", metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil {
				t.Fatal(err)
			}
			pod(t, ns, "again", "web")
			return token
		}, "token-revoked", "no longer exists"},
		{"a token of a deleted service account", func(t *testing.T) string {
			if err := shared.EnsureServiceAccount(t.Context(), ns, "gone"); err != nil {
				t.Fatal(err)
			}
			token := must(shared.PodToken(t.Context(), cluster.TokenRequest{Namespace: ns, ServiceAccount: "gone", Audience: audience}))(t)
			if err := shared.Client.CoreV1().ServiceAccounts(ns).Delete(t.Context(), "gone", metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
			return token
		}, "token-revoked", "no longer exists"},
		{"a session is no service-account token", func(t *testing.T) string {
			return g.login(t, id, config, podToken(t, ns, "mypod1", "web")).Token
		}, "token-not-accepted", "failed to validate token: the API server does not accept the token"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			token := tt.token(t)
			got := g.login(t, id, config, token)
			// The API server judges by a cache that learns of a deletion a moment later, and
			// repeats what it said of a token for 10 s (TokenSuccessCacheTTL of its options).
			for until := time.Now().Add(15 * time.Second); tt.reason == "token-revoked" && got.status == http.StatusOK && time.Now().Before(until); {
				got = g.login(t, id, config, token)
			}
			check(t, g, got, tt.reason, tt.words)
		})
	}
}

func TestReviewersWithoutRights(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	pod(t, ns, "mypod1", "web")
	if err := shared.EnsureServiceAccount(t.Context(), ns, "nobody"); err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("    host: %s\n    caFile: %s\n", shared.Host(), caFile(t))
	var c configFile
	forbiddenID, forbidden := c.add(kubernetes(""), address+"    reviewer: {type: token, tokenFile: "+tokenFile(t, ns, "nobody")+"}")
	strangerID, stranger := c.add(kubernetes(""), address+"    reviewer: {type: token, tokenFile: "+file(t, "token", "not-a-token")+"}")
	selfID, self := c.add("    kubernetes: {}", address+"    reviewer: {type: self}")
	g := startGateway(t, c.String(), product.GatewayOptions{})

	for _, tt := range []struct{ name, id, config, reason string }{
		{"a reviewer that may not review is the administrator's mistake", forbiddenID, forbidden, "reviewer-forbidden"},
		{"a reviewer that the API server does not know is the administrator's mistake", strangerID, stranger, "reviewer-unauthorized"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := g.login(t, tt.id, tt.config, podToken(t, ns, "mypod1", "web"))
			if got.status != http.StatusServiceUnavailable || got.retryAfter == "" || !strings.Contains(got.Error, "administrator") {
				t.Errorf("%+v", got)
			}
			if r := g.lastRecord(t); r.Result != "failed" || r.Reason != tt.reason || !strings.Contains(r.Detail, "API server answered") {
				t.Errorf("%+v", r)
			}
			eventually(t, "the log to say so", func() error {
				if !strings.Contains(g.Logs(), tt.reason) {
					return errors.New("it does not")
				}
				return nil
			})
		})
	}
	t.Run("a token that may not review itself is refused", func(t *testing.T) {
		token := must(shared.PodToken(t.Context(), cluster.TokenRequest{Namespace: ns, ServiceAccount: "web", Pod: "mypod1"}))(t)
		check(t, g, g.login(t, selfID, self, token), "self-review-forbidden", "system:auth-delegator")
	})
	t.Run("a token for the gateway only can't review itself", func(t *testing.T) {
		check(t, g, g.login(t, selfID, self, podToken(t, ns, "mypod1", "web")), "self-review-unauthorized", "needs the API server's audience")
	})
}

func TestAPIServerThatIsDown(t *testing.T) {
	t.Parallel()
	second := must(cluster.Start(t.Context(), cluster.Options{}))(t)
	stopped := false
	t.Cleanup(func() {
		if !stopped {
			_ = second.Stop()
		}
	})
	ns := must(second.CreateNamespace(t.Context(), "down", nil))(t)
	token := must(second.PodToken(t.Context(), cluster.TokenRequest{Namespace: ns, ServiceAccount: "default", Audience: audience}))(t)
	var c configFile
	id, config := c.add(kubernetes(""), gatewayReviewer)
	g := startGateway(t, c.String(), product.GatewayOptions{Kubeconfig: second.Kubeconfig})
	session := g.login(t, id, config, token)
	check(t, g, session, "", "")
	if err := second.Stop(); err != nil {
		t.Fatal(err)
	}
	stopped = true

	got := g.login(t, id, config, token)
	if got.status != http.StatusServiceUnavailable || got.retryAfter == "" || !strings.Contains(got.Error, "can't reach the Kubernetes API server") {
		t.Errorf("%+v", got)
	}
	if r := g.lastRecord(t); r.Result != "failed" || r.Reason != "api-server-unreachable" {
		t.Errorf("%+v", r)
	}
	if got := g.post(t, "/validate-token", map[string]string{"token": session.Token}); !got.IsValid {
		t.Errorf("a session needs the API server: %+v", got)
	}
}
