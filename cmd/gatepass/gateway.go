package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatepass/gatepass/cmd/gatepass/internal/client"
	"github.com/gatepass/gatepass/cmd/gatepass/internal/profile"
)

// defaultTimeout bounds one request to the gateway.
const defaultTimeout = 30 * time.Second

// gatewayAt is where the gateway is, how to know that it is it, and what to show it.
type gatewayAt struct {
	url, caFile, serverName  string
	certificateFile, keyFile string
	timeout                  time.Duration
}

// add defines the flags for all but the address, which commands define themselves.
func (g *gatewayAt) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&g.caFile, "ca-file", "", "PEM certificates to verify the gateway with (default the profile's, or the system's)")
	f.StringVar(&g.serverName, "tls-server-name", "", "whom the gateway's certificate must be for, for example through a port-forward (default the profile's, or the address's host)")
	f.StringVar(&g.certificateFile, "client-certificate", "", "PEM certificate for a gateway that asks for one (default the profile's)")
	f.StringVar(&g.keyFile, "client-key", "", "file with the key of --client-certificate")
	f.DurationVar(&g.timeout, "timeout", defaultTimeout, "give up on a request after this time")
	for _, name := range []string{"ca-file", "client-certificate", "client-key"} {
		_ = cmd.MarkFlagFilename(name) // the flags were just defined
	}
}

// complete fills in what flags don't say. What belongs to the profile's server is
// neither expected of another nor shown to it.
func (g *gatewayAt) complete(p *profile.Profile) {
	setDefault(&g.url, p.GatewayURL)
	setDefault(&g.caFile, p.CAFile)
	if place(g.url) != place(p.GatewayURL) {
		return
	}
	setDefault(&g.serverName, p.TLSServerName)
	if g.certificateFile == "" && g.keyFile == "" {
		g.certificateFile, g.keyFile = p.ClientCertificateFile, p.ClientKeyFile
	}
}

// checkPair refuses a certificate without its key, and the other way round.
func (g *gatewayAt) checkPair() error {
	if (g.certificateFile == "") != (g.keyFile == "") {
		return errors.New("--client-certificate and --client-key go together")
	}
	return nil
}

// check reports the mistakes that flags can have.
func (g *gatewayAt) check() (errs []error) {
	if err := g.checkPair(); err != nil {
		errs = append(errs, err)
	}
	if g.timeout <= 0 {
		errs = append(errs, errors.New("--timeout must be more than 0"))
	}
	return errs
}

// checkProxy refuses what is for the gateway where Go would use it for the proxy too.
func (g *gatewayAt) checkProxy() error {
	if g.serverName == "" && g.certificateFile == "" {
		return nil
	}
	u, err := url.Parse(g.url)
	if err != nil {
		return errors.New("the gateway's address is not a URL")
	}
	proxy, err := http.ProxyFromEnvironment(&http.Request{URL: u})
	if err == nil && proxy != nil && proxy.Scheme == "https" {
		return usageError{errors.New("a server's name and a client certificate can't be used through a proxy that is itself reached by https; set NO_PROXY, or HTTPS_PROXY to an http address")}
	}
	return nil
}

// files reads the authorities and the client certificate, nil if there is none.
func (g *gatewayAt) files() (bundle string, own *tls.Certificate, err error) {
	if bundle, err = readCA(g.caFile); err != nil || g.certificateFile == "" {
		return bundle, nil, err
	}
	pair, err := tls.LoadX509KeyPair(g.certificateFile, g.keyFile)
	if err != nil {
		return "", nil, fmt.Errorf("the client certificate: %w", err)
	}
	return bundle, &pair, nil
}

// prepare is files for a connection that can be made.
func (g *gatewayAt) prepare() (bundle string, own *tls.Certificate, err error) {
	if err := g.checkProxy(); err != nil {
		return "", nil, err
	}
	return g.files()
}

// client makes a client for it.
func (g *gatewayAt) client() (*client.Client, error) {
	bundle, own, err := g.prepare()
	if err != nil {
		return nil, err
	}
	return client.New(client.Options{
		URL: g.url, CABundle: bundle, ServerName: g.serverName, Certificate: own, Timeout: g.timeout, UserAgent: userAgent(),
	})
}
