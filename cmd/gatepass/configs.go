package main

import (
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	v2 "github.com/gatepass/gatepass/gateway/v2"
)

// newConfigCommands are the commands about Kubernetes auth configs.
func newConfigCommands() []*cobra.Command {
	return []*cobra.Command{newCreateConfig(), newUpdateConfig(), newGetConfig(), newListConfigs(), newDeleteConfig()}
}

// configFiles are fields of an auth config that come from files more often than
// not.
type configFiles struct {
	signingKey, ca, certificate, key, reviewer text
}

func addConfigFlags(c *call, q *v2.K8sAuthConfigFields, files *configFiles) {
	f := c.Flags()
	f.StringVarP(&q.Name, "name", "n", "", "name of the auth config, which pods log in by")
	f.StringVar(&q.AccessID, "access-id", "", "access id of the auth method that it is for")
	f.StringVar(&q.K8sHost, "k8s-host", "", "address of the cluster's API server (default the gateway's own cluster)")
	f.StringVar(&q.K8sAuthType, "k8s-auth-type", "", "how the gateway proves itself to the cluster: token or certificate")
	addBool(f, &q.UseGWServiceAccount, "use-gw-service-account", "review tokens as the gateway's own service account")
	f.Var(intFlag{&q.TokenExp}, "token-exp", "kept for clients that read it back, in seconds (default 300)")
	f.StringVar(&q.K8sIssuer, "k8s-issuer", "", "issuer that the pods' tokens must have (default the cluster's own)")
	addBool(f, &q.DisableIssuerValidation.Bool, "disable-issuer-validation", "do not look at the issuer")
	f.StringVar(&q.ClusterAPIType, "cluster-api-type", "", "native_k8s, the only type there is")
	files.signingKey.add(f, "signing-key", "private key of the auth method, PEM or base64 of it; others on this machine can see it, so prefer the file")
	files.ca.add(f, "k8s-ca-cert", "CA certificate of the API server, PEM or base64 of it")
	files.certificate.add(f, "k8s-client-certificate", "client certificate to review tokens with, PEM or base64 of it")
	files.key.add(f, "k8s-client-key", "its private key, PEM or base64 of it; others on this machine can see it, so prefer the file")
	files.reviewer.add(f, "token-reviewer-jwt", "token of a service account that may review tokens; others on this machine can see it, so prefer the file")
	c.file(&files.signingKey, &q.SigningKey, true)
	c.file(&files.ca, &q.K8sCACert, false)
	c.file(&files.certificate, &q.K8sClientCertificate, false)
	c.file(&files.key, &q.K8sClientKey, true)
	c.file(&files.reviewer, &q.TokenReviewerJWT, true)
	completeWith(c.Command, "k8s-auth-type", v2.K8sAuthTypeToken, v2.K8sAuthTypeCertificate)
	completeWith(c.Command, "cluster-api-type", v2.ClusterNative)
}

func newCreateConfig() *cobra.Command {
	var q v2.CreateK8sAuthConfig
	var files configFiles
	c := newCall("gateway-create-k8s-auth-config", "Tell the gateway which cluster judges an auth method's tokens", `  # the gateway's own cluster, as the gateway's service account
  gatepass gateway-create-k8s-auth-config --name k8s-conf \
    --gateway-url https://gateway.example:8000 \
    --access-id $ACCESS_ID \
    --signing-key $PRV_KEY \
    --use-gw-service-account

  # another cluster, as a dedicated service account
  gatepass gateway-create-k8s-auth-config --name other-conf \
    --access-id $ACCESS_ID --signing-key-file key.b64 \
    --k8s-host https://kubernetes.example:6443 --k8s-ca-cert-file ca.crt \
    --token-reviewer-jwt-file reviewer.jwt

  # another cluster, by a client certificate
  gatepass gateway-create-k8s-auth-config --name other-conf \
    --access-id $ACCESS_ID --signing-key-file key.b64 \
    --k8s-host https://kubernetes.example:6443 --k8s-ca-cert-file ca.crt \
    --k8s-auth-type certificate --k8s-client-certificate-file client.crt --k8s-client-key-file client.key`)
	c.Long = `Create a Kubernetes auth config: which API server judges the service-account
tokens of which auth method, and as whom the gateway asks it. Without
--use-gw-service-account, --token-reviewer-jwt and a client certificate, each pod's
token reviews itself.`
	addConfigFlags(c, &q.K8sAuthConfigFields, &files)
	c.need("name", "access-id")
	handle(c, "gateway-create-k8s-auth-config", &q, &q.Credentials, func(w io.Writer, _ *v2.ConfigChanged) error {
		_, err := fmt.Fprintf(w, "Kubernetes auth config %s was created.\n- Reviewer: %s\n", cell(q.Name), reviewer(&q.K8sAuthConfigFields))
		return err
	})
	return c.Command
}

