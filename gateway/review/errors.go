package review

import (
	"errors"
	"strings"
	"time"
)

// Reason is a stable code, for metrics and the audit log.
type Reason string

// Reasons of a Rejection: it is the token's fault.
const (
	ReasonNotJWT      Reason = "token-malformed"
	ReasonExpired     Reason = "token-expired"
	ReasonNotYetValid Reason = "token-not-yet-valid"
	ReasonAudience    Reason = "token-audience"
	ReasonRevoked     Reason = "token-revoked"
	// ReasonSignature: the token is not signed by a key of the API server's.
	ReasonSignature Reason = "token-signature"
	ReasonUnknown   Reason = "token-not-accepted"
	// ReasonSelfUnauthorized and ReasonSelfForbidden: the token may not review
	// itself.
	ReasonSelfUnauthorized Reason = "self-review-unauthorized"
	ReasonSelfForbidden    Reason = "self-review-forbidden"
)

// Reasons of a Failure: it is not the token's fault.
const (
	ReasonUnreachable          Reason = "api-server-unreachable"
	ReasonServerError          Reason = "api-server-error"
	ReasonThrottled            Reason = "api-server-throttled"
	ReasonMalformed            Reason = "api-server-answer-malformed"
	ReasonReviewerUnauthorized Reason = "reviewer-unauthorized"
	ReasonReviewerForbidden    Reason = "reviewer-forbidden"
	// ReasonUnusable: there is nobody to ask, because the auth config lacks something.
	ReasonUnusable Reason = "auth-config-unusable"
)

// Rejection says that the API server does not accept the token.
type Rejection struct {
	Reason Reason
	// Detail is the API server's own explanation. It is for the audit log.
	Detail string
}

// Error returns the reason and the API server's explanation.
func (r *Rejection) Error() string { return string(r.Reason) + ": " + r.Detail }

// Public is what the caller may read: enough to find the mistake, nothing of
// what the API server knows.
func (r *Rejection) Public() string {
	switch r.Reason {
	case ReasonNotJWT:
		return "not a JWT"
	case ReasonExpired:
		return "the token has expired"
	case ReasonNotYetValid:
		return "the token is not valid yet; compare the clocks"
	case ReasonAudience:
		return "the token is meant for another audience"
	case ReasonIssuer:
		return "the token is of another issuer"
	case ReasonRevoked:
		return "the pod, service account or Secret that the token belongs to no longer exists, or no longer vouches for it"
	case ReasonSignature:
		return "the token is not signed by the API server"
	case ReasonSelfUnauthorized:
		return "the API server does not accept the token for a review of itself; it needs the API server's audience"
	case ReasonSelfForbidden:
		return "the token's service account may not review tokens; bind it to the ClusterRole system:auth-delegator"
	default:
		return "the API server does not accept the token"
	}
}

// Failure says that the API server gave no verdict.
type Failure struct {
	Reason Reason
	// Detail is for logs and the audit log.
	Detail string
	// RetryAfter is what the API server asked for; zero if it did not.
	RetryAfter time.Duration
}

// Error returns the reason and the detail.
func (f *Failure) Error() string { return string(f.Reason) + ": " + f.Detail }

// rejectionFor finds the reason in the API server's explanation, as it is
// written in k8s.io/kubernetes/pkg/serviceaccount (claims.go, legacy.go, jwt.go).
// An explanation that is not here still rejects the token, only with less help.
func rejectionFor(explanation string) *Rejection {
	lower := strings.ToLower(explanation)
	for _, known := range [...]struct {
		text   string
		reason Reason
	}{
		{"is invalid for the target audiences", ReasonAudience},
		{"token has expired", ReasonExpired},
		{"is not valid yet", ReasonNotYetValid},
		{"is issued in the future", ReasonNotYetValid},
		{"has been invalidated", ReasonRevoked},
		{"has been deleted", ReasonRevoked},
		{"\" not found", ReasonRevoked}, // of a service account that is gone for longer
		{"does not match claim", ReasonRevoked},
		{"ref claim (", ReasonRevoked},
		{"does not match server's copy", ReasonRevoked}, // the Secret has another token
		{"has been marked invalid", ReasonRevoked},      // a Secret's, unused for a year
		// What go-jose says, which the API server passes on.
		{"error in cryptographic primitive", ReasonSignature},
		{"invalid signature, no keys found", ReasonSignature},
		{"json: duplicate key", ReasonNotJWT},
		{"value to unmarshal", ReasonNotJWT},
	} {
		if strings.Contains(lower, known.text) {
			return &Rejection{Reason: known.reason, Detail: explanation}
		}
	}
	return &Rejection{Reason: ReasonUnknown, Detail: explanation}
}

// outcome is the label under which a review is counted.
func outcome(err error) string {
	var rejection *Rejection
	var failure *Failure
	switch {
	case err == nil:
		return "accepted"
	case errors.As(err, &rejection):
		return "rejected"
	case errors.As(err, &failure):
		return "failed"
	}
	return "cancelled"
}
