package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/gatepass/gatepass/agent/config"
	"github.com/gatepass/gatepass/agent/session"
	"github.com/gatepass/gatepass/cmd/gatepass/internal/profile"
)

// auth is what the command auth is told.
type auth struct {
	profile                string
	accessID, accessType   string
	accessKey              text
	at                     gatewayAt
	authConfig             string
	identity, identityPath string
	json                   bool
}

func newAuthCommand() *cobra.Command {
	var a auth
	cmd := &cobra.Command{
		Use:   "auth",
		Short: "Log in to a gateway and print the session token",
		Long: `Log in to a gateway and print the session token: with a Kubernetes
service-account token (access type k8s), or with an access key (access_key).

Without a token flag, the service-account token is read from
` + config.DefaultIdentityFile + `
or else from ` + podIdentityFile + `.

What no flag says is taken from the profile (see gatepass configure). With
--access-id, only where the gateway is and how to verify it are.

Exit codes: 0 logged in, 1 not logged in, 2 a mistake on the command line.`,
		Example: `  # in a pod
  gatepass auth --access-id p-abcdefghij12km --access-type k8s \
    --gateway-url https://gatepass-gateway.gatepass-system.svc:8000 --k8s-auth-config-name k8s-conf

  # elsewhere, with a token made for the purpose
  kubectl create token my-sa --audience gatepass | gatepass auth --access-id p-abcdefghij12km \
    --gateway-url https://gateway.example:8000 --ca-file ca.crt --k8s-auth-config-name k8s-conf \
    --k8s-service-account-token-file - --json

  # with an access key
  gatepass auth --access-id p-abcdefghij12am --access-type access_key --access-key-file admin.key \
    --gateway-url https://gateway.example:8000 --ca-file ca.crt

  # by a profile
  gatepass auth --profile staging`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.run(cmd) },
	}
	f := cmd.Flags()
	f.StringVar(&a.accessID, "access-id", "", "access id of the auth method (required without a profile)")
	f.StringVar(&a.accessType, "access-type", "", "how to log in: k8s or access_key (default k8s; access_key when an access key is given)")
	f.StringVar(&a.at.url, "gateway-url", "", "the gateway's address, https (required without a profile)")
	f.StringVar(&a.authConfig, "k8s-auth-config-name", "", "name of the gateway's Kubernetes auth config (required for k8s)")
	f.StringVar(&a.identity, "k8s-service-account-token", "", "the service-account token; others on this machine can see it, so prefer the file")
	f.StringVar(&a.identityPath, "k8s-service-account-token-file", "", "file with the service-account token, - for standard input")
	a.accessKey.add(f, "access-key", "the access key; others on this machine can see it, so prefer the file")
	a.at.add(cmd)
	f.BoolVar(&a.json, "json", false, "print JSON")
	addProfileFlag(cmd, &a.profile)
	_ = cmd.MarkFlagFilename("k8s-service-account-token-file") // the flag was just defined
	completeWith(cmd, "access-type", profile.AccessTypeK8s, profile.AccessTypeKey)
	return cmd
}

// resolve fills what no flag says: from the profile, and by default. The profile
// that logs in, if it is one, is returned.
func (a *auth) resolve() (*profile.Profile, error) {
	p, err := findProfile(a.profile)
	if err != nil {
		return nil, err
	}
	byProfile := false
	if p != nil {
		a.at.complete(p)
		byProfile = a.accessID == "" && p.AccessID != ""
	}
	if byProfile {
		for _, f := range []struct {
			name  string
			given bool
		}{
			{"access-type", a.accessType != ""}, {"access-key", a.accessKey.given()}, {"k8s-auth-config-name", a.authConfig != ""},
		} {
			if f.given {
				return nil, usageError{fmt.Errorf("--%s goes with --access-id; without it, the profile says how to log in", f.name)}
			}
		}
		if err := config.CheckURL(a.at.url); err == nil { // check tells of it otherwise
			if err := checkPlace(nameOfProfile(a.profile), p, a.at.url); err != nil {
				return nil, err
			}
		}
		a.accessID, a.accessType, a.authConfig = p.AccessID, p.AccessType, p.AuthConfig
		return p, nil
	}
	if a.accessType == "" && a.accessKey.given() {
		a.accessType = profile.AccessTypeKey
	}
	setDefault(&a.accessType, profile.AccessTypeK8s)
	return nil, nil
}

