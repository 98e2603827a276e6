package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	v2 "github.com/gatepass/gatepass/gateway/v2"
)

// newMethodCommands are the commands about auth methods in the older spelling.
func newMethodCommands() []*cobra.Command {
	return []*cobra.Command{
		newCreateMethodK8s("create-auth-method-k8s"),
		newCreateMethodKey("create-auth-method"),
		newUpdateMethodK8s("update-auth-method-k8s"),
		newUpdateMethodKey("update-auth-method"),
		newGetMethod("get-auth-method"),
		newListMethods("list-auth-methods"),
		newDeleteMethod("delete-auth-method"),
		newResetAccessKey(),
	}
}

// newMethodGroup has them in the newer spelling.
func newMethodGroup() *cobra.Command {
	group := newGroup("auth-method", "Create, change, show and delete auth methods", `  gatepass auth-method create k8s -n my-k8s-auth-method --bound-namespaces my-namespace-a --json
  gatepass auth-method list`)
	create := newGroup("create", "Create an auth method", "  gatepass auth-method create k8s -n my-k8s-auth-method --bound-namespaces my-namespace-a --json")
	create.AddCommand(newCreateMethodK8s("k8s"), newCreateMethodKey("api-key"))
	update := newGroup("update", "Change an auth method", "  gatepass auth-method update k8s -n my-k8s-auth-method --jwt-ttl 30")
	update.AddCommand(newUpdateMethodK8s("k8s"), newUpdateMethodKey("api-key"))
	group.AddCommand(create, update, newGetMethod("get"), newListMethods("list"), newDeleteMethod("delete"))
	return group
}

// addMethodFlags are the flags of all auth methods. A number of 0 is sent as none.
func addMethodFlags(f *pflag.FlagSet, m *v2.AuthMethodFields, none int64) {
	f.StringVarP(&m.Name, "name", "n", "", "name of the auth method")
	f.StringVar(&m.Description, "description", "", "what it is for")
	f.Var(orNone{intFlag{&m.AccessExpires}, none}, "access-expires", "when it stops letting anybody in, in seconds since 1970; 0 for never")
	addList(f, &m.BoundIPs, "bound-ips", "addresses that may log in, like 10.0.0.0/8")
	addList(f, &m.GWBoundIPs, "gw-bound-ips", "kept for other gateways; this one does not look at it")
	addBool(f, &m.ForceSubClaims, "force-sub-claims", "refuse associations with roles without sub-claims")
	f.Var(orNone{intFlag{&m.JWTTTL}, none}, "jwt-ttl", "life of sessions in minutes; 0 for the account's default")
}

func addMethodK8sFlags(c *call, m *v2.AuthMethodK8sFields, key *text) {
	f := c.Flags()
	f.StringVar(&m.Audience, "audience", "", "audience that the service-account token must be meant for")
	addList(f, &m.BoundNamespaces, "bound-namespaces", "namespaces that may log in; * and ? are wildcards")
	addList(f, &m.BoundPodNames, "bound-pod-names", "pods that may log in; * and ? are wildcards")
	addList(f, &m.BoundSANames, "bound-sa-names", "service accounts that may log in; * and ? are wildcards")
	key.addAs(f, "public-key", "public-key-file-path", "public key of the pair that signs sessions, PEM or base64 of it")
	c.file(key, &m.PublicKey, false)
}

func newCreateMethodK8s(use string) *cobra.Command {
	var q v2.CreateAuthMethodK8s
	var key text
	c := newCall(use, "Create an auth method for pods", `  # two pods of a namespace; the answer has the access id and the private key
  gatepass `+spelled(use, "auth-method create")+` -n my-k8s-auth-method --bound-pod-names mypod1 \
    --bound-pod-names mypod2 --bound-namespaces my-namespace-a --json`)
	c.Long = `Create an auth method that lets in pods by their service-account tokens. The
answer has its access id, and the private key that sessions are signed with. Save
the key: it is told only once, and gateway-create-k8s-auth-config wants it.`
	addMethodFlags(c.Flags(), &q.AuthMethodFields, 0)
	addMethodK8sFlags(c, &q.AuthMethodK8sFields, &key)
	mayBeEmpty(c.Flags(), "description")
	addBool(c.Flags(), &q.GenKey.Bool, "gen-key", "make the key pair; without it, --public-key is needed (default true)")
	c.need("name")
	handle(c, "create-auth-method-k8s", &q, &q.Credentials, printCreatedMethod)
	return c.Command
}

func newCreateMethodKey(use string) *cobra.Command {
	var q v2.CreateAuthMethodKey
	c := newCall(use, "Create an auth method with an access key", "  gatepass "+spelled(use, "auth-method create")+" -n ci --bound-ips 10.0.0.0/8 --json")
	c.Long = `Create an auth method that lets in who has its access key. The key is told only
once.`
	addMethodFlags(c.Flags(), &q.AuthMethodFields, 0)
	mayBeEmpty(c.Flags(), "description")
	c.need("name")
	handle(c, "create-auth-method", &q, &q.Credentials, printCreatedMethod)
	return c.Command
}

