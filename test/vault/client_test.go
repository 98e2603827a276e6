package vault_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/vault/api"
	"github.com/hashicorp/vault/api/auth/kubernetes"

	"github.com/gatepass/gatepass/test/await"
	"github.com/gatepass/gatepass/test/cluster"
)

// readers is a role of the gateway that may read the items below /apps.
func (g *gateway) readers(t testing.TB, admin *api.Client, name string, capabilities ...string) {
	t.Helper()
	g.v2(t, "/create-role", map[string]any{"token": admin.Token(), "name": name})
	g.v2(t, "/set-role-rule", map[string]any{"token": admin.Token(), "role-name": name, "path": "/apps/*", "capability": capabilities, "rule-type": "item-rule"})
}

// login is Vault's own Kubernetes login.
func login(t testing.TB, client *api.Client, mount, role, jwt string) *api.Secret {
	t.Helper()
	method := must(kubernetes.NewKubernetesAuth(role, kubernetes.WithServiceAccountToken(jwt), kubernetes.WithMountPath(mount)))(t)
	return must(client.Auth().Login(t.Context(), method))(t)
}

// refused checks the answer to a request that Vault's client made.
func refused(t testing.TB, err error, status int, texts ...string) {
	t.Helper()
	var answer *api.ResponseError
	if !errors.As(err, &answer) {
		t.Errorf("error %v, want %d", err, status)
		return
	}
	if answer.StatusCode != status || !slices.Equal(answer.Errors, texts) {
		t.Errorf("%d %q, want %d %q", answer.StatusCode, answer.Errors, status, texts)
	}
}

func number(t testing.TB, value any) int64 {
	t.Helper()
	n, ok := value.(json.Number)
	if !ok {
		t.Fatalf("%v is a %T", value, value)
	}
	return must(n.Int64())(t)
}

func TestVaultsGoClient(t *testing.T) {
	t.Parallel()
	g := startGateway(t)
	admin := g.admin(t)
	ns := pod(t, "web-1", "web")
	g.readers(t, admin, "app-readers", "read")
	mount(t, admin, "kubernetes", "web", ns, map[string]any{"token_ttl": "15m", "token_max_ttl": "1h", "token_policies": "app-readers"})
	jwt := token(t, cluster.TokenRequest{Namespace: ns, ServiceAccount: "web", Pod: "web-1"})
	g.v2(t, "/create-secret", map[string]any{"token": admin.Token(), "name": "/apps/web/text", "value": "s3cret"})
	g.v2(t, "/create-secret", map[string]any{"token": admin.Token(), "name": "/other", "value": "x"})
	must(admin.KVv2("secret").Put(t.Context(), "apps/web/db", map[string]any{"user": "u", "password": "p1"}))(t)
	must(admin.KVv2("secret").Put(t.Context(), "apps/web/db", map[string]any{"user": "u", "password": "p2"}))(t)

	client := g.vault(t, "")
	given := login(t, client, "kubernetes", "web", jwt)
	t.Run("the login has what Vault's has", func(t *testing.T) {
		want := map[string]string{"role": "web", "service_account_name": "web", "service_account_namespace": ns, "service_account_secret_name": "",
			"service_account_uid": given.Auth.Metadata["service_account_uid"]}
		if diff := cmp.Diff(want, given.Auth.Metadata); diff != "" || want["service_account_uid"] == "" {
			t.Errorf("metadata %s", diff)
		}
		if given.Auth.LeaseDuration != 900 || !given.Auth.Renewable || given.Auth.Accessor == "" || !given.Auth.Orphan || given.LeaseID != "" || given.RequestID == "" {
			t.Errorf("%+v", given.Auth)
		}
	})
	t.Run("lookup-self tells of the session", func(t *testing.T) {
		found := must(client.Auth().Token().LookupSelf())(t)
		if id := must(found.TokenID())(t); id != client.Token() {
			t.Errorf("id %.20s…", id)
		}
		if accessor := must(found.TokenAccessor())(t); accessor != given.Auth.Accessor {
			t.Errorf("accessor %q, want %q", accessor, given.Auth.Accessor)
		}
		if ttl := must(found.TokenTTL())(t); ttl < 14*time.Minute || ttl > 15*time.Minute {
			t.Errorf("ttl %s", ttl)
		}
		if !must(found.TokenIsRenewable())(t) || found.Data["path"] != "auth/kubernetes/login" || number(t, found.Data["explicit_max_ttl"]) != 3600 {
			t.Errorf("%v", found.Data)
		}
	})
	t.Run("items are a key-value engine of version 2", func(t *testing.T) { readsItems(t, client) })
	t.Run("what the session may not do is denied", func(t *testing.T) {
		_, err := client.KVv2("secret").Get(t.Context(), "other")
		refused(t, err, http.StatusForbidden, "permission denied")
		_, err = client.KVv2("secret").Put(t.Context(), "apps/web/db", map[string]any{"a": "b"})
		refused(t, err, http.StatusForbidden, "permission denied")
		_, err = client.Logical().Read("auth/kubernetes/role/web")
		refused(t, err, http.StatusForbidden, "permission denied")
	})
	t.Run("a revoked session is over at once", func(t *testing.T) {
		if err := client.Auth().Token().RevokeSelf(""); err != nil {
			t.Fatal(err)
		}
		_, err := client.Auth().Token().LookupSelf()
		refused(t, err, http.StatusForbidden, "permission denied", "invalid token")
		_, err = client.KVv2("secret").Get(t.Context(), "apps/web/text")
		refused(t, err, http.StatusForbidden, "permission denied", "invalid token")
	})
	accessor := `"session":"` + given.Auth.Accessor + `"`
	if !slices.ContainsFunc(g.records(t), func(line string) bool { return strings.Contains(line, accessor) }) {
		t.Errorf("the audit log does not name the session %s", accessor)
	}
	for _, line := range g.records(t) {
		if strings.Contains(line, jwt) || strings.Contains(line, given.Auth.ClientToken) || strings.Contains(line, "s3cret") {
			t.Errorf("a secret is in the audit log: %.200s…", line)
		}
	}
}

