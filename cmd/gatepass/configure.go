package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/gatepass/gatepass/cmd/gatepass/internal/profile"
)

// configure is what the command configure is told.
type configure struct {
	name    string
	profile profile.Profile
	// prompt is where a person is asked for the access key.
	prompt io.Writer
}

func newConfigureCommand() *cobra.Command {
	var c configure
	cmd := &cobra.Command{
		Use:   "configure",
		Short: "Keep a gateway's address, and how to log in to it, as a profile",
		Long: `Write a profile into the configuration file, gatepass/config.yaml in
$XDG_CONFIG_HOME or else in ~/.config. Other commands use the profile "default", or
the one that --profile names.

Without an access id, the profile says only where the gateway is. With one, give
--access-key-file or --access-key-env for access type access_key, or
--k8s-auth-config-name for k8s. The file never holds an access key, only where it
is; a key from standard input is kept beside it, in a file of its own.

A profile of the same name is replaced as a whole.`,
		Example: `  # the administrator; - asks for the access key, or reads it from a pipe
  gatepass configure --gateway-url https://gateway.example:8000 --ca-file ca.crt \
    --access-id p-abcdefghij12am --access-type access_key --access-key-file -

  # in a pipeline, where the key is in the environment
  gatepass configure --profile ci --gateway-url https://gateway.example:8000 \
    --access-id p-abcdefghij12am --access-type access_key --access-key-env GATEPASS_ACCESS_KEY

  # in a pod
  gatepass configure --gateway-url https://gatepass-gateway.gatepass-system.svc:8000 \
    --access-id p-abcdefghij12km --access-type k8s --k8s-auth-config-name k8s-conf`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.run(cmd) },
	}
	f := cmd.Flags()
	addProfileFlag(cmd, &c.name)
	f.StringVar(&c.profile.GatewayURL, "gateway-url", "", "the gateway's address, https (required)")
	f.StringVar(&c.profile.CAFile, "ca-file", "", "PEM certificates to verify the gateway with (default the system's)")
	f.StringVar(&c.profile.TLSServerName, "tls-server-name", "", "whom the gateway's certificate must be for, for example through a port-forward (default the address's host)")
	f.StringVar(&c.profile.ClientCertificateFile, "client-certificate", "", "PEM certificate for a gateway that asks for one")
	f.StringVar(&c.profile.ClientKeyFile, "client-key", "", "file with the key of --client-certificate")
	f.StringVar(&c.profile.AccessID, "access-id", "", "access id of the auth method to log in by")
	f.StringVar(&c.profile.AccessType, "access-type", "", "how to log in: k8s or access_key")
	f.StringVar(&c.profile.AccessKeyFile, "access-key-file", "", "file with the access key, - for standard input")
	f.StringVar(&c.profile.AccessKeyEnv, "access-key-env", "", "environment variable with the access key")
	f.StringVar(&c.profile.AuthConfig, "k8s-auth-config-name", "", "name of the gateway's Kubernetes auth config")
	f.StringVar(&c.profile.ServiceAccountTokenFile, "k8s-service-account-token-file", "", "file with the service-account token (default the pod's)")
	completeWith(cmd, "access-type", profile.AccessTypeK8s, profile.AccessTypeKey)
	for _, name := range []string{"ca-file", "client-certificate", "client-key", "access-key-file", "k8s-service-account-token-file"} {
		_ = cmd.MarkFlagFilename(name) // the flags were just defined
	}
	return cmd
}

func (c *configure) run(cmd *cobra.Command) error {
	c.prompt = cmd.ErrOrStderr()
	path, err := profile.Path()
	if err != nil {
		return err
	}
	kept, err := profile.Load(path)
	if err != nil {
		return err
	}
	name := nameOfProfile(c.name)
	key, err := c.files(&input{stdin: cmd.InOrStdin()}, path, name)
	if err != nil {
		return err
	}
	kept.Profiles[name] = c.profile
	// Checked before the key is written, and written after it: a profile never
	// names a key that is not there.
	if err := kept.Check(); err != nil {
		return usageError{err}
	}
	if key != "" {
		if err := profile.WriteFile(c.profile.AccessKeyFile, []byte(key+"\n")); err != nil {
			return err
		}
	}
	if err := kept.Save(path); err != nil {
		return err
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "Profile %s was written to %s.\n", name, path)
	return err
}

