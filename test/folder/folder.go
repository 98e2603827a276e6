// Package folder starts gateways on a data folder, for tests of what they keep.
package folder

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
	"testing"

	"go.etcd.io/bbolt"

	"github.com/gatepass/gatepass/test/await"
	"github.com/gatepass/gatepass/test/pki"
	"github.com/gatepass/gatepass/test/product"
)

// Folder is a data folder and what its gateways are started with.
type Folder struct {
	Dir     string
	Options product.GatewayOptions
	Client  *http.Client

	commands *product.Product
}

// New is a folder for gateways of a product. Dir need not be there yet.
func New(t testing.TB, commands *product.Product, dir string) *Folder {
	t.Helper()
	ca := must(pki.NewCA("durability-test"))(t)
	f := &Folder{Dir: dir, commands: commands}
	own := t.TempDir()
	cert, key, err := must(ca.Server("localhost", "127.0.0.1"))(t).Write(own)
	if err != nil {
		t.Fatal(err)
	}
	f.Options = product.GatewayOptions{
		DataDir: f.Dir, CertFile: cert, KeyFile: key, AuditLog: filepath.Join(own, "audit.log"),
		ExtraArgs: []string{"--admin-credentials-file=" + filepath.Join(own, "administrator"), "--issuer=https://gatepass.test:8000"},
	}
	f.Client = &http.Client{
		Timeout:   await.Patience,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.Pool(), MinVersion: tls.VersionTLS12}, MaxIdleConnsPerHost: 16},
	}
	t.Cleanup(f.Client.CloseIdleConnections)
	return f
}

// Gateway is a process on a folder.
type Gateway struct {
	*product.Server

	folder *Folder
}

// Start runs a gateway, which the test ends.
func (f *Folder) Start(ctx context.Context) (*Gateway, error) {
	server, err := f.commands.StartGateway(ctx, f.Options)
	return &Gateway{server, f}, err
}

// MustStart runs a gateway until the test ends, or ends it.
func (f *Folder) MustStart(t testing.TB) *Gateway {
	t.Helper()
	g := must(f.Start(t.Context()))(t)
	t.Cleanup(func() {
		_ = g.Kill() // it may have ended
		if t.Failed() {
			t.Logf("gateway's log:\n%s", g.Logs())
		}
	})
	return g
}

// Answer has the fields of all answers.
type Answer struct {
	Status  int
	Token   string   `json:"token"`
	IsValid bool     `json:"is_valid"`
	Error   string   `json:"error"`
	Version int      `json:"last_version"`
	Comment string   `json:"comment"`
	Items   []Listed `json:"items"`
	Roles   []Listed `json:"roles"`
	Next    string   `json:"next_page"`
	Values  map[string]string
}

// Listed is an entry of a list.
type Listed struct {
	Item string `json:"item_name"`
	Role string `json:"role_name"`
}

// Ask sends a request with fields as name and value in turn. An error means that it
// got no whole answer.
func (g *Gateway) Ask(path string, fields ...any) (Answer, error) {
	body := map[string]any{}
	for pair := range slices.Chunk(fields, 2) {
		body[fmt.Sprint(pair[0])] = pair[1]
	}
	sent, err := json.Marshal(body)
	if err != nil {
		return Answer{}, err
	}
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, g.URL(path), bytes.NewReader(sent))
	if err != nil {
		return Answer{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := g.folder.Client.Do(req)
	if err != nil {
		return Answer{}, err
	}
	var raw bytes.Buffer
	_, err = raw.ReadFrom(res.Body)
	a := Answer{Status: res.StatusCode}
	err = errors.Join(err, res.Body.Close(), json.Unmarshal(raw.Bytes(), &a))
	_ = json.Unmarshal(raw.Bytes(), &a.Values) // only one answer is such a map
	return a, err
}

// MustAsk is Ask for what has to get an answer.
func (g *Gateway) MustAsk(t testing.TB, path string, fields ...any) Answer {
	t.Helper()
	a, err := g.Ask(path, fields...)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return a
}

// Want asks for what has to succeed.
func (g *Gateway) Want(t testing.TB, path string, fields ...any) Answer {
	t.Helper()
	a := g.MustAsk(t, path, fields...)
	if a.Status != http.StatusOK {
		t.Fatalf("%s: %d %s", path, a.Status, a.Error)
	}
	return a
}

var credentials = regexp.MustCompile(`Access ID: (\S+)\nAccess Key: (\S+)\n`)

// Administrator returns the fields of a login, once the administrator was made.
func (g *Gateway) Administrator(t testing.TB) []any {
	t.Helper()
	var fields []any
	await.Until(t, "the administrator to be made", func() bool {
		content, err := os.ReadFile(filepath.Join(filepath.Dir(g.folder.Options.AuditLog), "administrator"))
		found := credentials.FindStringSubmatch(string(content))
		if err != nil || found == nil {
			return false
		}
		fields = []any{"access-type", "access_key", "access-id", found[1], "access-key", found[2]}
		return g.MustAsk(t, "/auth", fields...).Status == http.StatusOK
	})
	return fields
}

// CheckDatabase has bbolt check every page of a folder's database.
func (f *Folder) CheckDatabase(t testing.TB) {
	t.Helper()
	db := must(bbolt.Open(filepath.Join(f.Dir, "gatepass.db"), 0o600, &bbolt.Options{ReadOnly: true, PreLoadFreelist: true}))(t)
	err := db.View(func(tx *bbolt.Tx) error {
		var errs []error
		for err := range tx.Check() {
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Errorf("the database is damaged: %v", err)
	}
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