func readsItems(t *testing.T, client *api.Client) {
	kv := client.KVv2("secret")
	if got := must(kv.Get(t.Context(), "apps/web/text"))(t); got.Data["value"] != "s3cret" || got.VersionMetadata.Version != 1 || got.VersionMetadata.CreatedTime.IsZero() {
		t.Errorf("text: %v %+v", got.Data, got.VersionMetadata)
	}
	if got := must(kv.Get(t.Context(), "apps/web/db"))(t); got.Data["user"] != "u" || got.Data["password"] != "p2" || got.VersionMetadata.Version != 2 {
		t.Errorf("object: %v %+v", got.Data, got.VersionMetadata)
	}
	if got := must(kv.GetVersion(t.Context(), "apps/web/db", 1))(t); got.Data["password"] != "p1" || got.VersionMetadata.Version != 1 {
		t.Errorf("the first version: %v %+v", got.Data, got.VersionMetadata)
	}
	if got := must(kv.GetMetadata(t.Context(), "apps/web/db"))(t); got.CurrentVersion != 2 || len(got.Versions) != 2 {
		t.Errorf("metadata: %+v", got)
	}
	if got := must(kv.GetVersionsAsList(t.Context(), "apps/web/db"))(t); len(got) != 2 || got[1].Version != 2 {
		t.Errorf("versions: %+v", got)
	}
	if _, err := kv.Get(t.Context(), "apps/none"); !errors.Is(err, api.ErrSecretNotFound) {
		t.Errorf("an item that is not there: %v", err)
	}
	for folder, want := range map[string][]any{"": {"apps/"}, "apps": {"web/"}, "apps/": {"web/"}, "apps/web": {"db", "text"}} {
		got := must(client.Logical().List("secret/metadata/" + folder))(t)
		if diff := cmp.Diff(want, got.Data["keys"]); diff != "" {
			t.Errorf("the list of %q: %s", folder, diff)
		}
	}
	if got := must(client.Logical().List("secret/metadata/apps/none"))(t); got != nil {
		t.Errorf("the list of nothing: %v", got.Data)
	}
}

func TestASessionLivesAsLongAsItIsRenewed(t *testing.T) {
	t.Parallel()
	g := startGateway(t)
	admin := g.admin(t)
	ns := pod(t, "web-1", "web")
	mount(t, admin, "kubernetes", "web", ns, map[string]any{"token_ttl": "10s", "token_max_ttl": "60s"})
	jwt := token(t, cluster.TokenRequest{Namespace: ns, ServiceAccount: "web", Pod: "web-1"})
	left, kept := g.vault(t, ""), g.vault(t, "")
	login(t, left, "kubernetes", "web", jwt)
	given := login(t, kept, "kubernetes", "web", jwt)

	watcher := must(kept.NewLifetimeWatcher(&api.LifetimeWatcherInput{Secret: given}))(t)
	go watcher.Start()
	t.Cleanup(watcher.Stop)
	// The one that nobody renews ends with its lease.
	var err error
	await.Until(t, "the session that is not renewed ends", func() bool {
		_, err = left.Auth().Token().LookupSelf()
		return err != nil
	})
	refused(t, err, http.StatusForbidden, "permission denied", "invalid token")
	await.Until(t, "the other session outlives its first lease", func() bool {
		found := must(kept.Auth().Token().LookupSelf())(t)
		return time.Since(time.Unix(number(t, found.Data["creation_time"]), 0)) > 11*time.Second
	})
	select {
	case renewed := <-watcher.RenewCh():
		if renewed.Secret.Auth.ClientToken != given.Auth.ClientToken || renewed.Secret.Auth.LeaseDuration > 10 {
			t.Errorf("renewed to %+v", renewed.Secret.Auth)
		}
	case err := <-watcher.DoneCh():
		t.Errorf("renewing ended: %v", err)
	default:
		t.Error("the session lives, and was not renewed")
	}
	_, err = left.Auth().Token().RenewSelf(0)
	refused(t, err, http.StatusForbidden, "permission denied", "invalid token")

	writeRole(t, admin, "kubernetes", "short", ns, map[string]any{"token_ttl": "1m"})
	if given := login(t, left, "kubernetes", "short", jwt); given.Auth.Renewable {
		t.Errorf("without a maximum it is %+v", given.Auth)
	}
	_, err = left.Auth().Token().RenewSelf(0)
	refused(t, err, http.StatusBadRequest, "lease is not renewable")
}

