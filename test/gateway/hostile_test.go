package gateway_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gatepass/gatepass/test/cluster"
	"github.com/gatepass/gatepass/test/product"
)

// jws is a token in its parts. They are text, so that they may be what no library
// would write.
type jws struct{ header, claims string }

// opened takes a token apart.
func opened(t testing.TB, token string) jws {
	t.Helper()
	parts := strings.Split(token, ".")
	header := must(base64.RawURLEncoding.DecodeString(parts[0]))(t)
	return jws{string(header), string(must(base64.RawURLEncoding.DecodeString(parts[1]))(t))}
}

// with has more members in front of those of its header and its claims.
func (j jws) with(header, claims string) jws {
	return jws{strings.Replace(j.header, "{", "{"+header, 1), strings.Replace(j.claims, "{", "{"+claims, 1)}
}

// replaced has another text in its header or claims. There must be one to replace.
func (j jws) replaced(t testing.TB, old, text string) jws {
	t.Helper()
	if strings.Count(j.header, old)+strings.Count(j.claims, old) == 0 {
		t.Fatalf("%q is neither in %s nor in %s", old, j.header, j.claims)
	}
	return jws{strings.ReplaceAll(j.header, old, text), strings.ReplaceAll(j.claims, old, text)}
}

func (j jws) input() string { return segment(j.header) + "." + segment(j.claims) }

func segment(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

// signed is the token by ES256, whatever its header says.
func (j jws) signed(t testing.TB, key *ecdsa.PrivateKey) string {
	t.Helper()
	sum := sha256.Sum256([]byte(j.input()))
	r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	const size = 32 // bytes of each number, on P-256
	return j.input() + "." + segment(string(r.FillBytes(make([]byte, size)))+string(s.FillBytes(make([]byte, size))))
}

// hashed is the token by HS256, with any secret.
func (j jws) hashed(secret []byte) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(j.input()))
	return j.input() + "." + segment(string(mac.Sum(nil)))
}

