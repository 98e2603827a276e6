package replicas_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gatepass/gatepass/gateway/seal"
	"github.com/gatepass/gatepass/test/await"
	"github.com/gatepass/gatepass/test/pki"
	"github.com/gatepass/gatepass/test/process"
	"github.com/gatepass/gatepass/test/product"
)

// etcd is a server whose process can be killed and started again.
type etcd struct {
	guard   *process.Guard
	process *process.Process
	ports   *process.Ports // also while it is away
}

func (e *etcd) url(port int) string { return fmt.Sprintf("http://127.0.0.1:%d", e.ports.Numbers[port]) }

func startEtcd(t *testing.T) *etcd {
	t.Helper()
	e := &etcd{guard: must(process.NewGuard())(t), ports: must(process.ReservePorts(3))(t)}
	t.Cleanup(func() {
		if e.process != nil {
			_ = e.process.Kill() // it has no data worth an orderly end
		}
		if err := errors.Join(e.guard.Release(), e.ports.Close()); err != nil {
			t.Error(err)
		}
	})
	if err := e.run(); err != nil {
		t.Fatal(err)
	}
	return e
}

// run starts the process and waits until it is ready.
func (e *etcd) run() error {
	args := []string{
		"--data-dir=" + filepath.Join(e.guard.Dir(), "data"),
		"--listen-client-urls=" + e.url(0),
		"--advertise-client-urls=" + e.url(0),
		"--listen-peer-urls=" + e.url(1),
		"--initial-advertise-peer-urls=" + e.url(1),
		"--initial-cluster=default=" + e.url(1),
		"--listen-metrics-urls=" + e.url(2),
		"--unsafe-no-fsync", // the machine does not crash, the process does
		"--log-level=warn",
	}
	var err error
	e.process, err = process.Start(process.Options{Name: "etcd", Path: etcdBinary, Args: args, Guard: e.guard})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), await.Patience)
	defer cancel()
	return e.process.WaitReady(ctx, e.url(2)+"/health")
}

// replica is a gateway.
type replica struct {
	*product.Server
	client      *http.Client
	credentials string // its own file for the administrator's
}

// start runs gateways at the same time, on one etcd.
func start(t *testing.T, e *etcd, count int) []*replica {
	t.Helper()
	ca := must(pki.NewCA("replicas-test"))(t)
	key := filepath.Join(t.TempDir(), "seal.key")
	must(seal.CreateFile(key))(t)
	replicas := make([]*replica, count)
	var starts sync.WaitGroup
	for i := range replicas {
		dir := t.TempDir()
		cert, certKey, err := must(ca.Server("localhost", "127.0.0.1"))(t).Write(dir)
		if err != nil {
			t.Fatal(err)
		}
		starts.Go(func() {
			r := &replica{credentials: filepath.Join(dir, "administrator")}
			r.Server, err = commands.StartGateway(t.Context(), product.GatewayOptions{
				DataDir: dir, CertFile: cert, KeyFile: certKey, AuditLog: filepath.Join(dir, "audit.log"),
				ExtraArgs: []string{"--etcd-endpoints=" + e.url(0), "--seal-key-file=" + key, "--admin-credentials-file=" + r.credentials},
			})
			if err != nil {
				t.Error(err)
				return
			}
			r.client = &http.Client{
				Timeout:   await.Patience,
				Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.Pool(), MinVersion: tls.VersionTLS12}},
			}
			replicas[i] = r
		})
	}
	starts.Wait()
	if t.Failed() {
		t.FailNow()
	}
	for i, r := range replicas {
		t.Cleanup(func() {
			r.client.CloseIdleConnections()
			_ = r.Kill() // one may be gone; they have no data of their own
			if t.Failed() {
				t.Logf("gateway %d:\n%s", i, r.Logs())
			}
		})
	}
	return replicas
}

// answer has the fields of all answers.
type answer struct {
	status  int
	took    time.Duration
	Token   string `json:"token"`
	IsValid bool   `json:"is_valid"`
	Error   string `json:"error"`
	values  map[string]string

	AccessID  string `json:"access_id"`
	AccessKey string `json:"access_key"`
}

// post sends a request with fields as name and value in turn.
func (r *replica) post(t *testing.T, path string, fields ...any) answer {
	t.Helper()
	body := map[string]any{}
	for pair := range slices.Chunk(fields, 2) {
		body[fmt.Sprint(pair[0])] = pair[1]
	}
	sent := must(json.Marshal(body))(t)
	began := time.Now()
	res, err := r.client.Post(r.URL(path), "application/json", bytes.NewReader(sent))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	var raw bytes.Buffer
	if _, err := raw.ReadFrom(res.Body); err != nil {
		t.Fatal(err)
	}
	a := answer{status: res.StatusCode, took: time.Since(began)}
	if err := json.Unmarshal(raw.Bytes(), &a); err != nil {
		t.Fatalf("%s: %q", path, raw.String())
	}
	_ = json.Unmarshal(raw.Bytes(), &a.values) // only one answer is such a map
	return a
}

var credentials = regexp.MustCompile(`Access ID: (\S+)\nAccess Key: (\S+)\n`)

// administrator returns the fields of a login, when the administrator has been made by
// one of the gateways.
func administrator(t *testing.T, all []*replica) (fields []any) {
	t.Helper()
	await.Until(t, "the administrator to be made", func() bool {
		files := 0
		for _, r := range all {
			content, err := os.ReadFile(r.credentials)
			if err != nil {
				continue
			}
			files++
			if found := credentials.FindStringSubmatch(string(content)); found != nil {
				fields = []any{"access-type", "access_key", "access-id", found[1], "access-key", found[2]}
			}
		}
		return files == 1 && fields != nil
	})
	return fields
}

// login logs the administrator in, as soon as the gateway knows of it.
func login(t *testing.T, at *replica, all []*replica) string {
	t.Helper()
	fields := administrator(t, all)
	var got answer
	await.Until(t, "the administrator to be known", func() bool {
		got = at.post(t, "/auth", fields...)
		return got.status == 200
	})
	return got.Token
}
