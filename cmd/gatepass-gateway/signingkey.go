package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatepass/gatepass/cmd/internal/cluster"
	"github.com/gatepass/gatepass/gateway/keys"
	"github.com/gatepass/gatepass/gateway/maintenance"
)

// secretKeys are signing keys in a Secret, NAMESPACE/NAME.
func secretKeys(name, kubeconfig string, rotation time.Duration) (*keys.Ring, error) {
	own, err := cluster.Config(kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("--signing-keys-secret: %w", err)
	}
	ring, err := keys.NewSecret(keys.SecretOptions{Config: own, Name: name, Rotation: rotation})
	if err != nil {
		return nil, fmt.Errorf("--signing-keys-secret: %w", err)
	}
	return ring, nil
}

// rotation are the flags of rotate-signing-key.
type rotation struct {
	maintained

	secret, kubeconfig string
	stolen             bool
}

func newRotateSigningKeyCommand() *cobra.Command {
	r := rotation{maintained: maintained{storage: storage{existing: true}}}
	cmd := &cobra.Command{
		Use:   "rotate-signing-key (--data-dir DIR | --etcd-endpoints URLS --seal-key-file FILE | --signing-keys-secret NAMESPACE/NAME)",
		Short: "Sign sessions with a new key",
		Long: `rotate-signing-key makes a new key for sessions, as the gateways do by themselves
from time to time (serve --signing-key-rotation). It is published at once and signs
some minutes later, when everybody who verifies sessions knows it. Sessions of the key
before stay valid until they end.

With --stolen the new key takes the place of all others within seconds, and all
sessions end: agents log in again by themselves. Who keeps the published keys may
take sessions of the old ones for five minutes more.

Say where the gateways keep their keys: --signing-keys-secret if they were started with
it, and else their store.` + online,
		Example: `  gatepass-gateway rotate-signing-key --data-dir /var/lib/gatepass

  # gateways that share a Secret
  kubectl exec -n gatepass-system deploy/gatepass-gateway -- \
    /gatepass-gateway rotate-signing-key --signing-keys-secret gatepass-system/gatepass-gateway-signing-keys`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			k, err := r.keeper(cmd.Context())
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, k.Close()) }()
			if r.stolen {
				if err := k.ReplaceSigningKeys(cmd.Context()); err != nil {
					return err
				}
				_, err = fmt.Fprintln(cmd.OutOrStdout(), "A new key signs; within half a minute all gateways refuse the sessions of the old ones.")
				return err
			}
			done, err := k.RotateSigningKey(cmd.Context())
			if err == nil {
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "A new key is published; it signs from %s on.\n", done.From.Format(time.RFC3339))
			}
			return err
		},
	}
	r.add(cmd.Flags())
	cmd.Flags().StringVar(&r.secret, "signing-keys-secret", "", "NAMESPACE/NAME of the Secret that keeps the keys, instead of the store")
	cmd.Flags().StringVar(&r.kubeconfig, "kubeconfig", "", "kubeconfig of the Secret's cluster; the one it runs in if empty")
	cmd.Flags().BoolVar(&r.stolen, "stolen", false, "replace all keys at once, which ends all sessions")
	return cmd
}

func (r *rotation) keeper(ctx context.Context) (keeper, error) {
	if r.secret == "" {
		return r.maintained.keeper(ctx, r.openToSeal)
	}
	ring, err := secretKeys(r.secret, r.kubeconfig, 0)
	if err != nil {
		return nil, err
	}
	o := &own{Keeper: maintenance.Keeper{SigningKeys: ring}}
	if err := r.openAudit(o); err != nil {
		return nil, errors.Join(err, o.Close())
	}
	return o, nil
}
