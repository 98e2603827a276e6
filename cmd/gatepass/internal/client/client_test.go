package client_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gatepass/gatepass/agent/gatetest"
	"github.com/gatepass/gatepass/cmd/gatepass/internal/client"
	v2 "github.com/gatepass/gatepass/gateway/v2"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newClient(t *testing.T, url, ca string) *client.Client {
	t.Helper()
	c, err := client.New(client.Options{URL: url, CABundle: ca, Timeout: 10 * time.Second, UserAgent: "gatepass/test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// call sends a request with a session token and a secret's value to a server that
// answers so.
func call(t *testing.T, answer http.HandlerFunc) (v2.UpdatedSecretValue, error) {
	t.Helper()
	url, ca := gatetest.NewServer(t, answer)
	var got v2.UpdatedSecretValue
	err := newClient(t, url, ca.PEM()).Call(t.Context(), "update-secret-val", request(), &got, request().Token, request().Value)
	return got, err
}

func request() *v2.UpdateSecretValue {
	return &v2.UpdateSecretValue{
		Credentials: v2.Credentials{Token: "t-0123456789abcdef0123456789abcdef"},
		Name:        "/demo/app/db-password",
		Value:       "correct horse battery staple",
	}
}

func TestACommandIsSentAndItsAnswerRead(t *testing.T) {
	t.Parallel()
	got, err := call(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		const want = `{"token":"t-0123456789abcdef0123456789abcdef","name":"/demo/app/db-password","value":"correct horse battery staple"}`
		if err != nil || string(body) != want || r.URL.Path != "/update-secret-val" || r.Method != http.MethodPost ||
			r.Header.Get("Content-Type") != "application/json" || r.UserAgent() != "gatepass/test" {
			t.Errorf("%s %s %v: %s, %v", r.Method, r.URL, r.Header, body, err)
		}
		_, _ = io.WriteString(w, `{"name":"/demo/app/db-password","version":2,"of_a_later_gateway":true}`)
	})
	if err != nil || got.Version != 2 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestFailuresAreOneLineWithoutSecrets(t *testing.T) {
	t.Parallel()
	echo := func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		gatetest.Refuse(w, http.StatusBadRequest, "no:\n"+string(body)+" eyJhbGciOiJFUzI1NiJ9.e30.c2ln")
	}
	for _, tt := range []struct {
		name   string
		answer http.HandlerFunc
		status int
		want   string
	}{
		{"the gateway's reason is passed on", func(w http.ResponseWriter, _ *http.Request) {
			gatetest.Refuse(w, http.StatusNotFound, "item not found")
		}, 404, "the gateway refused update-secret-val (404 Not Found): item not found"},
		{"what it sends back of a request is taken out", echo, 400, `"name":"/demo/app/db-password","value":"[removed]"} [removed]`},
		{"when to come again is told", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "5")
			gatetest.Refuse(w, http.StatusServiceUnavailable, "the store is away")
		}, 503, "the store is away; try again after 5 s"},
		{"when to come again is told once", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "5")
			gatetest.Refuse(w, http.StatusServiceUnavailable, "the store is not available; try again")
		}, 503, "the store is not available; try again after 5 s"},
		{"a redirect is not followed", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://elsewhere.example", http.StatusTemporaryRedirect)
		}, 307, "redirect (307 Temporary Redirect), which is not followed"},
		{"an error page is no gateway's", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadGateway)
			_, _ = io.WriteString(w, "<html>")
		}, 502, "answered 502 Bad Gateway, and not as a gateway does"},
		{"a welcome page is no gateway's", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }, 0, "did not answer with what this command expects"},
		{"an answer of another shape is not taken", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"version":"correct horse battery staple"}`)
		}, 0, "did not answer with what this command expects"},
		{"an answer that breaks off is told", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, `{`)
		}, 0, "broke off"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := call(t, tt.answer)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("%v, want %q", err, tt.want)
			}
			for _, secret := range []string{"correct horse", "0123456789abcdef", "eyJ", "\n"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("%q holds %q", err, secret)
				}
			}
			refused, _ := errors.AsType[*client.Error](err)
			if refused == nil && tt.status != 0 || refused != nil && refused.Status != tt.status {
				t.Errorf("%#v, want status %d", err, tt.status)
			}
		})
	}
}

func TestServersThatCantBeTrustedGetNothing(t *testing.T) {
	t.Parallel()
	url, _ := gatetest.NewServer(t, func(http.ResponseWriter, *http.Request) { t.Error("a request came through") })
	other := gatetest.NewAuthority(t, "another authority").PEM()
	err := newClient(t, url, other).Call(t.Context(), "auth", &v2.Auth{}, &v2.AuthAnswer{})
	if err == nil || !strings.Contains(err.Error(), "which is not among the trusted authorities") {
		t.Error(err)
	}
}

// patient connections end when the client's side has. What was not read would else
// make the kernel throw away the last words, which are why.
type patient struct{ net.Listener }

func (p patient) Accept() (net.Conn, error) {
	c, err := p.Listener.Accept()
	if err != nil {
		return nil, err
	}
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return nil, errors.New("not TCP")
	}
	return patientConn{tcp}, nil
}

type patientConn struct{ *net.TCPConn }

func (c patientConn) Close() error {
	_ = c.CloseWrite()
	_, _ = io.Copy(io.Discard, c.TCPConn)
	return c.TCPConn.Close()
}

func TestAGatewayUnderAnotherNameThatAsksForACertificate(t *testing.T) {
	t.Parallel()
	authority := gatetest.NewAuthority(t, "authority")
	own := authority.Issue(t, gatetest.Leaf{Usage: x509.ExtKeyUsageClientAuth})
	clients := x509.NewCertPool()
	clients.AppendCertsFromPEM([]byte(authority.PEM()))
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"version":2}`) }))
	server.TLS = &tls.Config{
		Certificates: []tls.Certificate{authority.Issue(t, gatetest.Leaf{Names: []string{"gateway.example"}})},
		ClientCAs:    clients, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12,
	}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.Listener = patient{server.Listener}
	server.StartTLS()
	t.Cleanup(server.Close)
	stranger := gatetest.NewAuthority(t, "another authority").Issue(t, gatetest.Leaf{Usage: x509.ExtKeyUsageClientAuth})
	expired := authority.Issue(t, gatetest.Leaf{Usage: x509.ExtKeyUsageClientAuth, Until: time.Now().Add(-time.Minute)})
	for _, tt := range []struct {
		name, serverName string
		own              *tls.Certificate
		failure          string
	}{
		{"who knows both", "gateway.example", &own, ""},
		{"who goes by the address", "", &own, "the certificate is not valid for 127.0.0.1 but for gateway.example"},
		{"who has no certificate", "gateway.example", nil, "it asks for a client certificate of an authority that it knows; use --client-certificate and --client-key"},
		{"who has another authority's", "gateway.example", &stranger, "it asks for a client certificate"},
		{"who has one that has expired", "gateway.example", &expired, "is the client certificate one that it takes?"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, err := client.New(client.Options{URL: server.URL, CABundle: authority.PEM(), ServerName: tt.serverName, Certificate: tt.own, Timeout: 10 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(c.Close)
			var got v2.UpdatedSecretValue
			err = c.Call(t.Context(), "update-secret-val", request(), &got)
			if tt.failure == "" {
				if err != nil || got.Version != 2 {
					t.Errorf("%+v, %v", got, err)
				}
			} else if err == nil || !strings.Contains(err.Error(), tt.failure) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestNothingIsSentThatIsNotText(t *testing.T) {
	t.Parallel()
	url, ca := gatetest.NewServer(t, func(http.ResponseWriter, *http.Request) { t.Error("a request came through") })
	err := newClient(t, url, ca.PEM()).Call(t.Context(), "create-secret", &v2.CreateSecret{Name: "/a", Value: "\xff"}, &v2.Named{})
	if err == nil || !strings.Contains(err.Error(), "not UTF-8") {
		t.Error(err)
	}
}

func TestEmptyTextThatWasGivenIsSent(t *testing.T) {
	t.Parallel()
	url, ca := gatetest.NewServer(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if want := `{"name":"a","description":""}`; err != nil || string(body) != want {
			t.Errorf("%s, %v; want %s", body, err, want)
		}
		_, _ = io.WriteString(w, `{}`)
	})
	empty := ""
	if err := newClient(t, url, ca.PEM()).Call(t.Context(), "update-role", &v2.UpdateRole{Name: "a", Description: &empty}, &v2.Updated{}); err != nil {
		t.Error(err)
	}
}

func TestACallEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	url, ca := gatetest.NewServer(t, func(w http.ResponseWriter, r *http.Request) {
		cancel()
		gatetest.Hang(w, r)
	})
	err := newClient(t, url, ca.PEM()).Call(ctx, "auth", &v2.Auth{}, &v2.AuthAnswer{})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestAClientNeedsAnAddressItCanTrust(t *testing.T) {
	t.Parallel()
	for want, o := range map[string]client.Options{
		"must begin with https://": {URL: "http://gateway.example", Timeout: time.Second},
		"must be set":              {Timeout: time.Second},
		"the timeout":              {URL: "https://gateway.example"},
		"CA certificates":          {URL: "https://gateway.example", Timeout: time.Second, CABundle: "none"},
	} {
		if _, err := client.New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
