package manifests_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/gatepass/gatepass/test/await"
	"github.com/gatepass/gatepass/test/manifests"
)

// administrator are the gateway's rights on the Secret that it fills for a person.
func administrator() []string {
	return []string{"get /secrets/gatepass-gateway-administrator", "update /secrets/gatepass-gateway-administrator"}
}

// rights are what each ServiceAccount may do, beyond what every one may, as
// "verb group/resource/name".
var rights = map[string]map[string][]string{
	manifests.Base: {
		"gatepass-webhook": nil,
		"gatepass-gateway": {
			"create authentication.k8s.io/tokenreviews",
			"get /secrets/gatepass-gateway-signing-keys",
			"update /secrets/gatepass-gateway-signing-keys",
		},
	},
	manifests.CertManager: {
		"gatepass-webhook": nil,
		"gatepass-gateway": {
			"create authentication.k8s.io/tokenreviews",
			"get /secrets/gatepass-gateway-signing-keys",
			"update /secrets/gatepass-gateway-signing-keys",
		},
	},
	manifests.SelfManaged: {
		"gatepass-webhook": {
			"get /secrets/gatepass-webhook-ca",
			"get admissionregistration.k8s.io/mutatingwebhookconfigurations/zz-gatepass",
			"list /secrets/gatepass-webhook-ca",
			"list admissionregistration.k8s.io/mutatingwebhookconfigurations/zz-gatepass",
			"patch admissionregistration.k8s.io/mutatingwebhookconfigurations/zz-gatepass",
			"update /secrets/gatepass-webhook-ca",
			"watch /secrets/gatepass-webhook-ca",
			"watch admissionregistration.k8s.io/mutatingwebhookconfigurations/zz-gatepass",
		},
		"gatepass-gateway": {
			"create authentication.k8s.io/tokenreviews",
			"get /configmaps/gatepass-gateway-ca",
			"get /secrets/gatepass-gateway-ca",
			"get /secrets/gatepass-gateway-signing-keys",
			"list /configmaps/gatepass-gateway-ca",
			"list /secrets/gatepass-gateway-ca",
			"patch /configmaps/gatepass-gateway-ca",
			"update /secrets/gatepass-gateway-ca",
			"update /secrets/gatepass-gateway-signing-keys",
			"watch /configmaps/gatepass-gateway-ca",
			"watch /secrets/gatepass-gateway-ca",
		},
	},
}

func TestEachAccountHasExactlyItsRights(t *testing.T) {
	if err := manifests.ApplyCRDs(t.Context(), shared); err != nil {
		t.Fatal(err)
	}
	for _, kustomization := range manifests.All() {
		rendered, _ := render(t, kustomization)
		t.Run(kustomization, func(t *testing.T) {
			accounts := expected(kustomization)
			install(t, rendered)
			if err := shared.EnsureServiceAccount(t.Context(), manifests.Namespace, "nobody-special"); err != nil {
				t.Fatal(err)
			}
			everybody := rightsOf(t, "nobody-special")
			for account, want := range accounts {
				var got []string
				await.Until(t, "the rights of "+account+" are as listed", func() bool {
					got = slices.DeleteFunc(rightsOf(t, account), func(right string) bool { return slices.Contains(everybody, right) })
					return slices.Equal(want, got)
				}, func() string { return "got " + strings.Join(got, ", ") })
			}
		})
	}
}

// expected are the rights of an overlay, and what a component adds to them.
func expected(kustomization string) map[string][]string {
	accounts, ok := rights[kustomization]
	if ok {
		return accounts
	}
	accounts = rights[manifests.CertManager]
	if manifests.HasOwnAuthorities(kustomization) {
		accounts = rights[manifests.SelfManaged]
	}
	accounts = maps.Clone(accounts)
	accounts["gatepass-gateway"] = slices.Sorted(slices.Values(slices.Concat(accounts["gatepass-gateway"], administrator())))
	return accounts
}