// Tokens that look like a pod's and are not. denial_test.go has those that were one
// once, and those of other keys and issuers.
func TestHostileTokensAreRefused(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	pod(t, ns, "mypod1", "web")
	var c configFile
	id, config := c.add(kubernetes("boundNamespaces: ["+ns+"]"), gatewayReviewer)
	g := startGateway(t, c.String(), product.GatewayOptions{Kubeconfig: kubeconfig(t, delegator(t, ns, "gateway"))})
	ours, ok := apiServerKey(t).(*ecdsa.PrivateKey)
	if !ok {
		t.Fatal("the API server does not sign with ES256")
	}
	theirs := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	public := readFile(t, strings.TrimSuffix(shared.SigningKeyFile(), ".key")+".crt")
	genuine := opened(t, podToken(t, ns, "mypod1", "web"))
	var header struct{ Kid string }
	if err := json.Unmarshal([]byte(genuine.header), &header); err != nil {
		t.Fatal(err)
	}
	jwk := fmt.Sprintf(`{"kty":"EC","crv":"P-256","kid":"evil","x":%q,"y":%q}`,
		segment(string(theirs.X.FillBytes(make([]byte, 32)))), segment(string(theirs.Y.FillBytes(make([]byte, 32)))))
	valid := genuine.signed(t, ours)
	dots := strings.Split(valid, ".")
	past, future := time.Now().Add(-time.Hour).Unix(), time.Now().Add(time.Hour).Unix()
	const (
		malformed = "failed to validate token: not a JWT"
		forged    = "failed to validate token: the token is not signed by the API server"
		unknown   = "failed to validate token: the API server does not accept the token"
		gone      = "failed to validate token: the pod, service account or Secret that the token belongs to no longer exists, or no longer vouches for it"
		other     = "failed to validate token: the token is meant for another audience"
	)

	var tokens []string
	for _, tt := range []struct{ name, token, reason, words string }{
		{"the token that all others are made of is accepted", valid, "", ""},

		{"algorithm none without a signature", genuine.replaced(t, `"ES256"`, `"none"`).input() + ".", "token-malformed", malformed},
		{"algorithm none with the signature", genuine.replaced(t, `"ES256"`, `"none"`).input() + "." + dots[2], "token-signature", forged},
		{"HS256 with the public key as its secret", genuine.replaced(t, `"ES256"`, `"HS256"`).hashed(public), "token-signature", forged},
		{"ES256 in the header and an HMAC with the public key", genuine.hashed(public), "token-signature", forged},
		{"RS256 in the header and an ES256 signature", genuine.replaced(t, `"ES256"`, `"RS256"`).signed(t, ours), "token-signature", forged},
		{"an unknown key id", genuine.replaced(t, header.Kid, "../../../dev/null").signed(t, ours), "token-signature", forged},
		{"another key under an unknown key id", genuine.replaced(t, header.Kid, "evil").signed(t, theirs), "token-signature", forged},
		{"another key without a key id", genuine.replaced(t, `"kid":"`+header.Kid+`"`, `"typ":"JWT"`).signed(t, theirs), "token-signature", forged},
		{"its key in the header", genuine.with(`"jwk":`+jwk+`,`, "").signed(t, theirs), "token-signature", forged},
		{"where its key is, in the header", genuine.with(`"jku":"https://evil.example/keys","x5u":"https://evil.example/cert",`, "").replaced(t, header.Kid, "evil").signed(t, theirs), "token-signature", forged},
		{"a critical header that nobody knows", genuine.with(`"crit":["evil"],"evil":true,`, "").signed(t, ours), "token-signature", forged},
		{"a payload that is not in base64", genuine.with(`"crit":["b64"],"b64":false,`, "").signed(t, ours), "token-signature", forged},
		{"a header member twice", genuine.with(`"alg":"none",`, "").signed(t, ours), "token-not-accepted", unknown},

		{"a subject twice", genuine.with("", `"sub":"system:serviceaccount:kube-system:default",`).signed(t, ours), "token-malformed", malformed},
		{"an audience twice", genuine.with("", `"aud":["https://kubernetes.default.svc"],`).signed(t, ours), "token-malformed", malformed},
		{"its objects twice", genuine.with("", `"kubernetes.io":{"namespace":"kube-system","serviceaccount":{"name":"default","uid":"x"}},`).signed(t, ours), "token-malformed", malformed},
		{"no audience", genuine.replaced(t, `"aud":["gatepass"],`, "").signed(t, ours), "token-audience", other},
		{"an audience that begins like ours", genuine.replaced(t, `"gatepass"`, `"gatepass2"`).signed(t, ours), "token-audience", other},
		{"an audience in another case", genuine.replaced(t, `"gatepass"`, `"GATEPASS"`).signed(t, ours), "token-audience", other},
		{"an audience that is not text", genuine.replaced(t, `["gatepass"]`, `[["gatepass"]]`).signed(t, ours), "token-malformed", malformed},
		{"an end that is text", genuine.with("", `"Exp":1,`).replaced(t, `"exp":`, `"exp":"99999999999","was":`).signed(t, ours), "token-malformed", malformed},
		{"issued in the future only", genuine.replaced(t, `"iat":`, fmt.Sprintf(`"iat":%d,"was":`, future)).signed(t, ours), "token-not-yet-valid", "not valid yet"},
		{"issued long ago and expired", genuine.replaced(t, `"exp":`, fmt.Sprintf(`"exp":%d,"was":`, past)).signed(t, ours), "token-expired", "the token has expired"},
		{"claims that are a list", jws{genuine.header, "[" + genuine.claims + "]"}.signed(t, ours), "token-not-accepted", unknown},

		{"a service account whose name looks alike", genuine.replaced(t, `"name":"web"`, `"name":"w`+"\u0435"+`b"`).signed(t, ours), "token-revoked", gone},
		{"a pod whose name looks alike", genuine.replaced(t, `"name":"mypod1"`, `"name":"myp`+"\u043e"+`d1"`).signed(t, ours), "token-revoked", gone},
		{"a namespace with NUL behind it", genuine.replaced(t, `"namespace":"`+ns+`"`, `"namespace":"`+ns+`\u0000"`).signed(t, ours), "token-revoked", gone},
		{"a service account's name with a path", genuine.replaced(t, `"name":"web"`, `"name":"../web"`).signed(t, ours), "token-not-accepted", unknown},
		{"a service account of no name", genuine.replaced(t, `"name":"web"`, `"name":""`).signed(t, ours), "token-not-accepted", unknown},

		{"more bytes than any token has", genuine.with("", `"padding":"`+strings.Repeat("x", 16<<10)+`",`).signed(t, ours), "token-too-large", "too large"},
		{"a signature that is cut off", valid[:len(valid)-10], "token-signature", forged},
		{"no signature", dots[0] + "." + dots[1], "token-malformed", malformed},
		{"a payload that is cut off", dots[0] + "." + dots[1][:len(dots[1])-8] + "." + dots[2], "token-not-accepted", unknown},
		{"a fourth part", valid + ".e30", "token-malformed", malformed},
		{"the five parts of an encrypted token", segment(`{"alg":"dir","enc":"A256GCM"}`) + "..AAAA." + dots[1] + ".AAAA", "token-malformed", malformed},
		{"a JWS in JSON", `{"payload":"` + dots[1] + `","protected":"` + dots[0] + `","signature":"` + dots[2] + `"}`, "token-malformed", "neither a JWT nor base64"},
		{"padding", dots[0] + "=." + dots[1] + "." + dots[2], "token-malformed", malformed},
		{"a newline in the payload", dots[0] + "." + dots[1][:8] + "\n" + dots[1][8:] + "." + dots[2], "token-malformed", malformed},
		{"white space between its parts", dots[0] + ". " + dots[1] + "." + dots[2], "token-malformed", malformed},
		{"another alphabet of base64", dots[0] + "." + dots[1] + "." + strings.Repeat("+/", 43), "token-malformed", malformed},
		{"a full stop that only looks like one", strings.ReplaceAll(valid, ".", "\u2024"), "token-malformed", "neither a JWT nor base64"},
	} {
		tokens = append(tokens, tt.token)
		t.Run(tt.name, func(t *testing.T) { check(t, g, g.login(t, id, config, tt.token), tt.reason, tt.words) })
	}
	t.Run("none of them is in a log", func(t *testing.T) { checkUntold(t, g, tokens) })
}