// createdMethod is a v2.CreatedAuthMethod of which JSON has what scripts read, and
// what they should not overlook.
type createdMethod struct{ v2.CreatedAuthMethod }

// MarshalJSON implements json.Marshaler.
func (c *createdMethod) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		AccessID   string `json:"access_id"`
		PrivateKey string `json:"prv_key,omitempty"`
		AccessKey  string `json:"access_key,omitempty"`
		EveryPod   bool   `json:"every_pod,omitzero"`
	}{c.AccessID, c.PrivateKey, c.AccessKey, c.EveryPod})
}

func printCreatedMethod(w io.Writer, a *createdMethod) error {
	if _, err := fmt.Fprintf(w, "Auth method %s was created.%s\n", cell(a.Name), unrestricted(a.EveryPod)); err != nil {
		return err
	}
	// Not in columns: a private key is longer than any terminal's line.
	for _, p := range []property{{"Access ID", a.AccessID}, {"Access Key", a.AccessKey}, {"Private Key", a.PrivateKey}} {
		if p.value != "" {
			if _, err := fmt.Fprintf(w, "- %s: %s\n", p.name, p.value); err != nil {
				return err
			}
		}
	}
	return nil
}

func newUpdateMethodK8s(use string) *cobra.Command {
	var q v2.UpdateAuthMethodK8s
	var key text
	c := newCall(use, "Change an auth method for pods", `  gatepass `+spelled(use, "auth-method update")+` -n my-k8s-auth-method --bound-namespaces my-namespace-a,my-namespace-b

  # bind no pod names any more
  gatepass `+spelled(use, "auth-method update")+` -n my-k8s-auth-method --unbind bound-pod-names`)
	c.Long = "Change an auth method. What is not given stays as it is; a list is replaced as a whole."
	addMethodFlags(c.Flags(), &q.AuthMethodFields, v2.Clear)
	addMethodK8sFlags(c, &q.AuthMethodK8sFields, &key)
	c.Flags().StringVar(&q.NewName, "new-name", "", "rename it")
	addUnbind(c, map[string]*v2.Strings{
		"bound-namespaces": &q.BoundNamespaces, "bound-pod-names": &q.BoundPodNames, "bound-sa-names": &q.BoundSANames,
		"bound-ips": &q.BoundIPs, "gw-bound-ips": &q.GWBoundIPs,
	})
	c.need("name")
	handle(c, "update-auth-method-k8s", &q, &q.Credentials, func(w io.Writer, a *v2.UpdatedAuthMethod) error {
		_, err := fmt.Fprintf(w, "Auth method %s was changed.%s\n", cell(q.Name), unrestricted(a.EveryPod))
		return err
	})
	return c.Command
}

func newUpdateMethodKey(use string) *cobra.Command {
	var q v2.UpdateAuthMethodKey
	c := newCall(use, "Change an auth method with an access key", `  # let nobody in by it any more
  gatepass `+spelled(use, "auth-method update")+` -n ci --access-expires "$(date +%s)"`)
	c.Long = "Change an auth method. What is not given stays as it is; a list is replaced as a whole."
	addMethodFlags(c.Flags(), &q.AuthMethodFields, v2.Clear)
	c.Flags().StringVar(&q.NewName, "new-name", "", "rename it")
	addUnbind(c, map[string]*v2.Strings{"bound-ips": &q.BoundIPs, "gw-bound-ips": &q.GWBoundIPs})
	c.need("name")
	handle(c, "update-auth-method", &q, &q.Credentials, sentence[v2.Named]("Auth method %s was changed.", &q.Name))
	return c.Command
}

// addUnbind defines the flag that takes restrictions off. An empty list would say
// the same, but is as easily written by mistake.
func addUnbind(c *call, lists map[string]*v2.Strings) {
	names := slices.Sorted(maps.Keys(lists))
	var unbound []string
	c.Flags().Var(listFlag{to: &unbound}, "unbind", "restrictions to take off: "+strings.Join(names, ", ")+" (repeatable)")
	completeWith(c.Command, "unbind", names...)
	earlier := c.prepare
	c.prepare = func(in *input) error {
		for _, name := range unbound {
			switch values, ok := lists[name]; {
			case !ok:
				return usageError{fmt.Errorf("--unbind: use %s", strings.Join(names, ", "))}
			case len(*values) > 0:
				return usageError{fmt.Errorf("--unbind %s and --%s exclude each other", name, name)}
			default:
				*values = v2.Strings{}
			}
		}
		if earlier == nil {
			return nil
		}
		return earlier(in)
	}
}

// unrestricted is what is said of an auth method that everything in a cluster may
// log in by, which few people want.
func unrestricted(everyPod bool) string {
	if !everyPod {
		return ""
	}
	return " It lets in every pod of the cluster."
}

func newGetMethod(use string) *cobra.Command {
	var q v2.GetAuthMethod
	c := newCall(use, "Show an auth method", "  gatepass "+spelled(use, "auth-method")+" -n my-k8s-auth-method --json")
	c.Flags().StringVarP(&q.Name, "name", "n", "", "name of the auth method")
	c.need("name")
	handle(c, "get-auth-method", &q, &q.Credentials, printMethod)
	return c.Command
}

