//go:build e2e

package outage_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/test/bed"
	"github.com/gatepass/gatepass/test/stand"
)

// profile is one of the webhook's configuration that a row adds.
type profile struct {
	// gateway, if set, is where its pods log in.
	gateway *stand.Server
	// apiServer, if set, is whom the real gateway asks about its pods' tokens.
	apiServer *stand.Server
	// accessID and authConfig of the test bed; the tests' if they are empty.
	accessID, authConfig string
	// image, if set, is the agent's.
	image string
}

// install adds profiles to the configurations of both servers, and waits until
// they are in use.
func install(t *testing.T, profiles map[string]profile) {
	t.Helper()
	hook, gateway := &strings.Builder{}, &strings.Builder{}
	before := map[bed.Component]string{bed.Webhook: shared.Configuration(t, bed.Webhook), bed.Gateway: shared.Configuration(t, bed.Gateway)}
	hook.WriteString(before[bed.Webhook])
	gateway.WriteString(before[bed.Gateway])
	for name, p := range profiles {
		accessID, authConfig, agent, at := "p-testtesttest12k1", "tests", "*agent", "*gateway"
		if p.accessID != "" {
			accessID, authConfig = p.accessID, p.authConfig
		}
		if p.image != "" {
			agent = fmt.Sprintf("{image: %q, imagePullPolicy: Never}", p.image)
		}
		if p.gateway != nil {
			at = fmt.Sprintf("{url: %q, caBundle: %s}", p.gateway.URL, quote(t, p.gateway.CA))
		}
		if p.apiServer != nil {
			authConfig = name
			fmt.Fprintf(gateway, "- {name: %s, accessID: %s, host: %q, caBundle: %s, reviewer: {type: self}}\n",
				name, accessID, p.apiServer.URL, quote(t, p.apiServer.CA))
		}
		fmt.Fprintf(hook, "  %s: {gateway: %s, login: {accessID: %s, authConfig: %s}, agent: %s, overrides: *overrides}\n", name, at, accessID, authConfig, agent)
	}
	shared.Reconfigure(t, map[bed.Component]string{bed.Webhook: hook.String(), bed.Gateway: gateway.String()})
	t.Cleanup(func() {
		for component, text := range before {
			shared.Configure(t, component, text)
		}
	})
}

func quote(t *testing.T, text []byte) string {
	t.Helper()
	quoted, err := json.Marshal(string(bytes.TrimSpace(text)))
	if err != nil {
		t.Fatal(err)
	}
	return string(quoted)
}

// passOn hands requests to the real gateway.
func passOn(t *testing.T) http.HandlerFunc {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(shared.ReachGateway(t)))
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	t.Cleanup(transport.CloseIdleConnections)
	return stand.Proxy(t, bed.GatewayURL, transport)
}
