package siege_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatepass/gatepass/test/await"
	"github.com/gatepass/gatepass/test/product"
)

// startGateway runs a gateway without a cluster, and logs its administrator in.
func startGateway(t *testing.T) (s *target, token string) {
	t.Helper()
	dir, trust := certificates(t)
	told, config := filepath.Join(dir, "administrator"), filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(config, []byte("apiVersion: config.gatepass.dev/v1alpha1\nkind: GatewayConfig\nissuer: https://gateway.example:8000\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	gateway := must(commands.StartGateway(t.Context(), product.GatewayOptions{
		Config: config, DataDir: t.TempDir(), CertFile: filepath.Join(dir, "tls.crt"), KeyFile: filepath.Join(dir, "tls.key"),
		AuditLog: filepath.Join(dir, "audit.log"), LogLevel: "error", ExtraArgs: []string{"--admin-credentials-file=" + told},
		Env: []string{memoryLimit(t, "gateway")},
	}))(t)
	t.Cleanup(func() {
		if err := gateway.Stop(); err != nil {
			t.Error(err)
		}
	})
	s = &target{gateway, trust, mostOfGateway, 50 * time.Millisecond}
	await.Until(t, "the administrator's credentials are told", func() bool {
		_, err := os.Stat(told)
		return err == nil
	}, gateway.Logs)
	found := regexp.MustCompile(`Access ID: (\S+)\nAccess Key: (\S+)\n`).FindSubmatch(must(os.ReadFile(told))(t))
	if found == nil {
		t.Fatal("the gateway did not tell the administrator's credentials")
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: trust}, Timeout: patience}
	defer client.CloseIdleConnections()
	var answer struct{ Token string }
	// The credentials are told before they are good for anything.
	await.Until(t, "the administrator logs in", func() bool {
		status, _, body, err := s.command(t.Context(), client, "/auth", map[string]string{
			"access-type": "access_key", "access-id": string(found[1]), "access-key": string(found[2]),
		})
		return err == nil && status == http.StatusOK && json.Unmarshal(body, &answer) == nil && answer.Token != ""
	}, gateway.Logs)
	return s, answer.Token
}

func (s *target) command(ctx context.Context, client *http.Client, path string, fields any) (int, http.Header, []byte, error) {
	raw, err := json.Marshal(fields)
	if err != nil {
		return 0, nil, nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL(path), bytes.NewReader(raw))
	if err != nil {
		return 0, nil, nil, err
	}
	return answered(client, request)
}

// keeper stores large values, and comes again when it is told to.
func (s *target) keeper(token string) func(context.Context, *http.Client) error {
	large := strings.Repeat("\n\"", 30<<10) // twice as long in JSON
	var names atomic.Int64
	return func(ctx context.Context, client *http.Client) error {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		name := fmt.Sprintf("item-%d", names.Add(1))
		for again := false; ; again = true {
			status, header, body, err := s.command(ctx, client, "/create-secret", map[string]string{"token": token, "name": name, "value": large})
			// A change that was answered 503 may have been made.
			if err != nil || status == http.StatusOK || again && status == http.StatusConflict {
				return err
			}
			if seconds, err := strconv.Atoi(header.Get("Retry-After")); err == nil {
				select {
				case <-time.After(time.Duration(seconds) * time.Second):
					continue
				case <-ctx.Done():
				}
			}
			return fmt.Errorf("status %d: %.300s", status, body)
		}
	}
}

func TestTheGatewayTakesLargeRequestsWhileItWithstands(t *testing.T) {
	part := func(n int) string { return fmt.Sprintf("%x\r\n", n) + strings.Repeat(" ", n) + "\r\n" }
	for _, row := range []struct {
		name   string
		attack func(*siege)
	}{
		{"32 silent bodies of unknown size", func(s *siege) {
			s.each(32, func(int) { s.begin(stranger, headerTo("/create-secret", chunked)) })
		}},
		{"100 bodies that stop before their end", func(s *siege) {
			begun := headerTo("/create-secret", chunked) + part(150<<10)
			s.each(100, func(n int) { s.begin(fmt.Sprintf("127.0.1.%d", 1+n%4), begun) })
		}},
		{"lists of as many tags as fit", func(s *siege) {
			body := `{"token":"x","tags":[` + many(`""`, 150<<10) + `]}`
			s.each(64, func(int) { s.post(stranger, "/create-secret", body) })
		}},
		{"large bodies without a session", func(s *siege) {
			body := `{"token":"x","value":"` + strings.Repeat("x", 150<<10) + `"}`
			s.each(64, func(int) { s.post(stranger, "/create-secret", body) })
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			s, token := startGateway(t)
			s.withstand(t, row.attack, s.keeper(token))
		})
	}
}