// checkUntold looks for tokens, and for what is secret of them, in the gateway's logs.
func checkUntold(t *testing.T, g *gatewayProcess, tokens []string) {
	t.Helper()
	logs := g.Logs() + string(readFile(t, g.audit))
	for _, token := range tokens {
		parts := strings.Split(token, ".")
		for _, secret := range []string{token, parts[len(parts)-1]} {
			if len(secret) > 8 && strings.Contains(logs, secret) {
				t.Errorf("%.20s… is in a log", secret)
			}
		}
	}
}

// Tokens that the API server issued itself, and whose objects are not what they were.
func TestTokensEndWithWhatTheyAreBoundTo(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	var c configFile
	id, config := c.add(kubernetes("boundNamespaces: ["+ns+"]"), gatewayReviewer)
	podID, podConfig := c.add(kubernetes(`boundPodNames: ["*"]`), gatewayReviewer)
	g := startGateway(t, c.String(), product.GatewayOptions{Kubeconfig: kubeconfig(t, delegator(t, ns, "gateway"))})
	accounts, nodes := shared.Client.CoreV1().ServiceAccounts(ns), shared.Client.CoreV1().Nodes()

	account := func(t *testing.T, name string) {
		t.Helper()
		if err := shared.EnsureServiceAccount(t.Context(), ns, name); err != nil {
			t.Fatal(err)
		}
	}
	mint := func(t *testing.T, r cluster.TokenRequest) string {
		t.Helper()
		r.Namespace, r.Audience = ns, audience
		return must(shared.PodToken(t.Context(), r))(t)
	}
	// onNode is a token that is bound to a node, which is made if there is none.
	onNode := func(t *testing.T, name string) string {
		t.Helper()
		made, err := nodes.Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) {
			made, err = nodes.Get(t.Context(), name, metav1.GetOptions{})
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := nodes.Delete(context.Background(), name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
				t.Error(err)
			}
		})
		account(t, "daemon")
		request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
			Audiences:      []string{audience},
			BoundObjectRef: &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Node", Name: name, UID: made.UID},
		}}
		return must(accounts.CreateToken(t.Context(), "daemon", request, metav1.CreateOptions{}))(t).Status.Token
	}
	t.Run("a service account that was made again under its name is another", func(t *testing.T) {
		account(t, "again")
		check(t, g, g.login(t, id, config, mint(t, cluster.TokenRequest{ServiceAccount: "again"})), "", "")
		before := mint(t, cluster.TokenRequest{ServiceAccount: "again"}) // whose verdict is not kept, see refusedInTheEnd
		if err := accounts.Delete(t.Context(), "again", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		account(t, "again")
		refusedInTheEnd(t, g, id, config, before)
		check(t, g, g.login(t, id, config, mint(t, cluster.TokenRequest{ServiceAccount: "again"})), "", "")
	})
	t.Run("a pod of the same name and another service account has another token", func(t *testing.T) {
		pod(t, ns, "taken", "first")
		before := mint(t, cluster.TokenRequest{ServiceAccount: "first", Pod: "taken"})
		deletePod(t, ns, "taken")
		pod(t, ns, "taken", "second")
		refusedInTheEnd(t, g, podID, podConfig, before)
		check(t, g, g.login(t, podID, podConfig, mint(t, cluster.TokenRequest{ServiceAccount: "second", Pod: "taken"})), "", "")
	})
	t.Run("a token of a node ends with the node", func(t *testing.T) {
		check(t, g, g.login(t, id, config, onNode(t, ns+"-gone")), "", "")
		token := onNode(t, ns+"-gone")
		if err := nodes.Delete(t.Context(), ns+"-gone", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		refusedInTheEnd(t, g, id, config, token)
	})
	t.Run("a token of a node is no pod's", func(t *testing.T) {
		check(t, g, g.login(t, podID, podConfig, onNode(t, ns)), "token-not-pod-bound", "the token is not bound to a pod")
	})
}

func deletePod(t *testing.T, ns, name string) {
	t.Helper()
	now := int64(0)
	if err := shared.Client.CoreV1().Pods(ns).Delete(t.Context(), name, metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil {
		t.Fatal(err)
	}
}

// refusedInTheEnd logs in until the API server knows that the token was revoked. It
// judges by a cache that learns of a deletion a moment later, and repeats what it said
// of a token for 10 s (TokenSuccessCacheTTL of its options).
func refusedInTheEnd(t *testing.T, g *gatewayProcess, id, config, token string) {
	t.Helper()
	got := g.login(t, id, config, token)
	for until := time.Now().Add(15 * time.Second); got.status == http.StatusOK && time.Now().Before(until); {
		time.Sleep(100 * time.Millisecond)
		got = g.login(t, id, config, token)
	}
	check(t, g, got, "token-revoked", "no longer exists")
}