// reviewer says as whom the gateway will ask, because what was asked for follows
// from what was given and what was not.
func reviewer(q *v2.K8sAuthConfigFields) string {
	switch {
	case q.UseGWServiceAccount.Or(false):
		return "the gateway's own service account"
	case q.TokenReviewerJWT != "":
		return "the account of the token that was given"
	case q.K8sClientCertificate != "":
		return "the user of the client certificate"
	}
	return "each pod's own token"
}

func newUpdateConfig() *cobra.Command {
	var q v2.UpdateK8sAuthConfig
	var files configFiles
	c := newCall("gateway-update-k8s-auth-config", "Change a Kubernetes auth config", `  gatepass gateway-update-k8s-auth-config --name k8s-conf --token-reviewer-jwt-file reviewer.jwt`)
	c.Long = "Change a Kubernetes auth config. What is not given stays as it is."
	addConfigFlags(c, &q.K8sAuthConfigFields, &files)
	c.Flags().StringVar(&q.NewName, "new-name", "", "rename it")
	c.need("name")
	handle(c, "gateway-update-k8s-auth-config", &q, &q.Credentials, sentence[v2.ConfigChanged]("Kubernetes auth config %s was changed.", &q.Name))
	return c.Command
}

func newGetConfig() *cobra.Command {
	var q v2.GetK8sAuthConfig
	c := newCall("gateway-get-k8s-auth-config", "Show a Kubernetes auth config", "  gatepass gateway-get-k8s-auth-config --name k8s-conf --json")
	c.Long = "Show a Kubernetes auth config. Keys and the reviewer's token are not told."
	c.Flags().StringVarP(&q.Name, "name", "n", "", "name of the auth config")
	c.need("name")
	handle(c, "gateway-get-k8s-auth-config", &q, &q.Credentials, func(w io.Writer, a *v2.K8sAuthConfig) error {
		issuer := a.K8sIssuer
		switch {
		case a.DisableIssuer:
			issuer = "any"
		case issuer == v2.DefaultIssuer:
			issuer = "the cluster's own"
		}
		return describe(w,
			property{"Name", a.Name},
			property{"ID", a.ID},
			property{"Access ID", a.AccessID},
			property{"Cluster", cluster(a)},
			property{"Reviewer", a.Reviewer},
			property{"Issuer", issuer},
			property{"Token expiration", strconv.FormatInt(a.TokenExpiration, 10) + " s"},
			property{"From the configuration file", yes(a.FromFile)},
		)
	})
	return c.Command
}

func cluster(a *v2.K8sAuthConfig) string {
	if a.K8sHost == "" {
		return "the gateway's own"
	}
	return a.K8sHost
}

func newListConfigs() *cobra.Command {
	var q v2.GetConfig
	c := newCall("gateway-list-k8s-auth-configs", "List Kubernetes auth configs", "  gatepass gateway-list-k8s-auth-configs")
	handle(c, "gateway-get-config", &q, &q.Credentials, func(w io.Writer, a *v2.GatewayConfig) error {
		rows := make([][]string, 0, len(a.K8sAuths.K8sAuths))
		for i := range a.K8sAuths.K8sAuths {
			k := &a.K8sAuths.K8sAuths[i]
			rows = append(rows, []string{k.Name, k.AccessID, cluster(k), k.Reviewer})
		}
		return table(w, []string{"NAME", "ACCESS ID", "CLUSTER", "REVIEWER"}, rows)
	})
	return c.Command
}

func newDeleteConfig() *cobra.Command {
	var q v2.DeleteK8sAuthConfig
	c := newCall("gateway-delete-k8s-auth-config", "Delete a Kubernetes auth config", "  gatepass gateway-delete-k8s-auth-config --name k8s-conf")
	c.Flags().StringVarP(&q.Name, "name", "n", "", "name of the auth config")
	c.need("name")
	handle(c, "gateway-delete-k8s-auth-config", &q, &q.Credentials, sentence[v2.ConfigChanged]("Kubernetes auth config %s was deleted.", &q.Name))
	return c.Command
}
