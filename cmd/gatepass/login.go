package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/gatepass/gatepass/agent/config"
	"github.com/gatepass/gatepass/agent/identity"
	"github.com/gatepass/gatepass/agent/login"
	"github.com/gatepass/gatepass/agent/session"
	"github.com/gatepass/gatepass/agent/trust"
	"github.com/gatepass/gatepass/cmd/gatepass/internal/profile"
	v2 "github.com/gatepass/gatepass/gateway/v2"
)

// podIdentityFile is where Kubernetes puts a pod's default token.
const podIdentityFile = "/var/run/secrets/kubernetes.io/serviceaccount/token"

// maxCAFile bounds a CA bundle, in bytes; a whole system's is some 250 KB.
const maxCAFile = 4 << 20

func userAgent() string { return "gatepass/" + buildVersion() }

// who is somebody who can log in.
type who struct {
	accessID, accessType string
	// accessKey goes with profile.AccessTypeKey.
	accessKey string
	// authConfig and identity, a service-account token, go with
	// profile.AccessTypeK8s.
	authConfig, identity string
}

// logIn gets a session. Its errors hold no secret.
func (w *who) logIn(ctx context.Context, at *gatewayAt) (session.Session, error) {
	var s session.Session
	var err error
	if w.accessType == profile.AccessTypeKey {
		s, err = w.logInByKey(ctx, at)
	} else {
		s, err = w.logInByPod(ctx, at)
	}
	if err != nil && ctx.Err() != nil {
		err = errInterrupted
	}
	return s, err
}

func (w *who) logInByPod(ctx context.Context, at *gatewayAt) (session.Session, error) {
	bundle, own, err := at.prepare()
	if err != nil {
		return session.Session{}, err
	}
	c, err := login.New(login.Options{
		Protocol:    config.ProtocolGateway,
		URL:         at.url,
		CABundle:    bundle,
		ServerName:  at.serverName,
		Certificate: own,
		AccessID:    w.accessID,
		AuthConfig:  w.authConfig,
		Timeout:     at.timeout,
		UserAgent:   userAgent(),
	})
	if err != nil {
		return session.Session{}, err
	}
	defer c.Close()
	s, err := c.Login(ctx, w.identity)
	if err != nil {
		return session.Session{}, fmt.Errorf("authentication failed: %w", err)
	}
	return s, nil
}

func (w *who) logInByKey(ctx context.Context, at *gatewayAt) (session.Session, error) {
	c, err := at.client()
	if err != nil {
		return session.Session{}, err
	}
	defer c.Close()
	now := time.Now().UTC().Truncate(time.Second)
	var answer v2.AuthAnswer
	err = c.Call(ctx, "auth", &v2.Auth{AccessID: w.accessID, AccessType: v2.AccessTypeKey, AccessKey: w.accessKey}, &answer, w.accessKey)
	if err != nil {
		return session.Session{}, fmt.Errorf("authentication failed: %w", err)
	}
	if answer.Token == "" {
		return session.Session{}, errors.New("authentication failed: the answer holds no session token; check that the address leads to a gateway")
	}
	s := session.Session{Token: answer.Token, Gateway: at.url, Issued: now}
	if expiry, err := time.Parse(time.RFC3339, answer.Expiration); err == nil {
		s.Expiry = expiry.UTC()
	}
	return s, nil
}

// fromProfile is who logs in by a profile.
func fromProfile(name string, p *profile.Profile) (*who, error) {
	w := &who{accessID: p.AccessID, accessType: p.AccessType, authConfig: p.AuthConfig}
	var err error
	switch {
	case p.AccessID == "":
		return nil, fmt.Errorf("profile %q says where the gateway is, but not how to log in; see gatepass configure --help", name)
	case p.AccessKeyEnv != "":
		if w.accessKey = strings.TrimSpace(os.Getenv(p.AccessKeyEnv)); w.accessKey == "" {
			return nil, fmt.Errorf("profile %q: the environment variable %s, which holds the access key, is not set", name, p.AccessKeyEnv)
		}
	case p.AccessKeyFile != "":
		w.accessKey, err = readAccessKey(&input{}, "accessKeyFile", p.AccessKeyFile)
	case p.ServiceAccountTokenFile != "":
		w.identity, err = identity.Read(p.ServiceAccountTokenFile)
	default:
		w.identity, err = defaultIdentity(config.DefaultIdentityFile, podIdentityFile)
	}
	if err != nil {
		return nil, fmt.Errorf("profile %q: %w", name, err)
	}
	return w, nil
}

func readAccessKey(in *input, flag, path string) (string, error) {
	t := text{name: flag, nameOfFile: flag, file: path}
	key, err := t.read(in)
	if err == nil && strings.ContainsAny(key, " \t\r\n") {
		return "", fmt.Errorf("--%s: it must hold one access key and nothing else", flag)
	}
	return key, err
}

// readIdentity reads a service-account token that was given as it is or in a
// file, or the pod's own.
func readIdentity(stdin io.Reader, given, path string) (string, error) {
	switch {
	case given != "":
		token, err := identity.Parse(decoded(given))
		if err != nil {
			return "", usageError{fmt.Errorf("--k8s-service-account-token %w", err)}
		}
		return token, nil
	case path == standardInput:
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
	case path != "":
		token, err := identity.Read(path)
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

func readCA(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	f, err := os.Open(path) //nolint:gosec // the user names the file
	if err != nil {
		return "", fmt.Errorf("--ca-file: %w", err)
	}
	defer func() { _ = f.Close() }() // nothing was written
	data, err := io.ReadAll(io.LimitReader(f, maxCAFile+1))
	if err != nil {
		return "", fmt.Errorf("--ca-file: %w", err)
	}
	if len(data) > maxCAFile {
		return "", fmt.Errorf("--ca-file: %s is larger than %d bytes", path, maxCAFile)
	}
	if strings.TrimSpace(string(data)) == "" {
		// Without this, an empty file would silently mean the system's roots.
		return "", fmt.Errorf("--ca-file: %s is empty; it must hold PEM certificates", path)
	}
	if _, err := trust.Roots(string(data)); err != nil {
		return "", fmt.Errorf("--ca-file: %s %w", path, err)
	}
	return string(data), nil
}
