package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	v2 "github.com/gatepass/gatepass/gateway/v2"
)

// newSessionCommands are the commands about sessions.
func newSessionCommands() []*cobra.Command {
	return []*cobra.Command{
		newValidateToken(), newDescribeSubClaims(), newRevokeCreds(), newRevokeIdentity(), newRevokeMethod(),
		newGetSettings(), newUpdateSettings(),
	}
}

const givenSession = "The session is the one of --token-file, --token or " + tokenFileVariable + "."

func newValidateToken() *cobra.Command {
	var q v2.ValidateToken
	c := newCall("validate-token", "Say whether a session is valid", `  gatepass validate-token --token-file /var/run/gatepass/token
  gatepass validate-token --token "$TOKEN" --json`)
	c.Long = givenSession + "\n\nExit codes: 0 it is valid, 1 it is not, or nobody knows, 2 a mistake on the command line."
	c.givenOnly = true
	var answer v2.Validation
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := c.ask(cmd.Context(), cmd.InOrStdin(), "validate-token", &q, &q.Credentials, &answer); err != nil {
			return err
		}
		if c.json {
			if err := printJSONValue(cmd.OutOrStdout(), answer); err != nil {
				return err
			}
		}
		if !answer.IsValid {
			return fmt.Errorf("the session is not valid: %s", cell(answer.Reason))
		}
		if c.json {
			return nil
		}
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "The session is valid until %s (%d s).\n", cell(answer.Expiration), answer.TTL)
		return err
	}
	return c.Command
}

func newDescribeSubClaims() *cobra.Command {
	var q v2.DescribeSubClaims
	c := newCall("describe-sub-claims", "Show the claims of a session that rules look at", "  gatepass describe-sub-claims --json")
	handle(c, "describe-sub-claims", &q, &q.Credentials, func(w io.Writer, a *v2.SubClaims) error {
		properties := make([]property, 0, len(a.SubClaims))
		for name, values := range a.SubClaims {
			properties = append(properties, property{cell(name), list(values)})
		}
		slices.SortFunc(properties, func(a, b property) int { return strings.Compare(a.name, b.name) })
		return describe(w, properties...)
	})
	return c.Command
}

func newRevokeCreds() *cobra.Command {
	var q v2.RevokeCreds
	c := newCall("revoke-creds", "End a session before its time", "  gatepass revoke-creds --token-file /var/run/gatepass/token")
	c.Long = givenSession
	c.givenOnly = true
	handle(c, "revoke-creds", &q, &q.Credentials, func(w io.Writer, _ *v2.Nothing) error {
		_, err := fmt.Fprintln(w, "The session was revoked.")
		return err
	})
	return c.Command
}

func newRevokeIdentity() *cobra.Command {
	var q v2.RevokeIdentitySessions
	c := newCall("revoke-identity-sessions", "End all sessions of somebody", `  gatepass revoke-identity-sessions -n my-k8s-auth-method \
    --subject system:serviceaccount:my-namespace-a:web`)
	c.Flags().StringVarP(&q.Name, "name", "n", "", "name of the auth method")
	c.Flags().StringVar(&q.Subject, "subject", "", "whose sessions: system:serviceaccount:NAMESPACE:NAME or access-key:ACCESS-ID")
	c.need("name", "subject")
	handle(c, "revoke-identity-sessions", &q, &q.Credentials, sentence[v2.Nothing]("No session that %s has by %s up to now is accepted any more.", &q.Subject, &q.Name))
	return c.Command
}

func newRevokeMethod() *cobra.Command {
	var q v2.RevokeAuthMethodSessions
	c := newCall("revoke-auth-method-sessions", "End all sessions of an auth method", "  gatepass revoke-auth-method-sessions -n my-k8s-auth-method")
	c.Flags().StringVarP(&q.Name, "name", "n", "", "name of the auth method")
	c.need("name")
	handle(c, "revoke-auth-method-sessions", &q, &q.Credentials, sentence[v2.Nothing]("All sessions by %s were revoked.", &q.Name))
	return c.Command
}

func newGetSettings() *cobra.Command {
	var q v2.GetAccountSettings
	c := newCall("get-account-settings", "Show the account's settings", "  gatepass get-account-settings --json")
	handle(c, "get-account-settings", &q, &q.Credentials, func(w io.Writer, a *v2.AccountSettings) error {
		s := &a.SystemAccessCreds
		return describe(w,
			property{"Life of sessions", minutes(s.JWTTTLDefault)},
			property{"At least", minutes(s.JWTTTLMinimum)},
			property{"At most", minutes(s.JWTTTLMaximum)},
		)
	})
	return c.Command
}

func newUpdateSettings() *cobra.Command {
	var q v2.UpdateAccountSettings
	c := newCall("update-account-settings", "Change the account's settings", "  gatepass update-account-settings --jwt-ttl-default 30")
	c.Flags().Var(intFlag{&q.JWTTTLDefault}, "jwt-ttl-default", "life of sessions in minutes, where the auth method says nothing")
	c.need("jwt-ttl-default")
	handle(c, "update-account-settings", &q, &q.Credentials, func(w io.Writer, _ *v2.Updated) error {
		_, err := fmt.Fprintln(w, "The settings were changed.")
		return err
	})
	return c.Command
}