// as returns a client with a ServiceAccount's rights.
func as(t *testing.T, account string) *kubernetes.Clientset {
	t.Helper()
	config := rest.CopyConfig(shared.Config)
	config.Impersonate = rest.ImpersonationConfig{
		UserName: "system:serviceaccount:" + manifests.Namespace + ":" + account,
		Groups:   []string{"system:serviceaccounts", "system:serviceaccounts:" + manifests.Namespace, "system:authenticated"},
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// rightsOf asks the API server for everything that an account may do in our
// namespace, cluster-wide rights included.
func rightsOf(t *testing.T, account string) []string {
	t.Helper()
	review, err := as(t, account).AuthorizationV1().SelfSubjectRulesReviews().Create(t.Context(),
		&authorizationv1.SelfSubjectRulesReview{Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: manifests.Namespace}},
		metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if review.Status.Incomplete {
		t.Fatalf("the API server does not know all: %s", review.Status.EvaluationError)
	}
	var rights []string
	for _, rule := range review.Status.ResourceRules {
		names := []string{""}
		if len(rule.ResourceNames) > 0 {
			names = rule.ResourceNames
		}
		for _, verb := range rule.Verbs {
			for _, group := range rule.APIGroups {
				for _, resource := range rule.Resources {
					for _, name := range names {
						rights = append(rights, strings.TrimSuffix(fmt.Sprintf("%s %s/%s/%s", verb, group, resource, name), "/"))
					}
				}
			}
		}
	}
	for _, rule := range review.Status.NonResourceRules {
		rights = append(rights, fmt.Sprint(rule.Verbs, rule.NonResourceURLs))
	}
	slices.Sort(rights)
	return slices.Compact(rights)
}

// TestWhatAccountsMayNotDo asks the authorizer about deeds that would hurt.
func TestWhatAccountsMayNotDo(t *testing.T) {
	rendered, _ := render(t, manifests.SelfManaged)
	install(t, rendered)
	const own = manifests.Namespace
	for _, test := range []struct {
		account, verb, group, resource, namespace, name string
		allowed                                         bool
	}{
		{"gatepass-webhook", "update", "", "secrets", own, "gatepass-webhook-ca", true},
		{"gatepass-webhook", "patch", "admissionregistration.k8s.io", "mutatingwebhookconfigurations", "", manifests.WebhookConfiguration, true},
		{"gatepass-gateway", "create", "authentication.k8s.io", "tokenreviews", "", "", true},
		{"gatepass-gateway", "patch", "", "configmaps", own, "gatepass-gateway-ca", true},

		{"gatepass-webhook", "create", "", "secrets", own, "", false},
		{"gatepass-webhook", "list", "", "secrets", own, "", false},
		{"gatepass-webhook", "delete", "", "secrets", own, "gatepass-webhook-ca", false},
		{"gatepass-webhook", "get", "", "secrets", own, "gatepass-gateway-ca", false},
		{"gatepass-webhook", "get", "", "secrets", own, "gatepass-gateway-signing-keys", false},
		{"gatepass-webhook", "get", "", "secrets", "kube-system", "gatepass-webhook-ca", false},
		{"gatepass-webhook", "patch", "admissionregistration.k8s.io", "mutatingwebhookconfigurations", "", "other", false},
		{"gatepass-webhook", "update", "admissionregistration.k8s.io", "mutatingwebhookconfigurations", "", manifests.WebhookConfiguration, false},
		{"gatepass-webhook", "patch", "admissionregistration.k8s.io", "validatingwebhookconfigurations", "", manifests.WebhookConfiguration, false},
		{"gatepass-webhook", "create", "authentication.k8s.io", "tokenreviews", "", "", false},
		{"gatepass-webhook", "get", "", "pods", "default", "", false},
		{"gatepass-gateway", "create", "authorization.k8s.io", "subjectaccessreviews", "", "", false},
		{"gatepass-gateway", "create", "", "serviceaccounts/token", own, "gatepass-webhook", false},
		{"gatepass-gateway", "get", "", "secrets", own, "gatepass-webhook-ca", false},
		{"gatepass-gateway", "list", "", "secrets", own, "gatepass-gateway-signing-keys", false},
		{"gatepass-gateway", "patch", "", "configmaps", own, "gatepass-webhook-config", false},
		{"gatepass-gateway", "patch", "admissionregistration.k8s.io", "mutatingwebhookconfigurations", "", manifests.WebhookConfiguration, false},
	} {
		right := fmt.Sprintf("%s %s %s/%s %s/%s", test.account, test.verb, test.group, test.resource, test.namespace, test.name)
		t.Run(right, func(t *testing.T) {
			resource, subresource, _ := strings.Cut(test.resource, "/")
			ask := func() bool {
				review, err := shared.Client.AuthorizationV1().SubjectAccessReviews().Create(t.Context(), &authorizationv1.SubjectAccessReview{
					Spec: authorizationv1.SubjectAccessReviewSpec{
						User:   "system:serviceaccount:" + own + ":" + test.account,
						Groups: []string{"system:serviceaccounts", "system:serviceaccounts:" + own, "system:authenticated"},
						ResourceAttributes: &authorizationv1.ResourceAttributes{
							Verb: test.verb, Group: test.group, Resource: resource, Subresource: subresource,
							Namespace: test.namespace, Name: test.name,
						},
					},
				}, metav1.CreateOptions{})
				if err != nil {
					t.Fatal(err)
				}
				return review.Status.Allowed
			}
			if test.allowed {
				// The rows that are allowed come first, so the API server
				// knows the roles when it comes to the others.
				await.Until(t, "allowed: "+right, ask)
			} else if ask() {
				t.Error("allowed")
			}
		})
	}
}
