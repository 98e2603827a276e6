package agent

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gatepass/gatepass/agent/backoff"
	"github.com/gatepass/gatepass/agent/config"
	"github.com/gatepass/gatepass/agent/gatetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pod is what an agent finds around it.
type pod struct {
	config   config.Config
	identity string
	log      bytes.Buffer
}

func newPod(t *testing.T, url, ca string) *pod {
	t.Helper()
	dir := t.TempDir()
	p := &pod{identity: gatetest.Token(t, map[string]any{"sub": "system:serviceaccount:my-ns:my-sa"})}
	p.config = config.Default()
	p.config.GatewayURL, p.config.CABundle = url, ca
	p.config.AccessID, p.config.AuthConfig = "p-abcdefghij12km", "k8s-conf"
	p.config.IdentityFile = filepath.Join(dir, "identity")
	p.config.TokenFile = filepath.Join(dir, "token")
	p.config.Timeout = 10 * time.Second
	p.config.LogLevel = slog.LevelDebug
	if err := os.WriteFile(p.config.IdentityFile, []byte(p.identity+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

// quick keeps the shape of the default policy and shortens its waits.
func quick() *backoff.Policy {
	p := backoff.DefaultPolicy()
	p.Transient = backoff.Schedule{First: time.Millisecond, Cap: 5 * time.Millisecond}
	p.Final = p.Transient
	return &p
}

func (p *pod) run(ctx context.Context, t *testing.T) error {
	t.Helper()
	a, err := New(Options{Config: p.config, Logger: slog.New(slog.NewJSONHandler(&p.log, &slog.HandlerOptions{Level: p.config.LogLevel})), Retry: quick()})
	if err != nil {
		return err
	}
	err = a.Run(ctx)
	for _, secret := range []string{p.identity, base64.StdEncoding.EncodeToString([]byte(p.identity)), "session-token"} {
		if strings.Contains(p.log.String(), secret) || err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("a secret is in the log or the error: %v\n%s", err, p.log.String())
		}
	}
	return err
}

const sessionToken = "session-token-of-a-test"

func grant(w http.ResponseWriter) { gatetest.Grant(w, sessionToken, time.Now().Add(time.Hour)) }

func TestInit(t *testing.T) {
	t.Parallel()
	t.Run("the session is written with its mode, and described", func(t *testing.T) {
		t.Parallel()
		url, ca := gatetest.NewServer(t, func(w http.ResponseWriter, _ *http.Request) { grant(w) })
		p := newPod(t, url, ca.PEM())
		p.config.TokenMode = 0o440
		if err := p.run(t.Context(), t); err != nil {
			t.Fatal(err)
		}
		token, err := os.ReadFile(p.config.TokenFile)
		if err != nil || string(token) != sessionToken {
			t.Errorf("token is %q, %v", token, err)
		}
		if info, err := os.Stat(p.config.TokenFile); err != nil || info.Mode() != 0o440 {
			t.Errorf("mode is %v, %v", info.Mode(), err)
		}
		data, err := os.ReadFile(filepath.Join(filepath.Dir(p.config.TokenFile), config.SessionFile))
		if err != nil || !bytes.Contains(data, []byte(url)) || bytes.Contains(data, token) {
			t.Errorf("description is %s, %v", data, err)
		}
	})

	t.Run("a session of Vault is written and described without its token", func(t *testing.T) {
		t.Parallel()
		url, ca := gatetest.NewServer(t, func(w http.ResponseWriter, _ *http.Request) {
			gatetest.VaultGrant(w, gatetest.VaultAuth{Token: sessionToken, Lease: time.Hour})
		})
		p := newPod(t, url, ca.PEM())
		p.config.Protocol, p.config.Role = config.ProtocolVault, "r"
		if err := p.run(t.Context(), t); err != nil {
			t.Fatal(err)
		}
		token, err := os.ReadFile(p.config.TokenFile)
		if err != nil || string(token) != sessionToken {
			t.Errorf("token is %q, %v", token, err)
		}
		data, err := os.ReadFile(filepath.Join(filepath.Dir(p.config.TokenFile), config.SessionFile))
		for _, want := range []string{`"policies"`, `"service_account_name"`, `"expiry"`, url} {
			if err != nil || !bytes.Contains(data, []byte(want)) || bytes.Contains(data, token) {
				t.Errorf("description is %s, %v; want %s", data, err, want)
			}
		}
	})

	t.Run("a gateway that recovers is waited for", func(t *testing.T) {
		t.Parallel()
		var n atomic.Int32
		url, ca := gatetest.NewServer(t, func(w http.ResponseWriter, _ *http.Request) {
			switch n.Add(1) {
			case 1:
				gatetest.Refuse(w, 503, "starting")
			case 2:
				panic(http.ErrAbortHandler)
			case 3:
				gatetest.Refuse(w, 403, "not known yet")
			case 4:
				w.Header().Set("Retry-After", "1")
				gatetest.Refuse(w, 429, "slow down")
			default:
				grant(w)
			}
		})
		p := newPod(t, url, ca.PEM())
		begin := time.Now()
		if err := p.run(t.Context(), t); err != nil {
			t.Fatal(err)
		}
		if n.Load() != 5 || time.Since(begin) < time.Second {
			t.Errorf("%d tries in %v: Retry-After was not honoured", n.Load(), time.Since(begin))
		}
		if got := strings.Count(p.log.String(), "will be tried again"); got != 4 {
			t.Errorf("%d retries in the log:\n%s", got, p.log.String())
		}
	})

	t.Run("the identity is read afresh for each try", func(t *testing.T) {
		t.Parallel()
		var p *pod
		renewed := gatetest.Token(t, map[string]any{"sub": "renewed"})
		url, ca := gatetest.NewServer(t, func(w http.ResponseWriter, r *http.Request) {
			var body map[string]string
			if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
				t.Error(err)
			}
			if body["k8s-service-account-token"] == base64.StdEncoding.EncodeToString([]byte(renewed)) {
				grant(w)
				return
			}
			if err := os.WriteFile(p.config.IdentityFile, []byte(renewed), 0o600); err != nil {
				t.Error(err)
			}
			gatetest.Refuse(w, 401, "the token has expired")
		})
		p = newPod(t, url, ca.PEM())
		if err := p.run(t.Context(), t); err != nil {
			t.Error(err)
		}
	})

	t.Run("an identity that comes late is waited for", func(t *testing.T) {
		t.Parallel()
		url, ca := gatetest.NewServer(t, func(w http.ResponseWriter, _ *http.Request) { grant(w) })
		p := newPod(t, url, ca.PEM())
		late := p.config.IdentityFile + ".late"
		if err := os.Rename(p.config.IdentityFile, late); err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(50*time.Millisecond, func() { _ = os.Rename(late, p.config.IdentityFile) })
		defer timer.Stop()
		if err := p.run(t.Context(), t); err != nil {
			t.Error(err)
		}
	})
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	serve := func(h http.HandlerFunc) func(*testing.T) *pod {
		return func(t *testing.T) *pod {
			t.Helper()
			url, ca := gatetest.NewServer(t, h)
			return newPod(t, url, ca.PEM())
		}
	}
	granting := serve(func(w http.ResponseWriter, _ *http.Request) { grant(w) })
	refusing := func(status int) func(*testing.T) *pod {
		return serve(func(w http.ResponseWriter, _ *http.Request) { gatetest.Refuse(w, status, "the reason") })
	}
	change := func(p func(*testing.T) *pod, f func(*testing.T, *pod)) func(*testing.T) *pod {
		return func(t *testing.T) *pod {
			t.Helper()
			pod := p(t)
			f(t, pod)
			return pod
		}
	}
	short := func(_ *testing.T, p *pod) { p.config.Timeout = time.Second }
	vaulted := func(_ *testing.T, p *pod) { p.config.Protocol, p.config.Role = config.ProtocolVault, "r" }
	tests := []struct {
		name string
		pod  func(*testing.T) *pod
		code ExitCode
		want string
	}{
		{"a session is 0", granting, ExitOK, ""},
		{"a missing setting is 2", change(granting, func(_ *testing.T, p *pod) { p.config.AccessID = "" }), ExitConfig, "GATEPASS_ACCESS_ID"},
		{"a sidecar's first denial is 5", change(refusing(403), func(_ *testing.T, p *pod) { p.config.Mode = config.ModeSidecar }), ExitDenied, "the reason"},
		{"the vault protocol without a role is 2", change(granting, func(_ *testing.T, p *pod) { p.config.Protocol = config.ProtocolVault }), ExitConfig, "GATEPASS_ROLE"},
		{"a broken CA bundle is 2", change(granting, func(_ *testing.T, p *pod) { p.config.CABundle = "x" }), ExitConfig, "GATEPASS_CA_BUNDLE"},
		{"a gateway that is not there is 3", change(granting, func(t *testing.T, p *pod) { t.Helper(); short(t, p); p.config.GatewayURL = "https://127.0.0.1:1" }), ExitUnreachable, "connection refused"},
		{"a gateway that hangs is 3", change(serve(gatetest.Hang), short), ExitUnreachable, "no answer in time"},
		{"an unknown authority is 4", change(granting, func(t *testing.T, p *pod) { t.Helper(); p.config.CABundle = gatetest.NewAuthority(t, "x").PEM() }), ExitUntrusted, "not among the trusted"},
		{"a denial by Vault is 5", change(serve(func(w http.ResponseWriter, _ *http.Request) {
			gatetest.VaultRefuse(w, 403, "namespace not authorized")
		}), vaulted), ExitDenied, "namespace not authorized"},
		{"a sealed Vault is 8", change(serve(func(w http.ResponseWriter, _ *http.Request) {
			gatetest.VaultRefuse(w, 503, "Vault is sealed")
		}), func(t *testing.T, p *pod) { t.Helper(); vaulted(t, p); short(t, p) }), ExitFailing, "Vault is sealed"},
		{"a denial is 5", refusing(403), ExitDenied, "the reason"},
		{"a missing identity is 6", change(granting, func(t *testing.T, p *pod) { t.Helper(); short(t, p); p.config.IdentityFile += ".none" }), ExitIdentity, "does not exist"},
		{"an empty identity is 6", change(granting, func(t *testing.T, p *pod) {
			t.Helper()
			if err := os.Truncate(p.config.IdentityFile, 0); err != nil {
				t.Fatal(err)
			}
		}), ExitIdentity, "is empty"},
		{"a missing session volume is 7", change(granting, func(_ *testing.T, p *pod) { p.config.TokenFile = "/proc/none/token" }), ExitSession, "/proc/none"},
		{"an overloaded gateway is 8", change(refusing(429), short), ExitFailing, "429 Too Many Requests"},
		{"a failing gateway is 8", change(refusing(500), short), ExitFailing, "500"},
		{"a redirect is 9", serve(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://elsewhere.example/", http.StatusTemporaryRedirect)
		}), ExitForeign, "elsewhere.example"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := tt.pod(t)
			err := p.run(t.Context(), t)
			if got := Code(err); got != tt.code {
				t.Errorf("code is %d, want %d: %v", got, tt.code, err)
			}
			if tt.code == ExitOK {
				return
			}
			if message := Message(err); !strings.Contains(message, tt.want) || strings.Contains(message, "\n") {
				t.Errorf("message is %q, want %q in it", message, tt.want)
			}
			if _, err := os.Stat(p.config.TokenFile); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("there is a token: %v", err)
			}
		})
	}
}

