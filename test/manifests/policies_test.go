package manifests_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	registrationv1 "k8s.io/api/admissionregistration/v1"

	"github.com/gatepass/gatepass/test/manifests"
	"github.com/gatepass/gatepass/test/repo"
)

// policies are those of the base, each with its binding.
func policies(t *testing.T) []*registrationv1.ValidatingAdmissionPolicy {
	t.Helper()
	_, objects := render(t, manifests.Base)
	var found []*registrationv1.ValidatingAdmissionPolicy
	for _, object := range objects {
		if object.GetKind() != "ValidatingAdmissionPolicy" {
			continue
		}
		policy, err := manifests.Find[registrationv1.ValidatingAdmissionPolicy](objects, object.GetKind(), object.GetName())
		if err != nil {
			t.Fatal(err)
		}
		binding, err := manifests.Find[registrationv1.ValidatingAdmissionPolicyBinding](objects, "ValidatingAdmissionPolicyBinding", object.GetName())
		if err != nil {
			t.Fatal(err)
		}
		want := registrationv1.Warn
		if *policy.Spec.FailurePolicy == registrationv1.Fail {
			want = registrationv1.Deny
		}
		if binding.Spec.PolicyName != policy.Name || !slices.Equal(binding.Spec.ValidationActions, []registrationv1.ValidationAction{want}) || binding.Spec.MatchResources != nil {
			t.Errorf("%s: bound as %+v", policy.Name, binding.Spec)
		}
		found = append(found, policy)
	}
	if len(found) < 5 {
		t.Fatalf("%d policies", len(found))
	}
	return found
}

// first is what stands between the first backticks of a table's row.
var first = regexp.MustCompile("(?m)^\\| `([^`]+)` \\|")

func TestEveryMessageOfAPolicyIsDocumented(t *testing.T) {
	root, err := repo.Root()
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(root, "docs", "policies.md"))
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	for _, row := range first.FindAllStringSubmatch(string(page), -1) {
		documented = append(documented, strings.Trim(row[1], "… "))
	}
	var all strings.Builder
	for _, policy := range policies(t) {
		all.WriteString(policy.Name + "\n")
		for _, v := range policy.Spec.Validations {
			says := v.Message + "\n" + v.MessageExpression + "\n"
			all.WriteString(says)
			if !slices.ContainsFunc(documented, func(text string) bool { return strings.Contains(says, text) }) {
				t.Errorf("docs/policies.md does not have: %s", v.Message)
			}
		}
	}
	for _, text := range documented {
		if !strings.Contains(all.String(), text) {
			t.Errorf("docs/policies.md has a message that no policy gives: %s", text)
		}
	}
}

// A policy tells people that a namespace is left out; the webhook's
// configuration leaves it out.
func TestPoliciesNameTheNamespacesThatTheWebhookLeavesOut(t *testing.T) {
	_, objects := render(t, manifests.Base)
	webhook, err := manifests.Find[registrationv1.MutatingWebhookConfiguration](objects, "MutatingWebhookConfiguration", manifests.WebhookConfiguration)
	if err != nil {
		t.Fatal(err)
	}
	excluded := "['" + strings.Join(webhook.Webhooks[0].NamespaceSelector.MatchExpressions[0].Values, "', '") + "']"
	if !slices.ContainsFunc(policies(t), func(policy *registrationv1.ValidatingAdmissionPolicy) bool {
		return slices.ContainsFunc(policy.Spec.Validations, func(v registrationv1.Validation) bool {
			return strings.Contains(v.MessageExpression, "request.namespace in "+excluded)
		})
	}) {
		t.Errorf("no policy names the namespaces %s", excluded)
	}
}
