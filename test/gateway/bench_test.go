package gateway_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gatepass/gatepass/test/cluster"
	"github.com/gatepass/gatepass/test/product"
)

// What the benchmark does. Each token is used once: the API server keeps its
// verdict on a token for ten seconds, and would not judge it a second time.
const (
	connections    = 32
	loginsPerRound = 150
	rounds         = 60
	warmUp         = 300
)

// asDeployed is a gateway's environment in the manifests.
func asDeployed() []string { return []string{"GOMEMLIMIT=195MiB"} }

// BenchmarkLogins compares logins through the gateway with TokenReviews sent
// straight to the API server, in many short turns, so that a change in the machine's
// speed meets all alike, and takes sums. Run it with
//
//	go test ./gateway -run '^$' -bench Logins -benchtime 1x
func BenchmarkLogins(b *testing.B) {
	ns := namespace(b)
	pod(b, ns, "mypod1", "web")
	reviewer := delegator(b, ns, "gateway")
	var c configFile
	id, config := c.add(kubernetes("boundNamespaces: ["+ns+"], boundPodNames: [\"mypod?\"]"), gatewayReviewer)
	g := startGateway(b, c.String(), product.GatewayOptions{Kubeconfig: kubeconfig(b, reviewer), Env: asDeployed()})
	gatewayPID, serverPID := g.PID(), shared.PIDs()["kube-apiserver"]

	raw := map[string]*http.Client{"raw/h1": rawClient(b, false), "raw/h2": rawClient(b, true)}
	credential := string(readFile(b, reviewer))
	kinds := []string{"raw/h1", "raw/h2", "gateway"}
	send := func(kind string) func(string) error {
		if !strings.HasPrefix(kind, "raw/") {
			return func(token string) error {
				_, err := sendLogin(g, id, config, token)
				return err
			}
		}
		return func(token string) error { return sendReview(raw[kind], credential, token) }
	}
	began := time.Now()
	tokens := mint(b, ns, len(kinds)*(rounds*loginsPerRound+warmUp))
	b.Logf("%d tokens minted in %s", len(tokens), time.Since(began).Round(time.Millisecond))
	take := func(n int) []string {
		some := tokens[:n]
		tokens = tokens[n:]
		return some
	}
	for _, kind := range kinds {
		spread(b, take(warmUp), send(kind))
	}
	again := slices.Repeat(tokens[:connections], loginsPerRound/connections+1)[:loginsPerRound]
	took, gatewayCPU, serverCPU := map[string]time.Duration{}, map[string]time.Duration{}, map[string]time.Duration{}
	kinds = append(kinds, "again")
	for round := range rounds {
		for i := range kinds {
			kind := kinds[(i+round)%len(kinds)]
			some := again
			if kind != "again" {
				some = take(loginsPerRound)
			}
			gatewayBefore, serverBefore := cpu(b, gatewayPID), cpu(b, serverPID)
			took[kind] += spread(b, some, send(kind))
			gatewayCPU[kind] += cpu(b, gatewayPID) - gatewayBefore
			serverCPU[kind] += cpu(b, serverPID) - serverBefore
		}
	}
	rate := func(kind string) float64 { return rounds * loginsPerRound / took[kind].Seconds() }
	b.ReportMetric(0, "ns/op")
	measured.add(b, "h1-reviews/s", "TokenReviews at the API server itself, 32 connections, a second", "", rate("raw/h1"), 0)
	measured.add(b, "h2-reviews/s", "TokenReviews at the API server itself, one connection of HTTP/2, a second", "", rate("raw/h2"), 0)
	measured.add(b, "logins/s", "Logins, each with a token of its own, 32 connections, a second", "", rate("gateway"), 0)
	measured.add(b, "of-h1-reviews", "  share of the TokenReviews by as many connections", ">= 0.8", rate("gateway")/rate("raw/h1"), 2)
	measured.add(b, "of-h2-reviews", "  share of the TokenReviews by one connection of HTTP/2", ">= 0.8", rate("gateway")/rate("raw/h2"), 2)
	measured.add(b, "gateway-cpu-µs/login", "  CPU time of the gateway for each, µs", "<= 250", perCall(gatewayCPU["gateway"]), 0)
	measured.add(b, "apiserver-cpu-µs/login", "  CPU time of the API server for each, µs", "", perCall(serverCPU["gateway"]), 0)
	measured.add(b, "apiserver-cpu-µs/review", "  CPU time of the API server for a TokenReview alone, µs", "", perCall(serverCPU["raw/h1"]), 0)
	measured.add(b, "repeated-logins/s", "Logins with the same 32 tokens again and again, a second", "", rate("again"), 0)
}

