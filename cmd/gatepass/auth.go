package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatepass/gatepass/agent/config"
	"github.com/gatepass/gatepass/agent/identity"
	"github.com/gatepass/gatepass/agent/login"
	"github.com/gatepass/gatepass/agent/session"
	"github.com/gatepass/gatepass/agent/trust"
)

// podIdentityFile is where Kubernetes puts a pod's default token.
const podIdentityFile = "/var/run/secrets/kubernetes.io/serviceaccount/token"

// maxCAFile bounds a CA bundle, in bytes; a whole system's is some 250 KB.
const maxCAFile = 4 << 20

// auth is what the command auth is told.
type auth struct {
	accessID, accessType   string
	gatewayURL             string
	authConfig             string
	identity, identityPath string
	caFile                 string
	timeout                time.Duration
	json                   bool
}

func newAuthCommand() *cobra.Command {
	var a auth
	cmd := &cobra.Command{
		Use:   "auth",
		Short: "Log in to a gateway and print the session token",
		Long: `Log in to a gateway with a Kubernetes service-account token and print the
session token.

Without a token flag, the token is read from ` + config.DefaultIdentityFile + `
or else from ` + podIdentityFile + `.

Exit codes: 0 logged in, 1 not logged in, 2 a mistake on the command line.`,
		Example: `  # in a pod
  gatepass auth --access-id p-abcdefghij12km --access-type k8s \
    --gateway-url https://gatepass-gateway.gatepass-system.svc:8000 --k8s-auth-config-name k8s-conf

  # elsewhere, with a token made for the purpose
  kubectl create token my-sa --audience gatepass | gatepass auth --access-id p-abcdefghij12km \
    --gateway-url https://gateway.example:8000 --ca-file ca.crt --k8s-auth-config-name k8s-conf \
    --k8s-service-account-token-file - --json`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.run(cmd) },
	}
	f := cmd.Flags()
	f.StringVar(&a.accessID, "access-id", "", "access id of the auth method (required)")
	f.StringVar(&a.accessType, "access-type", "k8s", "how to log in: k8s")
	f.StringVar(&a.gatewayURL, "gateway-url", "", "the gateway's address, https (required)")
	f.StringVar(&a.authConfig, "k8s-auth-config-name", "", "name of the gateway's Kubernetes auth config (required)")
	f.StringVar(&a.identity, "k8s-service-account-token", "", "the service-account token; others on this machine can see it, so prefer the file")
	f.StringVar(&a.identityPath, "k8s-service-account-token-file", "", "file with the service-account token, - for standard input")
	f.StringVar(&a.caFile, "ca-file", "", "PEM certificates to verify the gateway with (default the system's)")
	f.DurationVar(&a.timeout, "timeout", 30*time.Second, "give up after this time")
	f.BoolVar(&a.json, "json", false, "print JSON")
	for _, name := range []string{"k8s-service-account-token-file", "ca-file"} {
		_ = cmd.MarkFlagFilename(name) // fails for a flag that does not exist only
	}
	return cmd
}

// check reports every mistake that shows without looking outside.
func (a *auth) check() error {
	var errs []error
	if a.accessType != "k8s" {
		errs = append(errs, fmt.Errorf("--access-type: %q is not supported; use k8s", a.accessType))
	}
	if a.accessID == "" {
		errs = append(errs, errors.New("--access-id must be set, for example p-abcdefghij12km"))
	}
	if a.authConfig == "" {
		errs = append(errs, errors.New("--k8s-auth-config-name must be set to the name of the gateway's Kubernetes auth config"))
	}
	if err := config.CheckURL(a.gatewayURL); err != nil {
		errs = append(errs, fmt.Errorf("--gateway-url: %w", err))
	}
	if a.identity != "" && a.identityPath != "" {
		errs = append(errs, errors.New("--k8s-service-account-token and --k8s-service-account-token-file exclude each other"))
	}
	if a.timeout <= 0 {
		errs = append(errs, errors.New("--timeout must be more than 0"))
	}
	if len(errs) > 0 {
		return usageError{errors.Join(errs...)}
	}
	return nil
}