// check reports every mistake that shows without looking outside.
func (a *auth) check(p *profile.Profile) error {
	var errs []error
	if a.accessID == "" {
		errs = append(errs, errors.New("--access-id must be set, for example p-abcdefghij12km"))
	}
	if a.accessType == profile.AccessTypeKey {
		errs = append(errs, a.checkKey(p)...)
	} else {
		errs = append(errs, a.checkK8s()...)
	}
	if err := config.CheckURL(a.at.url); err != nil {
		errs = append(errs, fmt.Errorf("--gateway-url: %w", err))
	}
	if a.identity != "" && a.identityPath != "" {
		errs = append(errs, errors.New("--k8s-service-account-token and --k8s-service-account-token-file exclude each other"))
	}
	errs = append(errs, a.at.check()...)
	if len(errs) > 0 {
		return usageError{errors.Join(errs...)}
	}
	return nil
}

func (a *auth) checkKey(p *profile.Profile) (errs []error) {
	if p == nil && !a.accessKey.given() {
		errs = append(errs, errors.New("--access-key-file must be set, or --access-key"))
	}
	if a.identity != "" || a.identityPath != "" || p == nil && a.authConfig != "" {
		errs = append(errs, errors.New("--k8s-auth-config-name and --k8s-service-account-token are for --access-type k8s"))
	}
	return errs
}

func (a *auth) checkK8s() (errs []error) {
	if a.accessType != profile.AccessTypeK8s {
		errs = append(errs, fmt.Errorf("--access-type: %q is not supported; use k8s or access_key", a.accessType))
	}
	if a.authConfig == "" {
		errs = append(errs, errors.New("--k8s-auth-config-name must be set to the name of the gateway's Kubernetes auth config"))
	}
	if a.accessKey.given() {
		errs = append(errs, errors.New("--access-key and --access-key-file are for --access-type access_key"))
	}
	return errs
}

func (a *auth) run(cmd *cobra.Command) error {
	p, err := a.resolve()
	if err != nil {
		return err
	}
	if err := a.check(p); err != nil {
		return err
	}
	person, err := a.who(cmd.InOrStdin(), p)
	if err != nil {
		return err
	}
	s, err := person.logIn(cmd.Context(), &a.at)
	if err != nil {
		return err
	}
	return a.print(cmd.OutOrStdout(), s)
}

// who reads the access key or service-account token.
func (a *auth) who(stdin io.Reader, p *profile.Profile) (*who, error) {
	if p != nil && a.identity == "" && a.identityPath == "" {
		return fromProfile(nameOfProfile(a.profile), p)
	}
	w := &who{accessID: a.accessID, accessType: a.accessType, authConfig: a.authConfig}
	var err error
	if a.accessType == profile.AccessTypeKey {
		w.accessKey, err = a.accessKey.read(&input{stdin: stdin})
	} else {
		w.identity, err = readIdentity(stdin, a.identity, a.identityPath)
	}
	return w, err
}

// print writes the session. The two lines of text are what scripts expect.
func (a *auth) print(w io.Writer, s session.Session) error {
	if !a.json {
		_, err := fmt.Fprintf(w, "Authentication succeeded.\nToken: %s\n", s.Token)
		return err
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(struct {
		Token string `json:"token"`
		session.Session
	}{s.Token, s})
}

func setDefault(to *string, value string) {
	if *to == "" {
		*to = value
	}
}
