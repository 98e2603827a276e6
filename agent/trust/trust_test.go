package trust

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/agent/gatetest"
)

func TestRootsOfBundle(t *testing.T) {
	t.Parallel()
	one, two := gatetest.NewAuthority(t, "one").PEM(), gatetest.NewAuthority(t, "two").PEM()
	key := "-----BEGIN EC PRIVATE KEY-----\nc2VjcmV0\n-----END EC PRIVATE KEY-----\n"
	for name, tt := range map[string]struct{ bundle, wantErr string }{
		"one certificate is read":                     {one, ""},
		"two certificates with comments are read":     {"# one\n" + one + "\n# two\n" + two + "\n# end\n", ""},
		"Windows line ends are read":                  {strings.ReplaceAll(one, "\n", "\r\n"), ""},
		"text without PEM is refused":                 {"hello", "holds no PEM certificate"},
		"a private key is refused and not quoted":     {one + key, `block 2 is a "EC PRIVATE KEY"`},
		"a bundle that is cut off is refused":         {one + two[:len(two)/2], "block 2 is cut off"},
		"a certificate that is no DER is refused":     {"-----BEGIN CERTIFICATE-----\nc2VjcmV0\n-----END CERTIFICATE-----\n", "certificate 1 can't be read"},
		"base64 that is broken in a block is refused": {strings.Replace(one, "M", "!", 1), "block 1 is cut off or is not valid PEM"},
		"a broken block before a good one is refused": {strings.Replace(one, "M", "!", 1) + two, "block 1 is cut off or is not valid PEM"},
		"files without a newline between are refused": {two + strings.TrimSpace(one) + two + one, "block 2 is cut off or is not valid PEM"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool, err := Roots(tt.bundle)
			if tt.wantErr == "" {
				if err != nil || pool == nil || pool.Equal(x509.NewCertPool()) {
					t.Errorf("got %v, %v", pool, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.wantErr) || strings.Contains(err.Error(), "c2VjcmV0") {
				t.Errorf("got %v, want %q", err, tt.wantErr)
			}
		})
	}
}

// The system's roots are read once per process, so each case needs its own.
func TestRootsWithoutBundle(t *testing.T) {
	t.Parallel()
	const variable = "GATEPASS_TEST_ROOTS"
	if os.Getenv(variable) != "" {
		pool, err := Roots("")
		if err != nil {
			t.Fatal(err)
		}
		built, err := builtIn()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Printf("built-in: %v, empty: %v\n", pool.Equal(built), pool.Equal(x509.NewCertPool()))
		return
	}
	dir := t.TempDir()
	file := dir + "/system.crt"
	if err := os.WriteFile(file, []byte(gatetest.NewAuthority(t, "system").PEM()), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct{ file, want string }{
		"the system's authorities are used where there are some": {file, "built-in: false, empty: false"},
		"the built-in ones are used where there are none":        {dir + "/none.crt", "built-in: true, empty: false"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestRootsWithoutBundle$")
			cmd.Env = append(os.Environ(), variable+"=1", "SSL_CERT_FILE="+tt.file, "SSL_CERT_DIR="+dir+"/no-directory")
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.Contains(string(out), tt.want) {
				t.Errorf("got %s, %v; want %q", out, err, tt.want)
			}
		})
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	c := Config(x509.NewCertPool(), "", nil)
	if c.MinVersion < tls.VersionTLS12 || c.InsecureSkipVerify || c.VerifyPeerCertificate != nil {
		t.Errorf("the settings are lax: %+v", c)
	}
}

// What real handshakes yield is tested with the client; these are the cases
// that a server can't easily be made to show.
func TestExplain(t *testing.T) {
	t.Parallel()
	authority := gatetest.NewAuthority(t, "the authority")
	issue := func(leaf gatetest.Leaf) *x509.Certificate {
		cert, err := x509.ParseCertificate(authority.Issue(t, leaf).Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		return cert
	}
	leaf := issue(gatetest.Leaf{})
	old := issue(gatetest.Leaf{From: time.Now().Add(-2 * time.Hour), Until: time.Now().Add(-time.Hour)})
	evil := &x509.Certificate{DNSNames: []string{"a\x1b[2Jb\n"}}
	for name, tt := range map[string]struct {
		err  error
		want string
	}{
		"an expired authority is told from an expired leaf": {x509.CertificateInvalidError{Cert: old, Reason: x509.Expired}, "the authority"},
		"a leaf that signs is named":                        {x509.CertificateInvalidError{Cert: leaf, Reason: x509.NotAuthorizedToSign}, "is no authority"},
		"a constrained authority is named":                  {x509.CertificateInvalidError{Cert: leaf, Reason: x509.CANotAuthorizedForThisName}, "may not issue for that name"},
		"other reasons keep their text":                     {x509.CertificateInvalidError{Cert: leaf, Reason: x509.TooManyConstraints}, "is invalid: x509:"},
		"other errors keep their text":                      {errors.New("something\nodd"), "can't be verified: something?odd"},
		"names can't disturb a terminal":                    {x509.HostnameError{Certificate: evil, Host: "h"}, "but for a?[2Jb?;"},
		"a certificate without names is told so":            {x509.HostnameError{Certificate: &x509.Certificate{}, Host: "h"}, "subject alternative names"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wrapped := fmt.Errorf("outer: %w", &tls.CertificateVerificationError{UnverifiedCertificates: []*x509.Certificate{leaf}, Err: tt.err})
			got, ok := Explain(wrapped, "gateway.example", "the gateway's url", time.Now())
			if !ok || !strings.Contains(got, tt.want) {
				t.Errorf("got %q, %v; want %q", got, ok, tt.want)
			}
		})
	}
	t.Run("an error of another kind is not explained", func(t *testing.T) {
		t.Parallel()
		if got, ok := Explain(errors.New("x"), "h", "x", time.Now()); ok || got != "" {
			t.Errorf("got %q, %v", got, ok)
		}
	})
}
