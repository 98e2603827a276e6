package gateway_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gatepass/gatepass/test/cluster"
	"github.com/gatepass/gatepass/test/product"
)

// secretToken makes the token of a service account that a Secret of type
// kubernetes.io/service-account-token has, as clusters had one for every service
// account once. The API server of these tests runs without the controller that fills
// such Secrets, so this does it, with the same key and the same claims.
func secretToken(t *testing.T, namespace, account, secret string) string {
	t.Helper()
	of := must(shared.Client.CoreV1().ServiceAccounts(namespace).Get(t.Context(), account, metav1.GetOptions{}))(t)
	projected := must(shared.PodToken(t.Context(), cluster.TokenRequest{Namespace: namespace, ServiceAccount: account}))(t)
	return resign(t, projected, apiServerKey(t), func(claims map[string]any) {
		clear(claims)
		claims["iss"] = "kubernetes/serviceaccount"
		claims["sub"] = "system:serviceaccount:" + namespace + ":" + account
		for name, value := range map[string]string{
			"namespace": namespace, "secret.name": secret, "service-account.name": account, "service-account.uid": string(of.UID),
		} {
			claims["kubernetes.io/serviceaccount/"+name] = value
		}
	})
}

// createSecret makes a Secret with its token at once: the API server may know of a
// change only later.
func createSecret(t *testing.T, namespace, account, name string) (token string) {
	t.Helper()
	token = secretToken(t, namespace, account, name)
	must(shared.Client.CoreV1().Secrets(namespace).Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{corev1.ServiceAccountNameKey: account}},
		Type:       corev1.SecretTypeServiceAccountToken,
		Data:       map[string][]byte{corev1.ServiceAccountTokenKey: []byte(token)},
	}, metav1.CreateOptions{}))(t)
	return token
}

// fillSecret puts a token into a Secret that there is.
func fillSecret(t *testing.T, namespace, name, token string) {
	t.Helper()
	patch := must(json.Marshal(map[string]any{"data": map[string][]byte{corev1.ServiceAccountTokenKey: []byte(token)}}))(t)
	must(shared.Client.CoreV1().Secrets(namespace).Patch(t.Context(), name, types.MergePatchType, patch, metav1.PatchOptions{}))(t)
}

func TestTokensOfSecrets(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	if err := shared.EnsureServiceAccount(t.Context(), ns, "web"); err != nil {
		t.Fatal(err)
	}
	const anyAudience = "    kubernetes: {%s}"
	var c configFile
	rows := []struct{ name, method, reason, words, id, config string }{
		{name: "its namespace and service account are bound", method: fmt.Sprintf(anyAudience, "boundNamespaces: ["+ns+"], boundServiceAccountNames: [web]")},
		{name: "another namespace is bound", method: fmt.Sprintf(anyAudience, "boundNamespaces: [other]"),
			reason: "namespace-not-bound", words: "unauthorized: bound namespaces mismatch"},
		{name: "another service account is bound", method: fmt.Sprintf(anyAudience, "boundServiceAccountNames: [other]"),
			reason: "service-account-not-bound", words: "unauthorized: bound service accounts mismatch"},
		{name: "any pod is bound, and it has none", method: fmt.Sprintf(anyAudience, `boundPodNames: ["*"]`),
			reason: "token-not-pod-bound", words: "the token is not bound to a pod; use a projected token"},
		{name: "an audience is asked for, and it has none", method: kubernetes(""),
			reason: "token-audience", words: "the token is meant for another audience"},
	}
	for i := range rows {
		rows[i].id, rows[i].config = c.add(rows[i].method, gatewayReviewer)
	}
	g := startGateway(t, c.String(), product.GatewayOptions{Kubeconfig: kubeconfig(t, delegator(t, ns, "gateway"))})
	id, config := rows[0].id, rows[0].config
	token := createSecret(t, ns, "web", "web-token")
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) { check(t, g, g.login(t, r.id, r.config, token), r.reason, r.words) })
	}

	t.Run("its session says what the API server knows of it", func(t *testing.T) {
		session := g.login(t, id, config, token)
		check(t, g, session, "", "")
		if r := g.lastRecord(t); r.Subject != "system:serviceaccount:"+ns+":web" || r.PodName != "" {
			t.Errorf("audit log: %+v", r)
		}
		account := must(shared.Client.CoreV1().ServiceAccounts(ns).Get(t.Context(), "web", metav1.GetOptions{}))(t)
		claims := g.post(t, "/describe-sub-claims", map[string]string{"token": session.Token}).SubClaims
		want := map[string][]string{
			"service_account_name": {"web"}, "service_account_uid": {string(account.UID)}, "namespace": {ns}, "config_name": {config},
			"aud": claims["aud"], // the API server's own, of which a port is free
		}
		if diff := cmp.Diff(want, claims); diff != "" || len(claims["aud"]) != 1 {
			t.Errorf("%v: %s", claims["aud"], diff)
		}
	})

	secrets := shared.Client.CoreV1().Secrets(ns)
	for secret, end := range map[string]func(t *testing.T, secret string) error{
		"deleted": func(t *testing.T, secret string) error {
			return secrets.Delete(t.Context(), secret, metav1.DeleteOptions{})
		},
		"changed": func(t *testing.T, secret string) error {
			fillSecret(t, ns, secret, "another")
			return nil
		},
		"retired": func(t *testing.T, secret string) error {
			// What the legacy token cleaner of the controller manager does.
			patch := `{"metadata":{"labels":{"kubernetes.io/legacy-token-invalid-since":"2026-01-01"}}}`
			_, err := secrets.Patch(t.Context(), secret, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
			return err
		},
	} {
		t.Run("it ends when its Secret is "+secret, func(t *testing.T) {
			token := createSecret(t, ns, "web", secret)
			if err := end(t, secret); err != nil {
				t.Fatal(err)
			}
			refusedInTheEnd(t, g, id, config, token)
		})
	}
}
