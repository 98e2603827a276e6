package siege_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/test/product"
	"github.com/gatepass/gatepass/test/repo"
)

// startWebhook runs a webhook of its own for a test: memory that an attack took stays with
// the process.
func startWebhook(t *testing.T) *target {
	t.Helper()
	dir, trust := certificates(t)
	webhook := must(commands.StartWebhook(t.Context(), product.WebhookOptions{
		Config:  filepath.Join(must(repo.Root())(t), "injector", "testdata", "config.yaml"),
		CertDir: dir, LogLevel: "error", Env: []string{memoryLimit(t, "webhook")},
	}))(t)
	t.Cleanup(func() {
		if err := webhook.Stop(); err != nil {
			t.Error(err)
		}
	})
	return &target{webhook, trust, mostOfWebhook, 20 * time.Millisecond}
}

const uid = "705ab4f5-6393-11e8-b7cc-42010a800002"

// review is one whose pod has something more in its spec.
func review(spec string) string {
	return `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"` + uid + `","kind":{"group":"","version":"v1","kind":"Pod"},` +
		`"namespace":"team-a","operation":"CREATE","object":{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a","annotations":{"gatepass.dev/inject":"true"}},` +
		`"spec":{` + spec + `}},"oldObject":null,"dryRun":false}}`
}

// apiServer has a review answered as an API server does: it comes again when it is told to,
// as long as there is time (client-go's rest/with_retry.go).
func (s *target) apiServer(t *testing.T) func(context.Context, *http.Client) error {
	t.Helper()
	raw := must(os.ReadFile(filepath.Join(must(repo.Root())(t), "test", "admission", "bench", "testdata", "review.json")))(t)
	return func(ctx context.Context, client *http.Client) error {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		for {
			request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL("/mutate"), bytes.NewReader(raw))
			if err != nil {
				return err
			}
			request.Header.Set("Content-Type", "application/json")
			status, header, body, err := answered(client, request)
			if err != nil {
				return err
			}
			if seconds, err := strconv.Atoi(header.Get("Retry-After")); err == nil && status >= http.StatusInternalServerError {
				select {
				case <-time.After(time.Duration(seconds) * time.Second):
					continue
				case <-ctx.Done():
				}
			}
			var answer struct {
				Response struct {
					Allowed bool
					Patch   []byte
				}
			}
			if status != http.StatusOK || json.Unmarshal(body, &answer) != nil || !answer.Response.Allowed || len(answer.Response.Patch) == 0 {
				return fmt.Errorf("status %d: %.300s", status, body)
			}
			return nil
		}
	}
}

// header begins a request that announces a body.
func header(length string) string { return headerTo("/mutate", length) }

func headerTo(path, length string) string {
	return "POST " + path + " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" + length + "\r\n\r\n"
}

const chunked = "Transfer-Encoding: chunked"

// post sends a whole review from a stranger's address, and reads the answer.
func (s *siege) post(from, path, body string) {
	conn, ok := s.dial(from, true)
	if !ok {
		return
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, headerTo(path, "Content-Length: "+strconv.Itoa(len(body)))+body); err != nil {
		return
	}
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	_, _ = conn.Read(make([]byte, 4096))
}

// begin sends the beginning of a request and leaves it there, until the server has enough.
func (s *siege) begin(from, what string) {
	conn, ok := s.dial(from, true)
	if !ok {
		return
	}
	if _, err := io.WriteString(conn, what); err != nil {
		return
	}
	_, _ = io.Copy(io.Discard, conn)
	_ = conn.Close()
}

// many is a list of as many values as fit in so many bytes.
func many(value string, bytes int) string {
	n := bytes / (len(value) + 1)
	return strings.Repeat(value+",", n) + value
}

func TestTheWebhookWithstands(t *testing.T) {
	const maxBody = 7 << 20
	// What a review of some 130 kB holds that was made to become much.
	greedy := review(`"containers":[` + many(`{}`, 130<<10) + `]`)
	// The worst that is decoded: as many values as may be.
	worst := review(`"initContainers":[{"name":"gatepass-agent"},` + many(`{}`, 3*64<<10-600) + `]`)
	for _, row := range []struct {
		name   string
		attack func(*testing.T, *siege)
	}{
		{"reviews of 7 MB with 2,300,000 containers", func(_ *testing.T, s *siege) {
			body := review(`"containers":[` + many(`{}`, maxBody-1000) + `]`)
			s.each(4, func(int) { s.post(stranger, "/mutate", body) })
		}},
		{"64 reviews of 130 kB at a time", func(_ *testing.T, s *siege) {
			s.each(64, func(int) { s.post(stranger, "/mutate", greedy) })
		}},
		{"the worst reviews that are decoded", func(_ *testing.T, s *siege) {
			s.each(8, func(int) { s.post(stranger, "/mutate", worst) })
		}},
		{"256 sockets that send headers only", func(_ *testing.T, s *siege) {
			s.each(256, func(int) { s.begin(stranger, header("Content-Length: 5000")) })
		}},
		{"256 sockets that send headers only, from the API servers' address", func(_ *testing.T, s *siege) {
			s.each(256, func(int) { s.begin(friend, header("Content-Length: 5000")) })
		}},
		{"64 bodies that stop before their end", func(_ *testing.T, s *siege) {
			body := header("Content-Length: "+strconv.Itoa(maxBody)) + strings.Repeat(" ", 1<<20)
			s.each(64, func(int) { s.begin(stranger, body) })
		}},
		{"400 bodies of 120 kB that stop before their end, from many addresses", func(_ *testing.T, s *siege) {
			body := header(chunked) + fmt.Sprintf("%x\r\n", 120<<10) + strings.Repeat(" ", 120<<10) + "\r\n"
			s.each(400, func(n int) { s.begin(fmt.Sprintf("127.0.1.%d", 1+n%200), body) })
		}},
		{"connections that say nothing", func(t *testing.T, s *siege) {
			t.Helper()
			s.once(connections(t, 4000), func(n int) { s.dial(fmt.Sprintf("127.0.1.%d", 1+n%4), false) })
		}},
		{"idle connections, from many addresses", func(t *testing.T, s *siege) {
			t.Helper()
			s.once(connections(t, 2000), func(n int) { s.dial(fmt.Sprintf("127.0.1.%d", 1+n%200), true) })
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := startWebhook(t)
			s.withstand(t, func(under *siege) { row.attack(t, under) }, s.apiServer(t))
		})
	}
}

// What is refused must say so, and what is not must be unharmed.
func TestAPodThatIsTooLargeIsRefusedWithTheReason(t *testing.T) {
	s := startWebhook(t)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: s.trust}, Timeout: patience}
	defer client.CloseIdleConnections()
	body := review(`"containers":[` + many(`{}`, 1<<20) + `]`)
	request := must(http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL("/mutate"), strings.NewReader(body)))(t)
	request.Header.Set("Content-Type", "application/json")
	status, _, text, err := answered(client, request)
	var answer struct {
		Response struct {
			UID     string
			Allowed bool
			Status  struct{ Message string }
		}
	}
	if err := errors.Join(err, json.Unmarshal(text, &answer)); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	if r := answer.Response; status != http.StatusOK || r.Allowed || r.UID != uid || !strings.Contains(r.Status.Message, "more than 131072 values") {
		t.Errorf("status %d: %s", status, text)
	}
}