func printMethod(w io.Writer, m *v2.AuthMethod) error {
	info := &m.AccessInfo
	properties := []property{
		{"Name", m.Name},
		{"Access ID", m.AccessID},
		{"Type", info.RulesType},
		{"Description", m.Description},
		{"Access ends", unixMoment(info.AccessExpires)},
		{"Life of sessions", minutes(info.JWTTTL)},
		{"Bound IPs", info.CIDRWhitelist},
		{"Gateway bound IPs", info.GWCIDRWhitelist},
		{"Forces sub-claims", yes(info.ForceSubClaims)},
	}
	if k := info.K8s; k != nil {
		if k.EveryPod {
			properties = append(properties, property{"Lets in", "every pod of the cluster"})
		}
		properties = append(properties,
			property{"Audience", k.Audience},
			property{"Bound namespaces", list(k.BoundNamespaces)},
			property{"Bound pod names", list(k.BoundPodNames)},
			property{"Bound service accounts", list(k.BoundSANames)},
			property{"Signing algorithm", k.Algorithm},
		)
	}
	for _, r := range m.Roles {
		properties = append(properties, property{"Role", withClaims(r.RoleName, r.AssocID, r.SubClaims)})
	}
	return describe(w, append(properties,
		property{"Created", moment(m.Created)},
		property{"Changed", moment(m.Modified)},
		property{"From the configuration file", yes(m.FromFile)},
	)...)
}

func withClaims(name, association string, claims map[string][]string) string {
	text := name + " (association " + association + ")"
	if len(claims) > 0 {
		text += " for " + joinClaims(claims)
	}
	return text
}

func unixMoment(seconds int64) string {
	if seconds == 0 {
		return ""
	}
	return moment(time.Unix(seconds, 0))
}

func minutes(n int64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatInt(n, 10) + " min"
}

func newListMethods(use string) *cobra.Command {
	var q v2.ListAuthMethods
	c := newCall(use, "List auth methods", "  gatepass "+spelled(use, "auth-method")+" --type k8s")
	addPaging(c, &q.Paging)
	addList(c.Flags(), &q.Type, "type", "types that are wanted: k8s, api_key")
	completeWith(c.Command, "type", v2.RulesTypeK8s, v2.RulesTypeKey)
	handle(c, "list-auth-methods", &q, &q.Credentials, func(w io.Writer, a *v2.AuthMethodList) error {
		rows := make([][]string, 0, len(a.AuthMethods))
		for i := range a.AuthMethods {
			m := &a.AuthMethods[i]
			rows = append(rows, []string{m.Name, m.AccessID, m.AccessInfo.RulesType, m.Description})
		}
		if err := table(w, []string{"NAME", "ACCESS ID", "TYPE", "DESCRIPTION"}, rows); err != nil {
			return err
		}
		return more(w, a.NextPage)
	})
	return c.Command
}

// addPaging are the flags of lists.
func addPaging(c *call, p *v2.Paging) {
	f := c.Flags()
	f.StringVar(&p.Filter, "filter", "", "part of the names that are wanted")
	f.StringVar(&p.PaginationToken, "pagination-token", "", "go on where the answer before ended")
	mayBeEmpty(f, "filter", "pagination-token") // of a list that goes on, and of one that ended
	f.StringVar(&p.AutoPagination, "auto-pagination", "", "disabled for the first page only (default everything)")
	completeWith(c.Command, "auto-pagination", v2.PaginationEnabled, v2.PaginationDisabled)
}

func newDeleteMethod(use string) *cobra.Command {
	var q v2.DeleteAuthMethod
	c := newCall(use, "Delete an auth method; its sessions end", "  gatepass "+spelled(use, "auth-method")+" -n my-k8s-auth-method")
	c.Flags().StringVarP(&q.Name, "name", "n", "", "name of the auth method")
	c.need("name")
	handle(c, "delete-auth-method", &q, &q.Credentials, sentence[v2.Named]("Auth method %s was deleted.", &q.Name))
	return c.Command
}

func newResetAccessKey() *cobra.Command {
	var q v2.ResetAccessKey
	c := newCall("reset-access-key", "Replace the access key of an auth method", "  gatepass reset-access-key -n admin --json")
	c.Long = "Make a new access key for an auth method. The old one lets nobody in any more. The\nnew one is told only once."
	c.Flags().StringVarP(&q.Name, "name", "n", "", "name of the auth method")
	c.need("name")
	handle(c, "reset-access-key", &q, &q.Credentials, func(w io.Writer, a *v2.AccessKey) error {
		return describe(w, property{"Access Key", a.AccessKey})
	})
	return c.Command
}

// spelled is a command as it is called in the examples of its two spellings:
// older names stand alone, newer ones behind their group.
func spelled(use, group string) string {
	switch use {
	case "k8s", "api-key", "get", "list", "delete":
		return group + " " + use
	}
	return use
}