func (a *auth) run(cmd *cobra.Command) error {
	if err := a.check(); err != nil {
		return err
	}
	token, err := a.readIdentity(cmd.InOrStdin())
	if err != nil {
		return err
	}
	bundle, err := a.readCA()
	if err != nil {
		return err
	}
	client, err := login.New(login.Options{
		Protocol:   config.ProtocolGateway,
		URL:        a.gatewayURL,
		CABundle:   bundle,
		AccessID:   a.accessID,
		AuthConfig: a.authConfig,
		Timeout:    a.timeout,
		UserAgent:  "gatepass/" + buildVersion(),
	})
	if err != nil {
		return err
	}
	defer client.Close()
	s, err := client.Login(cmd.Context(), token)
	if err != nil {
		if cmd.Context().Err() != nil {
			return errors.New("interrupted")
		}
		return fmt.Errorf("authentication failed: %w", err)
	}
	return a.print(cmd.OutOrStdout(), s)
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

func (a *auth) readIdentity(stdin io.Reader) (string, error) {
	switch {
	case a.identity != "":
		token, err := identity.Parse(decoded(a.identity))
		if err != nil {
			return "", usageError{fmt.Errorf("--k8s-service-account-token %w", err)}
		}
		return token, nil
	case a.identityPath == "-":
		data, err := io.ReadAll(io.LimitReader(stdin, identity.MaxSize+1))
		if err != nil {
			return "", fmt.Errorf("reading the service-account token from standard input: %w", err)
		}
		if len(data) > identity.MaxSize {
			return "", usageError{fmt.Errorf("standard input is larger than %d bytes, and no service-account token", identity.MaxSize)}
		}
		token, err := identity.Parse(decoded(string(data)))
		if err != nil {
			return "", fmt.Errorf("standard input %w", err)
		}
		return token, nil
	case a.identityPath != "":
		token, err := identity.Read(a.identityPath)
		return decoded(token), err
	}
	return defaultIdentity(config.DefaultIdentityFile, podIdentityFile)
}

// defaultIdentity reads the first of paths that exists.
func defaultIdentity(paths ...string) (string, error) {
	for _, path := range paths {
		token, err := identity.Read(path)
		if !errors.Is(err, fs.ErrNotExist) {
			return token, err
		}
	}
	return "", fmt.Errorf("no service-account token: neither %s exists; name one with --k8s-service-account-token-file, for example from 'kubectl create token my-sa --audience gatepass'",
		strings.Join(paths, " nor "))
}

// decoded undoes base64, in which other clients of this API take the token; a
// JWT itself has dots, which base64 has not.
func decoded(token string) string {
	token = strings.TrimSpace(token)
	if strings.Contains(token, ".") {
		return token
	}
	if plain, err := base64.StdEncoding.DecodeString(token); err == nil && strings.Count(string(plain), ".") == 2 {
		return string(plain)
	}
	return token
}

func (a *auth) readCA() (string, error) {
	if a.caFile == "" {
		return "", nil
	}
	f, err := os.Open(a.caFile)
	if err != nil {
		return "", fmt.Errorf("--ca-file: %w", err)
	}
	defer func() { _ = f.Close() }() // nothing was written
	data, err := io.ReadAll(io.LimitReader(f, maxCAFile+1))
	if err != nil {
		return "", fmt.Errorf("--ca-file: %w", err)
	}
	if len(data) > maxCAFile {
		return "", fmt.Errorf("--ca-file: %s is larger than %d bytes", a.caFile, maxCAFile)
	}
	if strings.TrimSpace(string(data)) == "" {
		// Without this, an empty file would silently mean the system's roots.
		return "", fmt.Errorf("--ca-file: %s is empty; it must hold PEM certificates", a.caFile)
	}
	if _, err := trust.Roots(string(data)); err != nil {
		return "", fmt.Errorf("--ca-file: %s %w", a.caFile, err)
	}
	return string(data), nil
}