// perCall is in microseconds.
func perCall(d time.Duration) float64 {
	return float64(d.Microseconds()) / (rounds * loginsPerRound)
}

// mint asks the API server for distinct tokens of one pod.
func mint(b *testing.B, ns string, count int) []string {
	b.Helper()
	tokens := make([]string, count)
	group, ctx := errgroup.WithContext(b.Context())
	group.SetLimit(16)
	for i := range tokens {
		group.Go(func() (err error) {
			// Each has an id of its own (jti), so that all differ.
			tokens[i], err = shared.PodToken(ctx, cluster.TokenRequest{
				Namespace: ns, ServiceAccount: "web", Pod: "mypod1", Audience: audience, Seconds: 3600,
			})
			return err
		})
	}
	if err := group.Wait(); err != nil {
		b.Fatal(err)
	}
	if distinct := len(slices.Compact(slices.Sorted(slices.Values(tokens)))); distinct != count {
		b.Fatalf("of %d tokens only %d differ", count, distinct)
	}
	return tokens
}

// spread sends each token once over all connections, and returns how long it
// took.
func spread(b *testing.B, tokens []string, send func(string) error) time.Duration {
	b.Helper()
	var next atomic.Int64
	var failed atomic.Pointer[error]
	var wg sync.WaitGroup
	began := time.Now()
	for range connections {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(tokens) || failed.Load() != nil {
					return
				}
				if err := send(tokens[i]); err != nil {
					failed.Store(&err)
				}
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	if err := failed.Load(); err != nil {
		b.Fatal(*err)
	}
	return took
}

// rawClient speaks to the API server with as little as Go's client allows.
func rawClient(b *testing.B, http2 bool) *http.Client {
	b.Helper()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(shared.CA())
	transport := &http.Transport{
		TLSClientConfig:     &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
		MaxIdleConnsPerHost: connections, ForceAttemptHTTP2: http2, DisableCompression: true,
	}
	if !http2 {
		transport.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	}
	b.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 30 * time.Second}
}

func sendReview(client *http.Client, credential, token string) error {
	body := `{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","spec":{"token":"` + token + `","audiences":["` + audience + `"]}}`
	var review struct {
		Status struct {
			Authenticated bool `json:"authenticated"`
		} `json:"status"`
	}
	err := exchange(client, strings.TrimSuffix(shared.Host(), "/")+"/apis/authentication.k8s.io/v1/tokenreviews", credential, body, &review)
	if err == nil && !review.Status.Authenticated {
		return errors.New("not authenticated")
	}
	return err
}

// sendLogin returns the session token.
func sendLogin(g *gatewayProcess, id, config, token string) (string, error) {
	body := `{"access-id":"` + id + `","access-type":"k8s","k8s-auth-config-name":"` + config + `","k8s-service-account-token":"` + token + `"}`
	var login struct {
		Token string `json:"token"`
	}
	err := exchange(g.client, issuer+"/auth", "", body, &login)
	if err == nil && login.Token == "" {
		err = errors.New("no session")
	}
	return login.Token, err
}

func exchange(client *http.Client, url, credential, body string, answer any) error {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, url, bytes.NewReader([]byte(body)))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	if credential != "" {
		req.Header.Set("Authorization", "Bearer "+credential)
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode >= 300 {
		return fmt.Errorf("%s: %s", res.Status, text)
	}
	return json.Unmarshal(text, answer)
}

// cpu is the processor time that a process has used, from /proc/PID/stat
// (proc(5): fields 14 and 15, in ticks of 10 ms).
func cpu(b *testing.B, pid int) time.Duration {
	b.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+2:]))
	var ticks int64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}
