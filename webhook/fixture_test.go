package webhook

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	admissionv1 "k8s.io/api/admission/v1"

	"github.com/gatepass/gatepass/injector"
	"github.com/gatepass/gatepass/injector/profile"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const goodConfig = `
apiVersion: config.gatepass.dev/v1alpha1
kind: InjectorConfig
profiles:
  default:
    gateway: {url: https://gateway.example.com}
    login: {accessID: p-abcdefg1234km, authConfig: k8s-conf}
    agent: {image: ghcr.io/gatepass/agent:v0.1.0}
`

// canary is a secret in the pods of these tests. No log may hold it.
const canary = "canary-3f1c9d"

const annotatedPod = `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"mypod1","annotations":{"gatepass.dev/inject":"true"}},` +
	`"spec":{"containers":[{"name":"app","image":"example.com/app:v1","env":[{"name":"PASSWORD","value":"` + canary + `"}]}]}}`

// podWith is a pod with an annotation more, or with other text.
func podWith(old, replacement string) string {
	return strings.Replace(annotatedPod, old, replacement, 1)
}

// reviewOf wraps an object as an API server does. Fields are set by name, and
// removed by nil.
func reviewOf(object string, change map[string]any) string {
	request := map[string]any{
		"uid":         "705ab4f5-6393-11e8-b7cc-42010a800002",
		"kind":        map[string]any{"group": "", "version": "v1", "kind": "Pod"},
		"resource":    map[string]any{"group": "", "version": "v1", "resource": "pods"},
		"requestKind": map[string]any{"group": "", "version": "v1", "kind": "Pod"},
		"name":        "mypod1", "namespace": "team-a", "operation": "CREATE", "dryRun": false,
		"userInfo":  map[string]any{"username": "somebody", "groups": []string{"system:authenticated"}},
		"oldObject": nil, "options": map[string]any{"apiVersion": "meta.k8s.io/v1", "kind": "CreateOptions"},
	}
	if object != "" {
		request["object"] = json.RawMessage(object)
	}
	for key, value := range change {
		if value == nil {
			delete(request, key)
			continue
		}
		request[key] = value
	}
	body, err := json.Marshal(map[string]any{"apiVersion": reviewAPIVersion, "kind": reviewKind, "request": request})
	if err != nil {
		panic(err)
	}
	return string(body)
}

const reviewUID = "705ab4f5-6393-11e8-b7cc-42010a800002"

// strict reads a body that must be one AdmissionReview with a response and
// nothing that the API's own types do not know.
func strict(t testing.TB, body []byte) *admissionv1.AdmissionResponse {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	var r admissionv1.AdmissionReview
	if err := decoder.Decode(&r); err != nil {
		t.Fatalf("the answer is no AdmissionReview: %v\n%s", err, body)
	}
	if _, err := decoder.Token(); err != io.EOF {
		t.Fatalf("something follows the AdmissionReview: %s", body)
	}
	if r.Kind != reviewKind || r.APIVersion != reviewAPIVersion || r.Response == nil || r.Request != nil {
		t.Fatalf("the answer is not a response: %s", body)
	}
	if a := r.Response; a.Allowed == (a.Result != nil) || !a.Allowed && (a.Result.Message == "" || a.Patch != nil) {
		t.Fatalf("the answer contradicts itself: %s", body)
	}
	if a := r.Response; (a.Patch == nil) != (a.PatchType == nil) || a.PatchType != nil && *a.PatchType != admissionv1.PatchTypeJSONPatch {
		t.Fatalf("the patch and its type do not fit: %s", body)
	}
	if r.Response.AuditAnnotations["result"] == "" || r.Response.AuditAnnotations["reason"] == "" {
		t.Fatalf("the audit annotations lack the result or the reason: %s", body)
	}
	return r.Response
}

// lines collects a JSON log.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// with returns the lines that have this message.
func (l *lines) with(t testing.TB, message string) []map[string]any {
	t.Helper()
	var found []map[string]any
	for line := range strings.Lines(l.String()) {
		var entry map[string]any
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatalf("not a JSON log line: %q", line)
		}
		if text, ok := entry["msg"].(string); ok && strings.Contains(text, message) {
			found = append(found, entry)
		}
	}
	return found
}

func newLog() (*lines, *slog.Logger) {
	l := new(lines)
	return l, slog.New(slog.NewJSONHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func newInjector(t testing.TB) *injector.Injector {
	t.Helper()
	set, err := profile.Parse([]byte(goodConfig), profile.Options{ReadFile: os.ReadFile, Overridable: injector.Overridable()})
	if err != nil {
		t.Fatal(err)
	}
	return injector.New(set)
}

// newTestHandler returns a handler that decides with d, its log and metrics.
func newTestHandler(d decider) (*handler, *lines) {
	l, log := newLog()
	m := newMetrics(func() time.Time { return time.Time{} })
	return newHandler(func() decider { return d }, new(atomic.Bool), m, log), l
}

// metric reads one value; labels are name=value.
func metric(t testing.TB, m *metrics, name string, labels ...string) float64 {
	t.Helper()
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
	series:
		for _, s := range f.GetMetric() {
			have := map[string]bool{}
			for _, l := range s.GetLabel() {
				have[l.GetName()+"="+l.GetValue()] = true
			}
			for _, l := range labels {
				if !have[l] {
					continue series
				}
			}
			switch {
			case s.GetCounter() != nil:
				return s.GetCounter().GetValue()
			case s.GetGauge() != nil:
				return s.GetGauge().GetValue()
			case s.GetHistogram() != nil:
				return float64(s.GetHistogram().GetSampleCount())
			}
		}
	}
	return -1
}

// certificate is a serving certificate in memory.
type certificate struct {
	pair *tls.Certificate
	pool *x509.CertPool
}

func newCertificate(t testing.TB) *certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return &certificate{pair: &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, pool: pool}
}

func (c *certificate) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return c.pair, nil
}
func (c *certificate) Ready() error        { return nil }
func (c *certificate) NotAfter() time.Time { return c.pair.Leaf.NotAfter }

// writeConfig writes a configuration file and returns its name.
func writeConfig(t testing.TB, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config.yaml")
	write(t, file, content)
	return file
}

func write(t testing.TB, file, content string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// eventually polls until what holds, and fails after ten seconds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.NewTimer(10 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// send makes a request and returns the answer's status and body.
func send(t testing.TB, client *http.Client, method, url, contentType string, body io.Reader) (*http.Response, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, answer
}
