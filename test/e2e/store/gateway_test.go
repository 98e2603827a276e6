//go:build e2e

package store_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gatepass/gatepass/test/bed"
)

// replica is one gateway, asked without the Service.
type replica struct {
	name   string
	client *http.Client
}

// replicas are the gateways that are ready and not about to go, one at least.
func replicas(t *testing.T) []replica {
	t.Helper()
	all := ready(t.Context(), t)
	if len(all) == 0 {
		t.Fatal("no gateway is ready")
	}
	return all
}

// ready is replicas, of which there may be none.
func ready(ctx context.Context, t *testing.T) []replica {
	t.Helper()
	pods, err := shared.Replicas(ctx, bed.Gateway)
	if err != nil {
		t.Fatal(err)
	}
	pods = slices.DeleteFunc(pods, func(pod corev1.Pod) bool {
		return !slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
			return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
		})
	})
	ca, err := shared.Client.CoreV1().ConfigMaps(bed.System).Get(ctx, "gatepass-gateway-ca", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(ca.Data["ca.crt"]))
	all := make([]replica, len(pods))
	for i := range pods {
		address := net.JoinHostPort(pods[i].Status.PodIP, "8000")
		transport := &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, network, address)
			},
		}
		t.Cleanup(transport.CloseIdleConnections)
		all[i] = replica{pods[i].Name, &http.Client{Transport: transport, Timeout: 10 * time.Second}}
	}
	return all
}

// post sends a command with fields as name and value in turn.
func (r replica) post(ctx context.Context, command string, fields ...string) (status int, valid bool, err error) {
	request := map[string]string{}
	for pair := range slices.Chunk(fields, 2) {
		request[pair[0]] = pair[1]
	}
	body, err := json.Marshal(request)
	if err != nil {
		return 0, false, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, bed.GatewayURL+command, bytes.NewReader(body))
	if err != nil {
		return 0, false, err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := r.client.Do(req)
	if err != nil {
		return 0, false, fmt.Errorf("%s: %w", r.name, err)
	}
	defer func() { _ = res.Body.Close() }()
	var answer struct {
		Valid bool `json:"is_valid"`
	}
	err = json.NewDecoder(res.Body).Decode(&answer)
	return res.StatusCode, answer.Valid, err
}

func (r replica) revoke(t *testing.T, session string) {
	t.Helper()
	if status, _, err := r.post(t.Context(), "/revoke-creds", "token", session); err != nil || status != http.StatusOK {
		t.Fatalf("revoke: %d, %v", status, err)
	}
}

// validate returns an error unless a replica says what is wanted of a session.
func (r replica) validate(ctx context.Context, session string, want bool) error {
	if _, valid, err := r.post(ctx, "/validate-token", "token", session); err != nil {
		return err
	} else if valid != want {
		return fmt.Errorf("%s says that it is valid: %t", r.name, valid)
	}
	return nil
}

// checkKept fails the test unless every gateway knows what was before.
func checkKept(t *testing.T, good, revoked string) {
	t.Helper()
	for _, r := range replicas(t) {
		if err := r.validate(t.Context(), good, true); err != nil {
			t.Errorf("a good session: %v", err)
		}
		if err := r.validate(t.Context(), revoked, false); err != nil {
			t.Errorf("a revoked session: %v", err)
		}
	}
}

// restart replaces the gateway's pods as an upgrade does.
func restart(t *testing.T) {
	t.Helper()
	if _, _, err := shared.Kubectl(t.Context(), "rollout", "restart", "-n", bed.System, "deployment/"+bed.Gateway.Deployment()); err != nil {
		t.Fatal(err)
	}
	if err := shared.RolledOut(t.Context(), bed.System, bed.Gateway.Deployment()); err != nil {
		t.Fatal(err)
	}
}

// kubectl runs with an input and fails the test if kubectl does.
func kubectl(t *testing.T, input string, args ...string) string {
	t.Helper()
	out, _, err := shared.KubectlInput(t.Context(), input, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