func TestSignalKeepsTheCause(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	var n atomic.Int32
	url, ca := gatetest.NewServer(t, func(w http.ResponseWriter, _ *http.Request) {
		if n.Add(1) == 3 {
			cancel(SignalError{15})
		}
		gatetest.Refuse(w, 503, "starting")
	})
	p := newPod(t, url, ca.PEM())
	p.config.Mode = config.ModeSidecar
	err := p.run(ctx, t)
	if m := Message(err); Code(err) != 143 || !strings.Contains(m, "signal 15") || !strings.Contains(m, "the last login failed: ") || !strings.Contains(m, "starting") {
		t.Errorf("code %d, %v", Code(err), err)
	}
}

func TestSignalEndsRun(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	url, ca := gatetest.NewServer(t, func(w http.ResponseWriter, r *http.Request) {
		cancel(SignalError{15})
		gatetest.Hang(w, r)
	})
	p := newPod(t, url, ca.PEM())
	p.config.Timeout = time.Hour
	err := p.run(ctx, t)
	if Code(err) != 143 || !strings.Contains(Message(err), "signal 15") {
		t.Errorf("code %d, %v", Code(err), err)
	}
}

func TestEchoedSecretsStayOutOfTheLog(t *testing.T) {
	t.Parallel()
	url, ca := gatetest.NewServer(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		gatetest.Refuse(w, 403, "refused: "+string(body)) // the whole request, token and all
	})
	p := newPod(t, url, ca.PEM())
	err := p.run(t.Context(), t) // looks for secrets itself
	if Code(err) != ExitDenied || !strings.Contains(err.Error(), "[removed]") {
		t.Errorf("got %v", err)
	}
}

func TestMessage(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ in, want string }{
		"several errors become one line":  {"a\nb", "gatepass-agent: a; b"},
		"control characters are left out": {"a\x1b\x00b\tc", "gatepass-agent: a b c"},
		"invalid UTF-8 is replaced":       {"a\xffb", "gatepass-agent: a\ufffdb"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := Message(errors.New(tt.in)); got != tt.want {
				t.Errorf("got %q", got)
			}
		})
	}
	t.Run("a long text is cut at the kubelet's limit, at a whole character", func(t *testing.T) {
		t.Parallel()
		got := Message(errors.New(strings.Repeat("ä", 5000)))
		if len(got) > MaxMessage || len(got) < MaxMessage-16 || !strings.HasSuffix(got, "ä…") {
			t.Errorf("%d bytes ending in %q", len(got), got[len(got)-8:])
		}
	})
}

func TestWriteMessage(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "message")
	for _, text := range []string{"a long message", "short"} {
		if err := WriteMessage(path, text); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != text {
			t.Errorf("file holds %q, %v", got, err)
		}
	}
	if err := WriteMessage(t.TempDir(), "x"); err == nil {
		t.Error("a directory was written")
	}
}
