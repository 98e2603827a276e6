package gateway_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/gatepass/gatepass/test/cluster"
)

const (
	newIssuer = "https://new.example"
	oldIssuer = "https://old.example"
)

// An API server whose issuer was changed names the new one, gives it to its tokens, and
// still accepts those of the old one (kube-apiserver --service-account-issuer).
func TestIssuerValidation(t *testing.T) {
	t.Parallel()
	moved := must(cluster.Start(t.Context(), cluster.Options{APIServerArgs: map[string][]string{
		"service-account-issuer": {newIssuer, oldIssuer}, "api-audiences": {newIssuer},
	}}))(t)
	t.Cleanup(func() {
		if err := moved.Stop(); err != nil {
			t.Error(err)
		}
	})
	// The kubeconfig is an administrator's: it may read the discovery document.
	a := startManaged(t, moved.Kubeconfig)
	var made struct {
		AccessID string `json:"access_id"`
	}
	if err := json.Unmarshal([]byte(a.run(t, "", "auth-method", "create", "k8s", "-n", "pods", "--json")), &made); err != nil {
		t.Fatal(err)
	}
	mint := func(t *testing.T, r cluster.TokenRequest) string {
		t.Helper()
		r.Namespace, r.ServiceAccount = "default", "default"
		return must(moved.PodToken(t.Context(), r))(t)
	}
	if err := moved.EnsureServiceAccount(t.Context(), "default", "default"); err != nil {
		t.Fatal(err)
	}
	ofNew := mint(t, cluster.TokenRequest{})
	ofOld := resign(t, ofNew, signerOf(t, moved), func(claims map[string]any) { claims["iss"] = oldIssuer })
	ofBoth := map[string]string{"new": ofNew, "old": ofOld}
	allow(t, moved, rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: "default", Name: "default"})
	at := []string{"--k8s-host", moved.Host(), "--k8s-ca-cert", base64.StdEncoding.EncodeToString(moved.CA())}
	account := append([]string{"--token-reviewer-jwt", ofNew}, at...)
	stranger := append(userWithoutDiscovery(t, moved), at...)

	for i, tt := range []struct {
		name    string
		flags   []string
		refused string // the issuer whose tokens are
	}{
		{"no issuer is named: it is the cluster's", nil, "old"},
		{"the default of the public SDKs is named: it is the cluster's", []string{"--k8s-issuer", "kubernetes/serviceaccount"}, "old"},
		{"the new issuer is named", []string{"--k8s-issuer", newIssuer}, "old"},
		{"the old issuer is named", []string{"--k8s-issuer", oldIssuer}, "new"},
		{"the check is off", []string{"--disable-issuer-validation=true"}, ""},
		{"the check is off and an issuer is named", []string{"--k8s-issuer", oldIssuer, "--disable-issuer-validation=true"}, ""},
		{"the check is on and no issuer is named", []string{"--disable-issuer-validation=false"}, "old"},
		{"a service account is the reviewer: it may discover the issuer", account, "old"},
		{"the reviewer may not discover the issuer", stranger, ""},
		{"the reviewer may not discover the issuer, which is named", append([]string{"--k8s-issuer", newIssuer}, stranger...), "old"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			config := fmt.Sprintf("conf-%d", i)
			flags := tt.flags
			if !strings.Contains(strings.Join(flags, " "), "--k8s-host") {
				flags = append([]string{"--use-gw-service-account"}, flags...)
			}
			a.run(t, "", append([]string{"gateway-create-k8s-auth-config", "--name", config, "--access-id", made.AccessID}, flags...)...)
			for issuer, token := range ofBoth {
				a.logIn(t, made.AccessID, config, token, issuer == tt.refused)
			}
		})
	}
	t.Run("an update names another issuer", func(t *testing.T) {
		a.run(t, "", "gateway-update-k8s-auth-config", "--name", "conf-2", "--k8s-issuer", oldIssuer)
		a.logIn(t, made.AccessID, "conf-2", ofOld, false)
		a.logIn(t, made.AccessID, "conf-2", ofNew, true)
	})
	t.Run("another cluster's token is refused, whatever it says", func(t *testing.T) {
		foreign := must(shared.PodToken(t.Context(), cluster.TokenRequest{Namespace: namespace(t), ServiceAccount: "default"}))(t)
		alike := resign(t, foreign, apiServerKey(t), func(claims map[string]any) { claims["iss"], claims["aud"] = newIssuer, newIssuer })
		for reason, token := range map[string]string{"token-not-accepted": foreign, "token-signature": alike} {
			if _, _, err := a.auth(t, made.AccessID, "conf-4", token); err == nil || lastRecord(t, a.audit).Reason != reason {
				t.Errorf("%v, audit log %+v, want %s", err, lastRecord(t, a.audit), reason)
			}
		}
	})
}

// logIn logs in, or is refused for the token's issuer.
func (a *administrator) logIn(t *testing.T, accessID, config, token string, refused bool) {
	t.Helper()
	out, complaint, err := a.auth(t, accessID, config, token)
	r := lastRecord(t, a.audit)
	switch {
	case !refused && (err != nil || !strings.HasPrefix(out, "Authentication succeeded.") || r.Result != "granted"):
		t.Errorf("%v: %s, audit log %+v", err, complaint, r)
	case refused && (err == nil || !strings.Contains(complaint, "the token is of another issuer") || r.Reason != "token-issuer" || !strings.Contains(r.Detail, "example")):
		t.Errorf("%v: %q %s, audit log %+v", err, out, complaint, r)
	}
}

// allow lets a subject review tokens, and nothing else.
func allow(t *testing.T, c *cluster.Cluster, subject rbacv1.Subject) {
	t.Helper()
	must(c.Client.RbacV1().ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "reviews-by-" + subject.Name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "system:auth-delegator"},
		Subjects:   []rbacv1.Subject{subject},
	}, metav1.CreateOptions{}))(t)
	as := subject.Name
	if subject.Kind == rbacv1.ServiceAccountKind {
		as = "system:serviceaccount:" + subject.Namespace + ":" + subject.Name
	}
	// The authorizer learns of a binding through a watch.
	eventually(t, "the binding to take effect", func() error {
		_, complaint, err := c.Kubectl(t.Context(), "auth", "can-i", "create", "tokenreviews.authentication.k8s.io", "--as="+as)
		if err != nil {
			return fmt.Errorf("%w: %s", err, complaint)
		}
		return nil
	})
}

// userWithoutDiscovery makes a user who may review tokens, and returns the flags that
// make it the reviewer. The discovery document is for service accounts.
func userWithoutDiscovery(t *testing.T, c *cluster.Cluster) []string {
	t.Helper()
	const name = "reviewer"
	allow(t, c, rbacv1.Subject{Kind: rbacv1.UserKind, Name: name, APIGroup: rbacv1.GroupName})
	access := must(clientcmd.LoadFromFile(must(c.KubeconfigFor(name))(t)))(t)
	for _, user := range access.AuthInfos {
		return []string{
			"--k8s-auth-type", "certificate",
			"--k8s-client-certificate", base64.StdEncoding.EncodeToString(user.ClientCertificateData),
			"--k8s-client-key", base64.StdEncoding.EncodeToString(user.ClientKeyData),
		}
	}
	t.Fatal("the kubeconfig has no user")
	return nil
}
