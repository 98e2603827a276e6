package authmethod

import (
	"fmt"
	"strings"
)

// Keys of the extra attributes that the API server gives a service account's
// token (k8s.io/apiserver/pkg/authentication/serviceaccount).
const (
	extraPodName = "authentication.kubernetes.io/pod-name"
	extraPodUID  = "authentication.kubernetes.io/pod-uid"
)

// Names of sub-claims. They are part of the public API: role rules name them.
const (
	ClaimServiceAccountName = "service_account_name"
	ClaimServiceAccountUID  = "service_account_uid"
	ClaimNamespace          = "namespace"
	ClaimAudience           = "aud"
	ClaimPodName            = "pod_name"
	ClaimPodUID             = "pod_uid"
	ClaimConfigName         = "config_name"
)

// User is whom the API server found behind a token.
type User struct {
	// Username and UID are the API server's; the UID is the service account's.
	Username string
	UID      string
	// Extra holds what else the API server knows of the token.
	Extra map[string][]string
	// Audiences are those of the review that the token satisfied.
	Audiences []string
}

// Identity is a service account, and the pod that its token is bound to.
type Identity struct {
	Namespace         string
	ServiceAccount    string
	ServiceAccountUID string
	// PodName and PodUID are empty for a token that no pod is bound to.
	PodName   string
	PodUID    string
	Audiences []string
}

// IdentityOf reads the API server's answer. Nothing comes from the token's
// text.
func IdentityOf(user *User) (*Identity, *Denial) {
	// Four parts: neither a namespace nor a service account's name holds a colon.
	parts := strings.Split(user.Username, ":")
	if len(parts) != 4 || parts[0] != "system" || parts[1] != "serviceaccount" || parts[2] == "" || parts[3] == "" {
		return nil, deny(ReasonNotServiceAccount, "unauthorized: the token is not a service account's",
			"user name %q is not a service account's", user.Username)
	}
	pod, podUID := user.Extra[extraPodName], user.Extra[extraPodUID]
	if len(pod) > 1 || len(podUID) > 1 || len(pod) != len(podUID) {
		return nil, deny(ReasonNotServiceAccount, "unauthorized: the token's pod is not clear",
			"the API server named the pods %q with the UIDs %q", pod, podUID)
	}
	id := &Identity{
		Namespace:         parts[2],
		ServiceAccount:    parts[3],
		ServiceAccountUID: user.UID,
		Audiences:         user.Audiences,
	}
	if len(pod) == 1 {
		id.PodName, id.PodUID = pod[0], podUID[0]
	}
	return id, nil
}

// Subject is the identity's Kubernetes user name, the `sub` of its session.
func (id *Identity) Subject() string {
	return fmt.Sprintf("system:serviceaccount:%s:%s", id.Namespace, id.ServiceAccount)
}

// SubClaims are what a session says of the identity. What is not known is
// left out.
func (id *Identity) SubClaims(configName string) map[string][]string {
	claims := make(map[string][]string, 7)
	for _, c := range [...]struct{ name, value string }{
		{ClaimServiceAccountName, id.ServiceAccount},
		{ClaimServiceAccountUID, id.ServiceAccountUID},
		{ClaimNamespace, id.Namespace},
		{ClaimPodName, id.PodName},
		{ClaimPodUID, id.PodUID},
		{ClaimConfigName, configName},
	} {
		if c.value != "" {
			claims[c.name] = []string{c.value}
		}
	}
	if len(id.Audiences) > 0 {
		claims[ClaimAudience] = id.Audiences
	}
	return claims
}
