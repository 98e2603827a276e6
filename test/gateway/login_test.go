package gateway_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gatepass/gatepass/test/cluster"
	"github.com/gatepass/gatepass/test/product"
)

func TestEveryReviewerLetsAPodIn(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	pod(t, ns, "mypod1", "web")
	own, dedicated := delegator(t, ns, "gateway"), delegator(t, ns, "reviewer")
	allowReviews(t, ns, "web") // for the token that reviews itself
	cert, key := file(t, "tls.crt", string(shared.Config.CertData)), file(t, "tls.key", string(shared.Config.KeyData))
	address := fmt.Sprintf("    host: %s\n    caFile: %s\n", shared.Host(), caFile(t))

	var c configFile
	reviewers := []struct{ name, id, config string }{{name: "gateway"}, {name: "token"}, {name: "certificate"}, {name: "self"}}
	for i, conf := range []string{
		gatewayReviewer,
		address + "    reviewer: {type: token, tokenFile: " + dedicated + "}",
		address + "    reviewer: {type: certificate, certFile: " + cert + ", keyFile: " + key + "}",
		address + "    reviewer: {type: self}",
	} {
		method := kubernetes("boundNamespaces: [" + ns + "]")
		if reviewers[i].name == "self" {
			method = "    kubernetes: {boundNamespaces: [" + ns + "]}"
		}
		reviewers[i].id, reviewers[i].config = c.add(method, conf)
	}
	g := startGateway(t, c.String(), product.GatewayOptions{Kubeconfig: kubeconfig(t, own)})
	for _, r := range reviewers {
		t.Run("the reviewer "+r.name, func(t *testing.T) {
			token := podToken(t, ns, "mypod1", "web")
			if r.name == "self" { // needs the API server's own audience
				token = must(shared.PodToken(t.Context(), cluster.TokenRequest{Namespace: ns, ServiceAccount: "web", Pod: "mypod1"}))(t)
			}
			got := g.login(t, r.id, r.config, token)
			if got.status != http.StatusOK || got.Token == "" || got.Creds.Token != got.Token {
				t.Fatalf("login: %+v\n%+v", got, g.lastRecord(t))
			}
			expires := must(time.Parse(time.RFC3339, got.Expiration))(t)
			if left := time.Until(expires); left < 14*time.Minute || left > 15*time.Minute || expires.Unix() != got.Creds.Expiry {
				t.Errorf("expiration %s, expiry %d", got.Expiration, got.Creds.Expiry)
			}
			claims := g.post(t, "/v2/describe-sub-claims", map[string]string{"token": got.Token}).SubClaims
			live := must(shared.Client.CoreV1().Pods(ns).Get(t.Context(), "mypod1", metav1.GetOptions{}))(t)
			account := must(shared.Client.CoreV1().ServiceAccounts(ns).Get(t.Context(), "web", metav1.GetOptions{}))(t)
			want := map[string][]string{
				"service_account_name": {"web"}, "service_account_uid": {string(account.UID)}, "namespace": {ns},
				"pod_name": {"mypod1"}, "pod_uid": {string(live.UID)}, "config_name": {r.config}, "aud": {audience},
			}
			if r.name == "self" {
				want["aud"] = claims["aud"]
				if len(claims["aud"]) != 1 || !strings.HasPrefix(claims["aud"][0], "https://") {
					t.Errorf("audiences %q are not the API server's", claims["aud"])
				}
			}
			if diff := cmp.Diff(want, claims); diff != "" {
				t.Error(diff)
			}
			recorded := g.lastRecord(t)
			if recorded.Result != "granted" || recorded.Subject != "system:serviceaccount:"+ns+":web" || recorded.Session == "" || recorded.PodName != "mypod1" {
				t.Errorf("audit log: %+v", recorded)
			}
		})
	}
	t.Run("a token reaches no log", func(t *testing.T) {
		token := podToken(t, ns, "mypod1", "web")
		session := g.login(t, reviewers[0].id, reviewers[0].config, token).Token
		logs := g.Logs() + string(readFile(t, g.audit))
		for _, secret := range []string{token, session, strings.Split(token, ".")[2], strings.Split(session, ".")[2]} {
			if strings.Contains(logs, secret) {
				t.Error("a token, or its signature, is in a log")
			}
		}
	})
}

