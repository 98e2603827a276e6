package gateway_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatepass/gatepass/gateway/session"
	"github.com/gatepass/gatepass/test/product"
)

const (
	sessionConnections = 16
	// liveSessions is how many pods ask, in turn.
	liveSessions     = 256
	benchItems       = 1000
	requestsPerRound = 20_000
	strangers        = 4000
)

// BenchmarkSessions measures requests with a session over kept TLS connections:
// /validate-token and /get-secret-value in turn, each alone, /validate-token with
// sessions that the gateway sees for the first time, and /create-secret.
func BenchmarkSessions(b *testing.B) {
	s := newSecrets(b)
	credentials := filepath.Join(b.TempDir(), "administrator")
	s.start(b, b.TempDir(), "--admin-credentials-file="+credentials)
	s.enter(b, liveSessions)
	writes := s.create(b, rootSession(b, s.gatewayProcess, credentials), benchItems)
	wires := s.wires(b, sessionConnections)
	fire(b, wires, s.validations(requestsPerRound/4, s.tokens))
	fire(b, wires, s.reads(requestsPerRound/4))
	kinds := []struct {
		name  string
		shots func() []shot
	}{
		{"both", func() []shot { return mixed(s.validations(requestsPerRound/2, s.tokens), s.reads(requestsPerRound/2)) }},
		{"validate", func() []shot { return s.validations(requestsPerRound, s.tokens) }},
		{"read", func() []shot { return s.reads(requestsPerRound) }},
		{"first-seen", func() []shot { return s.validations(strangers, s.unseen(b, strangers)) }},
	}
	rate, used := map[string][]float64{}, map[string][]float64{}
	var times []time.Duration
	for range rounds {
		for _, kind := range kinds {
			shots := kind.shots()
			before := cpu(b, s.PID())
			took, each := fire(b, wires, shots)
			rate[kind.name] = append(rate[kind.name], float64(len(shots))/took.Seconds())
			used[kind.name] = append(used[kind.name], float64((cpu(b, s.PID())-before).Microseconds())/float64(len(shots)))
			if kind.name == "both" {
				times = append(times, each...)
			}
		}
	}
	b.ReportMetric(0, "ns/op")
	measured.add(b, "requests/s", "/validate-token and /get-secret-value, 1:1, a second", ">= 8000", median(rate["both"]), 0)
	measured.add(b, "p50-ms", "  half of them within, ms", "", percentile(times, 50), 2)
	measured.add(b, "p99-ms", "  99 of 100 within, ms", "", percentile(times, 99), 2)
	measured.add(b, "cpu-µs/request", "  CPU time of the gateway for each, µs", "", median(used["both"]), 0)
	measured.add(b, "validations/s", "/validate-token alone, a second", "", median(rate["validate"]), 0)
	measured.add(b, "cpu-µs/validation", "  CPU time, µs", "", median(used["validate"]), 0)
	measured.add(b, "reads/s", "/get-secret-value alone, a second", "", median(rate["read"]), 0)
	measured.add(b, "cpu-µs/read", "  CPU time, µs", "", median(used["read"]), 0)
	measured.add(b, "first-validations/s", "/validate-token, each session for the first time, a second", "", median(rate["first-seen"]), 0)
	measured.add(b, "cpu-µs/first-validation", "  CPU time, µs", "", median(used["first-seen"]), 0)
	measured.add(b, "writes/s", "/create-secret, 32 connections, a second", "", writes, 0)
	b.Logf("rounds: %v", rate)
}

// secrets is a gateway with items, and sessions of pods that may read them.
type secrets struct {
	*gatewayProcess

	namespace  string
	accessID   string
	config     string // the name of the auth config
	file       string // the content of the configuration file
	reviewer   string
	ring       *session.Keyring // signs as the gateway does, with the keys of signingKey
	signingKey string
	names      []string // of the items
	tokens     []string // of sessions
}

const secretValue = "correct horse battery staple 0123456789"

