package gateway_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io/fs"
	"math/big"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// example is a command, as docs/gateway-api.md shows it.
type example struct {
	line            int
	paths           []string // the command's spellings
	request, answer string
}

// readExamples reads all pairs of JSON blocks under headings that name commands.
func readExamples(t testing.TB) []example {
	t.Helper()
	text, err := os.ReadFile("../docs/gateway-api.md")
	if err != nil {
		t.Fatal(err)
	}
	var all []example
	var paths []string
	var blocks []string
	inside := false
	name := regexp.MustCompile("`(/[a-z0-9-]+)`")
	for i, line := range strings.Split(string(text), "\n") {
		switch {
		case strings.HasPrefix(line, "#"):
			paths = nil
			for _, found := range name.FindAllStringSubmatch(line, -1) {
				paths = append(paths, found[1])
			}
		case line == "```json":
			inside = true
			blocks = append(blocks, "")
		case line == "```" && inside:
			inside = false
			if len(blocks) == 2 {
				all = append(all, example{i + 1, paths, blocks[0], blocks[1]})
				blocks = nil
			}
		case inside:
			blocks[len(blocks)-1] += line + "\n"
		}
	}
	if len(blocks) > 0 || len(all) == 0 {
		t.Fatalf("%d examples, and %d blocks that belong to none", len(all), len(blocks))
	}
	return all
}

func TestTheDocumentHasEveryCommand(t *testing.T) {
	t.Parallel()
	documented := map[string]bool{}
	for _, e := range readExamples(t) {
		for _, path := range e.paths {
			documented[path] = true
		}
	}
	routes, _ := newRig(t).RouteNames()
	for _, name := range slices.Concat(routes...) {
		if !documented["/"+name] {
			t.Errorf("/%s has no example", name)
		}
		delete(documented, "/"+name)
	}
	for path := range documented {
		t.Errorf("%s is documented and does not exist", path)
	}
}

// TestTheDocumentIsTrue runs every example in the order of the document, with what
// earlier ones answered in the place of text that is left out.
func TestTheDocumentIsTrue(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	known := map[string]string{
		"token": r.token, "access_id": r.admin.AccessID, "access_key": r.admin.AccessKey,
		"k8s_ca_cert": base64.StdEncoding.EncodeToString(certificate(t)), "token_reviewer_jwt": "head.body.sig",
	}
	for _, e := range readExamples(t) {
		var request, want map[string]any
		for text, v := range map[string]*map[string]any{e.request: &request, e.answer: &want} {
			if err := json.Unmarshal([]byte(text), v); err != nil {
				t.Fatalf("line %d: %v", e.line, err)
			}
		}
		for field, value := range request {
			if text, ok := value.(string); ok && strings.Contains(text, "…") {
				request[field] = known[rememberedAs(field)]
				if request[field] == "" {
					t.Fatalf("line %d: nothing is known for %s", e.line, field)
				}
			}
		}
		body, err := json.Marshal(request)
		r.must(err)
		status, _, got := r.post(e.paths[0], string(body))
		if status != http.StatusOK {
			t.Fatalf("line %d: %s: %d %v", e.line, e.paths[0], status, got)
		}
		if difference := differ("answer", want, got); difference != "" {
			t.Errorf("line %d: %s: %s", e.line, e.paths[0], difference)
		}
		for _, field := range []string{"access_id", "access_key", "prv_key", "assoc_id"} {
			if text, ok := got[field].(string); ok {
				known[field] = text
			}
		}
		if e.paths[0] == "/create-auth-method" { // the auth configs belong to the other one
			known["access_id"] = known["k8s"]
		} else {
			known["k8s"] = known["access_id"]
		}
	}
}

// rememberedAs is the field of an answer that has what a request's field takes.
func rememberedAs(field string) string {
	if field == "signing-key" {
		return "prv_key"
	}
	return strings.ReplaceAll(field, "-", "_")
}

// differ says where an answer is not as documented.
func differ(where string, want, got any) string {
	same := false
	switch want := want.(type) {
	case bool:
		same = got == want
	case string:
		same = sameText(want, got)
	case float64:
		number, ok := got.(float64)
		isTime := want >= 1e9 && number >= 1e9
		isRest := strings.HasSuffix(where, ".ttl") && number > want-10 && number <= want
		same = ok && (number == want || isTime || isRest)
	case map[string]any:
		object, ok := got.(map[string]any)
		if same = ok && len(object) == len(want); same {
			for name, value := range want {
				if difference := differ(where+"."+name, value, object[name]); difference != "" {
					return difference
				}
			}
		}
	case []any:
		list, ok := got.([]any)
		if same = ok && len(list) == len(want); same {
			for i := range want {
				if difference := differ(fmt.Sprintf("%s[%d]", where, i), want[i], list[i]); difference != "" {
					return difference
				}
			}
		}
	}
	if !same {
		return fmt.Sprintf("%s is %v, want %v", where, got, want)
	}
	return ""
}

// sameText compares text, of which a part may be left out, or a time.
func sameText(want string, got any) bool {
	text, ok := got.(string)
	before, after, open := strings.Cut(want, "…")
	switch {
	case !ok:
		return false
	case strings.HasPrefix(want, "2026-"):
		_, err := time.Parse(time.RFC3339, text)
		return err == nil
	case open:
		return strings.HasPrefix(text, before) && strings.HasSuffix(text, after) && len(text) > len(before)
	}
	return text == want
}

// certificate is a CA certificate in PEM.
func certificate(t testing.TB) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// TestEveryMetricIsDocumented reads the names from the sources, so that none can be
// forgotten.
func TestEveryMetricIsDocumented(t *testing.T) {
	t.Parallel()
	document, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	name := regexp.MustCompile(`"(gatepass_gateway_[a-z_]+)"`)
	documented := regexp.MustCompile("gatepass_gateway_[a-z_]+")
	known := map[string]bool{}
	sources := os.DirFS(".")
	err = fs.WalkDir(sources, ".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := fs.ReadFile(sources, path)
		if err != nil {
			return err
		}
		for _, found := range name.FindAllStringSubmatch(string(source), -1) {
			known[found[1]] = true
		}
		return nil
	})
	if err != nil || len(known) == 0 {
		t.Fatalf("%d metrics, %v", len(known), err)
	}
	told := map[string]bool{}
	for _, found := range documented.FindAllString(string(document), -1) {
		told[found] = true
		if !known[found] {
			t.Errorf("%s is documented and does not exist", found)
		}
	}
	for metric := range known {
		if !told[metric] {
			t.Errorf("%s is not in docs/operations.md", metric)
		}
	}
}