func TestBoundRules(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	pod(t, ns, "mypod1", "web")
	var c configFile
	const anybody = `boundNamespaces: ["*"]`
	type row struct {
		name          string
		method        string
		token         cluster.TokenRequest
		reason, words string
		header        string

		id, config string
	}
	bound := cluster.TokenRequest{Namespace: ns, ServiceAccount: "web", Pod: "mypod1", Audience: audience}
	unbound := cluster.TokenRequest{Namespace: ns, ServiceAccount: "web", Audience: audience}
	other := cluster.TokenRequest{Namespace: ns, ServiceAccount: "web", Pod: "mypod1", Audience: "vault"}
	rows := []row{
		{name: "the namespace is bound", method: kubernetes("boundNamespaces: [other, " + ns + "]"), token: bound},
		{name: "the namespace matches a wildcard", method: kubernetes("boundNamespaces: [gateway-*]"), token: bound},
		{name: "another namespace is bound", method: kubernetes("boundNamespaces: [other]"), token: bound,
			reason: "namespace-not-bound", words: "unauthorized: bound namespaces mismatch"},
		{name: "the pod is bound", method: kubernetes("boundPodNames: [mypod2, mypod1]"), token: bound},
		{name: "the pod matches a wildcard", method: kubernetes(`boundPodNames: ["mypod?"]`), token: bound},
		{name: "another pod is bound", method: kubernetes("boundPodNames: [mypod2]"), token: bound,
			reason: "pod-name-not-bound", words: "unauthorized: bound pod names mismatch"},
		{name: "pods are bound and the token has none", method: kubernetes(`boundPodNames: ["*"]`), token: unbound,
			reason: "token-not-pod-bound", words: "unauthorized: bound pod names mismatch: the token is not bound to a pod"},
		{name: "no pod is bound and the token has none", method: kubernetes(anybody), token: unbound},
		{name: "the service account is bound", method: kubernetes("boundServiceAccountNames: [web]"), token: bound},
		{name: "any service account is bound", method: kubernetes(`boundServiceAccountNames: ["*"]`), token: bound},
		{name: "another service account is bound", method: kubernetes("boundServiceAccountNames: [db]"), token: bound,
			reason: "service-account-not-bound", words: "unauthorized: bound service accounts mismatch"},
		{name: "the token is for another audience", method: kubernetes(anybody), token: other,
			reason: "token-audience", words: "failed to validate token: the token is meant for another audience"},
		{name: "the token is for the API server", method: kubernetes(anybody),
			token:  cluster.TokenRequest{Namespace: ns, ServiceAccount: "web", Pod: "mypod1"},
			reason: "token-audience", words: "failed to validate token: the token is meant for another audience"},
		{name: "no audience is asked for and the token is for another", method: "    kubernetes: {}", token: bound,
			reason: "token-audience", words: "failed to validate token: the token is meant for another audience"},
		{name: "the client's address is bound", method: "    boundIPs: [127.0.0.0/8]\n" + kubernetes(anybody), token: bound},
		{name: "another address is bound", method: "    boundIPs: [10.0.0.0/8]\n" + kubernetes(anybody), token: bound,
			reason: "client-address-not-bound", words: "unauthorized: bound ips mismatch"},
		{name: "another address is bound and the client claims it", method: "    boundIPs: [10.0.0.0/8]\n" + kubernetes(anybody), token: bound,
			header: "10.0.0.1", reason: "client-address-not-bound", words: "unauthorized: bound ips mismatch"},
		{name: "the method has not expired", method: "    accessExpires: \"2100-01-01T00:00:00Z\"\n" + kubernetes(anybody), token: bound},
		{name: "the method has expired", method: "    accessExpires: \"2020-01-01T00:00:00Z\"\n" + kubernetes(anybody), token: bound,
			reason: "access-expired", words: "unauthorized: the auth method's access expired"},
	}
	for i := range rows {
		rows[i].id, rows[i].config = c.add(rows[i].method, gatewayReviewer)
	}
	g := startGateway(t, c.String(), product.GatewayOptions{Kubeconfig: kubeconfig(t, delegator(t, ns, "gateway"))})
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			var headers []string
			if r.header != "" {
				headers = []string{"X-Forwarded-For", r.header, "X-Real-Ip", r.header, "Forwarded", "for=" + r.header}
			}
			got := g.login(t, r.id, r.config, must(shared.PodToken(t.Context(), r.token))(t), headers...)
			check(t, g, got, r.reason, r.words)
		})
	}
	t.Run("an access id of another config is refused", func(t *testing.T) {
		check(t, g, g.login(t, rows[1].id, rows[0].config, podToken(t, ns, "mypod1", "web")), "access-id-mismatch", "does not belong to")
	})
	t.Run("an unknown access id is refused in the same words", func(t *testing.T) {
		check(t, g, g.login(t, "p-unknownunknkm", rows[0].config, podToken(t, ns, "mypod1", "web")), "access-id-mismatch", "does not belong to")
	})
	t.Run("an unknown auth config is refused", func(t *testing.T) {
		check(t, g, g.login(t, rows[0].id, "nope", podToken(t, ns, "mypod1", "web")), "auth-config-not-found", "k8s auth name [nope] not found")
	})
	t.Run("a base64 token with white space is accepted", func(t *testing.T) {
		token := " \n" + base64.StdEncoding.EncodeToString([]byte(podToken(t, ns, "mypod1", "web")+"\n")) + "\n"
		check(t, g, g.login(t, rows[0].id, rows[0].config, token), "", "")
	})
}

// check compares an answer and its audit record. An empty reason is a login.
func check(t *testing.T, g *gatewayProcess, got answer, reason, words string) {
	t.Helper()
	recorded := g.lastRecord(t)
	if reason == "" {
		if got.status != http.StatusOK || got.Token == "" || recorded.Result != "granted" {
			t.Errorf("answer %d %q, audit log %+v", got.status, got.Error, recorded)
		}
		return
	}
	if got.status != http.StatusUnauthorized || got.Token != "" || !strings.Contains(got.Error, words) {
		t.Errorf("answer %d %q, want %q", got.status, got.Error, words)
	}
	if recorded.Result != "denied" || recorded.Reason != reason {
		t.Errorf("audit log %+v, want reason %q", recorded, reason)
	}
}