func newSecrets(b *testing.B) *secrets {
	b.Helper()
	s := &secrets{namespace: namespace(b)}
	pod(b, s.namespace, "mypod1", "web")
	s.reviewer = kubeconfig(b, delegator(b, s.namespace, "gateway"))
	private := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(b)
	der := must(x509.MarshalPKCS8PrivateKey(private))(b)
	s.signingKey = file(b, "signing.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
	var c configFile
	s.accessID, s.config = c.add(kubernetes("boundNamespaces: ["+s.namespace+"]"), gatewayReviewer)
	s.file = c.String() + `
roles:
  - name: web
    rules:
      - {type: item-rule, path: "/web/{{namespace}}/*", capabilities: [read]}
    associations:
      - {authMethod: method-1, subClaims: {namespace: "` + s.namespace + `", service_account_name: "web,worker"}}
`
	s.ring = must(session.NewKeyring(issuer, session.Signing{Key: must(session.NewKey(private))(b)}))(b)
	return s
}

// start runs the gateway.
func (s *secrets) start(b *testing.B, dataDir string, args ...string) {
	b.Helper()
	s.gatewayProcess = startGateway(b, s.file, product.GatewayOptions{
		DataDir: dataDir, Kubeconfig: s.reviewer, ExtraArgs: append([]string{"--signing-keys-file=" + s.signingKey}, args...), Env: asDeployed(),
	})
}

// enter logs pods in.
func (s *secrets) enter(b *testing.B, count int) {
	b.Helper()
	s.tokens = make([]string, count)
	tokens := mint(b, s.namespace, count)
	var next atomic.Int64
	spread(b, tokens, func(token string) error {
		session, err := sendLogin(s.gatewayProcess, s.accessID, s.config, token)
		s.tokens[next.Add(1)-1] = session
		return err
	})
}

// name is that of an item.
func (s *secrets) name(i int) string {
	return fmt.Sprintf("/web/%s/service-%02d/secret-%06d", s.namespace, i%40, i)
}

var bootstrapped = regexp.MustCompile(`Access ID: (\S+)\nAccess Key: (\S+)\n`)

// rootSession is a session of the administrator.
func rootSession(b *testing.B, g *gatewayProcess, credentials string) string {
	b.Helper()
	var found []string
	eventually(b, "the administrator's credentials", func() error {
		text, err := os.ReadFile(credentials)
		if found = bootstrapped.FindStringSubmatch(string(text)); err == nil && found == nil {
			return fmt.Errorf("the file holds %d bytes", len(text))
		}
		return err
	})
	got := g.post(b, "/auth", map[string]string{"access-type": "access_key", "access-id": found[1], "access-key": found[2]})
	if got.status != http.StatusOK {
		b.Fatalf("the administrator can't log in: %+v", got)
	}
	return got.Token
}

// create makes items as the administrator, and returns how many it made a second.
func (s *secrets) create(b *testing.B, token string, count int) float64 {
	b.Helper()
	shots := make([]shot, count)
	for i := range shots {
		name := s.name(i)
		s.names = append(s.names, name)
		shots[i] = shot{written("/create-secret", text(b, map[string]string{"token": token, "name": name, "value": secretValue})), []byte(name)}
	}
	took, _ := fire(b, s.wires(b, connections), shots)
	return float64(count) / took.Seconds()
}

// unseen signs sessions that the gateway has not seen.
func (s *secrets) unseen(b *testing.B, count int) []string {
	b.Helper()
	like := must(s.ring.Verify(s.tokens[0], time.Now()))(b)
	tokens := make([]string, count)
	for i := range tokens {
		var err error
		tokens[i], _, err = s.ring.Sign(session.Grant{
			AccessID: s.accessID, Subject: like.Subject, SubClaims: like.SubClaims, TTL: time.Hour, Now: time.Now(),
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	return tokens
}

func (s *secrets) validations(count int, tokens []string) []shot {
	shots := make([]shot, count)
	for i := range shots {
		shots[i] = shot{written("/validate-token", `{"token":"`+tokens[i%len(tokens)]+`"}`), []byte(`"is_valid":true`)}
	}
	return shots
}

// reads are of all items in an order that is far from theirs.
func (s *secrets) reads(count int) []shot {
	shots := make([]shot, count)
	for i := range shots {
		name := s.names[i*7919%len(s.names)]
		body := `{"names":["` + name + `"],"token":"` + s.tokens[i%len(s.tokens)] + `"}`
		shots[i] = shot{written("/get-secret-value", body), []byte(secretValue)}
	}
	return shots
}

// mixed takes from both in turn.
func mixed(a, b []shot) []shot {
	all := make([]shot, 0, len(a)+len(b))
	for i := range a {
		all = append(all, a[i], b[i])
	}
	return all
}

func text(b *testing.B, v any) string {
	b.Helper()
	return string(must(json.Marshal(v))(b))
}
