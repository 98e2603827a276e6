package gateway_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gatepass/gatepass/gateway/handover"
	"github.com/gatepass/gatepass/test/await"
	"github.com/gatepass/gatepass/test/pki"
	"github.com/gatepass/gatepass/test/process"
	"github.com/gatepass/gatepass/test/product"
)

// keepingGateway runs a gateway that puts its administrator's credentials into a
// Secret.
func keepingGateway(t *testing.T, access, ns, secret string) *gatewayProcess {
	t.Helper()
	var c configFile
	c.add(kubernetes(""), gatewayReviewer)
	return startGateway(t, c.String(), product.GatewayOptions{Kubeconfig: access, ExtraArgs: []string{"--admin-credentials-secret=" + ns + "/" + secret}})
}

func (g *gatewayProcess) admits(t *testing.T, id, key []byte) bool {
	t.Helper()
	return g.post(t, "/auth", map[string]string{"access-type": "access_key", "access-id": string(id), "access-key": string(key)}).status == http.StatusOK
}

func TestTheAdministratorsSecret(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	access := kubeconfig(t, delegator(t, ns, "gateway"))
	name := emptySecret(t, ns, "gateway")
	secrets := shared.Client.CoreV1().Secrets(ns)
	read := func() *corev1.Secret { return must(secrets.Get(t.Context(), name, metav1.GetOptions{}))(t) }

	// Somebody else's is left alone, and the gateway does the rest of its work.
	theirs := read()
	theirs.Data = map[string][]byte{"password": []byte("theirs")}
	must(secrets.Update(t.Context(), theirs, metav1.UpdateOptions{}))(t)
	first := keepingGateway(t, access, ns, name)
	await.Until(t, "the gateway says what is wrong", func() bool {
		return strings.Contains(first.Logs(), "the Secret "+ns+"/"+name+": it holds something else than access-id and access-key")
	})
	if held := read(); len(held.Data) != 1 || string(held.Data["password"]) != "theirs" {
		t.Fatal("somebody's Secret was changed")
	}

	// Once it is empty two gateways race for it, and both have the winner's.
	theirs = read()
	theirs.Data = nil
	must(secrets.Update(t.Context(), theirs, metav1.UpdateOptions{}))(t)
	second := keepingGateway(t, access, ns, name)
	for _, g := range []*gatewayProcess{first, second} {
		await.Until(t, "the administrator logs in with what the Secret holds", func() bool {
			held := read().Data
			return len(held) == 2 && g.admits(t, held[handover.AccessIDKey], held[handover.AccessKeyKey])
		}, first.Logs, second.Logs)
		if key := string(read().Data[handover.AccessKeyKey]); strings.Contains(g.Logs(), key) {
			t.Error("the key is in the log")
		}
	}
}

func TestASecretThatCanNotBeUsed(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	access := kubeconfig(t, delegator(t, ns, "gateway"))
	emptySecret(t, ns, "gateway")
	must(shared.Client.CoreV1().Secrets(ns).Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "others"}}, metav1.CreateOptions{}))(t)
	g := keepingGateway(t, access, ns, "others")
	await.Until(t, "the gateway says what it needs", func() bool {
		return strings.Contains(g.Logs(), "the gateway needs the verbs get and update on it")
	}, g.Logs)
}

var told = regexp.MustCompile(`Access ID: (\S+)\nAccess Key: (\S+)\n`)

// A gateway is killed as soon as it has begun to tell the credentials, which may be
// before they are good for anything.
func TestAdministratorsCredentialsSurviveAKill(t *testing.T) {
	t.Parallel()
	guard := must(process.NewGuard())(t)
	t.Cleanup(func() {
		if err := guard.Release(); err != nil {
			t.Error(err)
		}
	})
	certFile, keyFile, err := must(must(pki.NewCA("gateway-test"))(t).Server("127.0.0.1"))(t).Write(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	const kills = 5
	seen := map[string]bool{}
	for n := range kills {
		t.Run(fmt.Sprintf("kill %d", n+1), func(t *testing.T) {
			dir, file := t.TempDir(), filepath.Join(t.TempDir(), "administrator")
			p := must(process.Start(process.Options{
				Name: fmt.Sprintf("gateway-%d", n), Path: commands.Path(product.Gateway), Guard: guard,
				Args: []string{
					"serve", "--data-dir=" + dir, "--issuer=" + issuer, "--listen=127.0.0.1:0", "--metrics-bind-address=0", "--health-probe-bind-address=0",
					"--tls-cert=" + certFile, "--tls-key=" + keyFile, "--admin-credentials-file=" + file,
				},
			}))(t)
			await.Until(t, "the credentials are being told", func() bool {
				_, err := os.Stat(file)
				return err == nil
			}, p.Logs)
			if err := p.Kill(); err != nil {
				t.Fatal(err)
			}
			found := told.FindStringSubmatch(string(must(os.ReadFile(file))(t)))
			if found == nil {
				t.Fatal("the file is not whole")
			}
			g := startGateway(t, "", product.GatewayOptions{DataDir: dir, ExtraArgs: []string{"--config=", "--issuer=" + issuer, "--admin-credentials-file=" + file}})
			await.Until(t, "the administrator logs in with what was told", func() bool { return g.admits(t, []byte(found[1]), []byte(found[2])) }, g.Logs)
			if seen[found[1]] {
				t.Error("two administrators have one access id")
			}
			seen[found[1]] = true
		})
	}
}
