package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gatepass/gatepass/agent/config"
	"github.com/gatepass/gatepass/cmd/gatepass/internal/client"
	"github.com/gatepass/gatepass/cmd/gatepass/internal/profile"
)

// tokenFileVariable names the file with the session token in an injected pod.
const tokenFileVariable = "GATEPASS_TOKEN_FILE"

// connection are the flags that say which gateway a command is for, and by which
// session.
type connection struct {
	profile string
	at      gatewayAt
	token   text
}

func (c *connection) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVarP(&c.at.url, "gateway-url", "u", "", "the gateway's address, https (default the profile's)")
	c.at.add(cmd)
	c.token.add(f, "token", "session token; others on this machine can see it, so prefer the file (default the file that "+tokenFileVariable+" names, or a login by the profile)")
	addProfileFlag(cmd, &c.profile)
}

// opened is a connection that is ready for a command.
type opened struct {
	*client.Client
	token string
}

// open finds the gateway and the session. A session that was given is used as
// it is; otherwise the profile logs in, unless that is not wanted.
func (c *connection) open(ctx context.Context, in *input, mayLogIn bool) (*opened, error) {
	if err := errors.Join(c.at.check()...); err != nil {
		return nil, usageError{err}
	}
	p, err := findProfile(c.profile)
	if err != nil {
		return nil, err
	}
	token, injected, err := c.given(in)
	if err != nil {
		return nil, err
	}
	at := c.where(p, injected)
	if at.url == "" {
		return nil, usageError{errors.New("no gateway is named: use --gateway-url, or make a profile with gatepass configure")}
	}
	if err := config.CheckURL(at.url); err != nil {
		return nil, usageError{fmt.Errorf("--gateway-url: %w", err)}
	}
	if token == "" {
		if token, err = c.logIn(ctx, at, p, mayLogIn); err != nil {
			return nil, err
		}
	}
	opened := &opened{token: token}
	opened.Client, err = at.client()
	return opened, err
}

func (c *connection) logIn(ctx context.Context, at *gatewayAt, p *profile.Profile, may bool) (string, error) {
	if !may {
		return "", usageError{errors.New("which session? Use --token-file, --token or " + tokenFileVariable)}
	}
	if p == nil {
		return "", usageError{errors.New("there is no session: use --token-file, --token or " + tokenFileVariable + ", or make a profile that logs in with gatepass configure")}
	}
	person, err := fromProfile(nameOfProfile(c.profile), p)
	if err == nil {
		err = checkPlace(nameOfProfile(c.profile), p, at.url)
	}
	if err != nil {
		return "", err
	}
	s, err := person.logIn(ctx, at)
	return s.Token, err
}

// checkPlace refuses to log in by a profile anywhere but at its gateway: whoever gets
// somebody to call another address would get an access key, or a pod's token.
func checkPlace(name string, p *profile.Profile, at string) error {
	if place(at) == place(p.GatewayURL) {
		return nil
	}
	return usageError{fmt.Errorf("profile %q logs in at %s only, and --gateway-url is another server; name one of that server by --profile, or give a session by --token-file", name, p.GatewayURL)}
}

// place is the host and port of an address that CheckURL takes.
func place(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return address
	}
	return net.JoinHostPort(strings.ToLower(u.Hostname()), cmp.Or(u.Port(), "443"))
}

// given is the session that was given, and the folder it lies in if an agent put
// it there. A profile that was asked for goes before the environment.
func (c *connection) given(in *input) (token, injected string, err error) {
	path := os.Getenv(tokenFileVariable)
	switch {
	case c.token.given():
		token, err = c.token.read(in)
	case c.profile == "" && path != "":
		from := text{name: "token", nameOfFile: "token-file", file: path}
		if token, err = from.read(in); err != nil {
			return "", "", fmt.Errorf("the session of %s: %w", tokenFileVariable, err)
		}
		injected = filepath.Dir(path)
	}
	if strings.ContainsAny(token, " \t\r\n") {
		return "", "", errors.New("the session token holds white space; give one token and nothing else")
	}
	return token, injected, err
}

// where prefers what flags say, then the profile that was asked for, then the
// gateway that the injected session came from, then the default profile.
func (c *connection) where(p *profile.Profile, injected string) *gatewayAt {
	at := c.at
	if injected != "" {
		its := gatewayOf(filepath.Join(injected, config.SessionFile))
		setDefault(&at.url, its)
		ca := filepath.Join(injected, config.CAFile)
		if _, err := os.Stat(ca); err == nil && at.url == its {
			setDefault(&at.caFile, ca)
		}
	}
	if p != nil {
		at.complete(p)
	}
	return &at
}

// gatewayOf is the gateway that a session.json names, "" if there is none.
func gatewayOf(path string) string {
	data, err := (&input{}).read("token-file", path)
	if err != nil {
		return ""
	}
	var described struct {
		Gateway string `json:"gateway"`
	}
	if json.Unmarshal(data, &described) != nil {
		return ""
	}
	return described.Gateway
}

// findProfile returns a profile by name. Without a name it is the default one, or
// nil if there is none.
func findProfile(name string) (*profile.Profile, error) {
	path, err := profile.Path()
	if err != nil && name == "" {
		return nil, nil // a container without a home has no profiles
	}
	if err != nil {
		return nil, err
	}
	c, err := profile.Load(path)
	if errors.Is(err, fs.ErrPermission) && name == "" {
		return nil, nil // somebody else's home: nothing was asked of it
	}
	if err != nil {
		return nil, err
	}
	p, ok := c.Profiles[nameOfProfile(name)]
	switch {
	case ok:
		return &p, nil
	case name == "":
		return nil, nil
	}
	return nil, usageError{fmt.Errorf("there is no profile %q in %s; there are: %s", name, path, strings.Join(c.Names(), ", "))}
}

func nameOfProfile(name string) string {
	if name == "" {
		return profile.Default
	}
	return name
}

// addProfileFlag defines --profile, which a shell completes with the names that
// there are.
func addProfileFlag(cmd *cobra.Command, to *string) {
	cmd.Flags().StringVar(to, "profile", "", "profile to use; see gatepass configure (default \"default\", if there is one)")
	// The flag was just defined, so this can't fail.
	_ = cmd.RegisterFlagCompletionFunc("profile", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return profileNames(), cobra.ShellCompDirectiveNoFileComp
	})
}

func profileNames() []string {
	path, err := profile.Path()
	if err != nil {
		return nil
	}
	c, err := profile.Load(path)
	if err != nil {
		return nil
	}
	return c.Names()
}

// completeWith completes a flag's value with fixed words.
func completeWith(cmd *cobra.Command, flag string, words ...string) {
	// Fails for a flag that is not defined only, and a test looks at all commands.
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
}