// askAccessKey reads the access key from standard input: of a person without showing
// it, of a pipe as it is.
func askAccessKey(in *input, prompt io.Writer) (string, error) {
	terminal, ok := in.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(terminal.Fd())) {
		return readAccessKey(in, "access-key-file", standardInput)
	}
	if _, err := fmt.Fprint(prompt, "Access key: "); err != nil {
		return "", fmt.Errorf("ask for the access key: %w", err)
	}
	typed, err := term.ReadPassword(int(terminal.Fd()))
	_, _ = fmt.Fprintln(prompt) // the line that was not shown ends
	if err != nil {
		return "", fmt.Errorf("read the access key: %w", err)
	}
	return readAccessKey(&input{stdin: bytes.NewReader(typed)}, "access-key-file", standardInput)
}

// files makes paths absolute, because commands run in other folders, and reads
// what would otherwise fail only later. It returns the access key that is to be
// kept.
func (c *configure) files(in *input, path, name string) (key string, err error) {
	p := &c.profile
	if p.AccessKeyFile == standardInput {
		if key, err = askAccessKey(in, c.prompt); err != nil {
			return "", err
		}
		p.AccessKeyFile = filepath.Join(filepath.Dir(path), name+".key")
	}
	for _, file := range []*string{&p.CAFile, &p.ClientCertificateFile, &p.ClientKeyFile, &p.AccessKeyFile, &p.ServiceAccountTokenFile} {
		if *file == "" {
			continue
		}
		if *file, err = filepath.Abs(*file); err != nil {
			return "", fmt.Errorf("the path of %s: %w", *file, err)
		}
	}
	if key == "" && p.AccessKeyFile != "" {
		if _, err := readAccessKey(in, "access-key-file", p.AccessKeyFile); err != nil {
			return "", err
		}
	}
	at := gatewayAt{caFile: p.CAFile, certificateFile: p.ClientCertificateFile, keyFile: p.ClientKeyFile}
	if err := at.checkPair(); err != nil {
		return "", usageError{err}
	}
	_, _, err = at.files()
	return key, err
}

func newProfileGroup() *cobra.Command {
	group := newGroup("profile", "List and delete profiles", `  gatepass profile list
  gatepass profile delete --profile staging`)
	group.AddCommand(newListProfiles(), newDeleteProfile())
	return group
}

func newListProfiles() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List profiles",
		Example: "  gatepass profile list --json",
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			path, err := profile.Path()
			if err != nil {
				return err
			}
			c, err := profile.Load(path)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSONValue(cmd.OutOrStdout(), c.Profiles)
			}
			rows := make([][]string, 0, len(c.Profiles))
			for _, name := range c.Names() {
				p := c.Profiles[name]
				rows = append(rows, []string{name, p.GatewayURL, p.AccessID, p.AccessType})
			}
			return table(cmd.OutOrStdout(), []string{"NAME", "GATEWAY", "ACCESS ID", "ACCESS TYPE"}, rows)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func newDeleteProfile() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:     "delete",
		Short:   "Delete a profile, and the access key that configure kept for it",
		Example: "  gatepass profile delete --profile staging",
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if name == "" {
				return usageError{errors.New("--profile must be set")}
			}
			path, err := profile.Path()
			if err != nil {
				return err
			}
			c, err := profile.Load(path)
			if err != nil {
				return err
			}
			p, ok := c.Profiles[name]
			if !ok {
				return usageError{fmt.Errorf("there is no profile %q in %s", name, path)}
			}
			delete(c.Profiles, name)
			if err := c.Save(path); err != nil {
				return err
			}
			if own := filepath.Join(filepath.Dir(path), name+".key"); p.AccessKeyFile == own {
				if err := os.Remove(own); err != nil {
					return fmt.Errorf("the profile is deleted, but not its key: %w", err)
				}
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "Profile %s was deleted.\n", name)
			return err
		},
	}
	addProfileFlag(cmd, &name)
	return cmd
}
