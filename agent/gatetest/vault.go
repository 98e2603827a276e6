package gatetest

import (
	"net/http"
	"time"
)

// VaultAuth is what a Vault server grants.
type VaultAuth struct {
	Token string
	Lease time.Duration
	// Renewable, Type (service if empty) and Uses are the token's.
	Renewable bool
	Type      string
	Uses      int
}

// VaultGrant answers a login or a renewal, field by field as Vault does.
func VaultGrant(w http.ResponseWriter, a VaultAuth) {
	if a.Type == "" {
		a.Type = "service"
	}
	w.Header().Set("Cache-Control", "no-store")
	answer(w, http.StatusOK, map[string]any{
		"request_id": "9d8b1f4c-0000-4000-8000-000000000000", "lease_id": "", "renewable": false, "lease_duration": 0,
		"data": nil, "wrap_info": nil, "warnings": nil,
		"auth": map[string]any{
			"client_token": a.Token, "accessor": "an-accessor",
			"policies": []string{"default", "read-things"}, "token_policies": []string{"default", "read-things"},
			"metadata": map[string]string{
				"role": "r", "service_account_name": "my-sa", "service_account_namespace": "my-ns",
				"service_account_secret_name": "", "service_account_uid": "0c6f1d5e-0000-4000-8000-000000000000",
			},
			"lease_duration": int64(a.Lease / time.Second), "renewable": a.Renewable, "entity_id": "e",
			"token_type": a.Type, "orphan": true, "num_uses": a.Uses,
		},
	})
}

// VaultRefuse answers with errors as Vault does.
func VaultRefuse(w http.ResponseWriter, status int, errors ...string) {
	if errors == nil {
		errors = []string{}
	}
	answer(w, status, map[string]any{"errors": errors})
}