func TestWritingItems(t *testing.T) {
	t.Parallel()
	g := startGateway(t)
	admin := g.admin(t)
	ns := pod(t, "web-1", "web")
	g.readers(t, admin, "creators", "create")
	mount(t, admin, "kubernetes", "web", ns, map[string]any{"token_policies": []string{"creators", "default"}})
	kv := admin.KVv2("secret")
	const mismatch = "check-and-set parameter did not match the current version"

	written := must(kv.Put(t.Context(), "apps/a", map[string]any{"value": "one"}, api.WithCheckAndSet(0)))(t)
	if written.VersionMetadata.Version != 1 || written.VersionMetadata.CreatedTime.IsZero() {
		t.Errorf("%+v", written.VersionMetadata)
	}
	_, err := kv.Put(t.Context(), "apps/a", map[string]any{"value": "two"}, api.WithCheckAndSet(0))
	refused(t, err, http.StatusBadRequest, mismatch)
	_, err = kv.Put(t.Context(), "apps/a", map[string]any{"value": "two"}, api.WithCheckAndSet(2))
	refused(t, err, http.StatusBadRequest, mismatch)
	_, err = kv.Put(t.Context(), "apps/none", map[string]any{"value": "two"}, api.WithCheckAndSet(1))
	refused(t, err, http.StatusBadRequest, mismatch)
	if got := must(kv.Put(t.Context(), "apps/a", map[string]any{"value": "two"}, api.WithCheckAndSet(1)))(t); got.VersionMetadata.Version != 2 {
		t.Errorf("%+v", got.VersionMetadata)
	}
	got := g.v2(t, "/get-secret-value", map[string]any{"token": admin.Token(), "names": []string{"/apps/a"}})
	if got["/apps/a"] != "two" {
		t.Errorf("the V2 API has %v", got)
	}
	must(kv.Patch(t.Context(), "apps/a", map[string]any{"more": "x"}, api.WithMergeMethod(api.KVMergeMethodReadWrite)))(t)
	if got := must(kv.Get(t.Context(), "apps/a"))(t); got.Data["value"] != "two" || got.Data["more"] != "x" {
		t.Errorf("after a patch: %v", got.Data)
	}
	refused(t, kv.Delete(t.Context(), "apps/a"), http.StatusMethodNotAllowed, "unsupported operation")
	if err := kv.DeleteMetadata(t.Context(), "apps/a"); err != nil {
		t.Error(err)
	}
	if _, err := kv.Get(t.Context(), "apps/a"); !errors.Is(err, api.ErrSecretNotFound) {
		t.Errorf("deleted: %v", err)
	}

	creator := g.vault(t, "")
	login(t, creator, "kubernetes", "web", token(t, cluster.TokenRequest{Namespace: ns, ServiceAccount: "web", Pod: "web-1"}))
	must(creator.KVv2("secret").Put(t.Context(), "apps/new", map[string]any{"a": "1"}))(t)
	_, err = creator.KVv2("secret").Put(t.Context(), "apps/new", map[string]any{"a": "2"})
	refused(t, err, http.StatusForbidden, "permission denied")
	_, err = creator.KVv2("secret").Get(t.Context(), "apps/new")
	refused(t, err, http.StatusForbidden, "permission denied")
	_, err = creator.KVv2("secret").Put(t.Context(), "elsewhere", map[string]any{"a": "1"})
	refused(t, err, http.StatusForbidden, "permission denied")
}

func TestSystemPaths(t *testing.T) {
	t.Parallel()
	g := startGateway(t)
	client := g.vault(t, "")
	if got := must(client.Sys().Health())(t); !got.Initialized || got.Sealed || got.Standby || got.Version == "" {
		t.Errorf("health %+v", got)
	}
	if got := must(client.Sys().SealStatus())(t); !got.Initialized || got.Sealed {
		t.Errorf("seal status %+v", got)
	}
	if status, _ := g.request(t, http.MethodHead, "/v1/sys/health", nil); status != http.StatusOK {
		t.Errorf("HEAD: %d", status)
	}
	got := must(g.admin(t).Logical().Read("sys/internal/ui/mounts/secret/apps/web"))(t)
	if got.Data["path"] != "secret/" || got.Data["type"] != "kv" || !cmp.Equal(got.Data["options"], any(map[string]any{"version": "2"})) {
		t.Errorf("mount %v", got.Data)
	}
	_, err := client.Logical().Read("sys/internal/ui/mounts/secret/apps/web")
	refused(t, err, http.StatusForbidden, "permission denied")
}
