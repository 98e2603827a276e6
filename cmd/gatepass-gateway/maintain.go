package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatepass/gatepass/gateway/handover"
	"github.com/gatepass/gatepass/gateway/maintenance"
	"github.com/gatepass/gatepass/gateway/seal"
	"github.com/gatepass/gatepass/gateway/store"
)

// The commands that maintain a store. That of a data folder is open in the gateway
// while it runs, which then does the work; an etcd can be in use by many.

const online = "\n\nA gateway that has the data folder open does this itself, asked on a socket in the\nfolder: run the command as its user, or as root."

func maintenanceCommands() []*cobra.Command {
	return []*cobra.Command{
		newBackupCommand(), newCheckBackupCommand(), newRestoreCommand(), newResealCommand(), newSealKeyCommand(), newRotateSigningKeyCommand(), newResetAdminCommand(),
	}
}

// toStderr logs warnings and errors.
func toStderr() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

func newBackupCommand() *cobra.Command {
	m := maintained{storage: storage{existing: true}}
	out := ""
	cmd := &cobra.Command{
		Use:   "backup (--data-dir DIR | --etcd-endpoints URLS) --out FILE",
		Short: "Write a backup of the store",
		Long: `backup writes everything that the store holds at one moment to a new file.
Secrets in it are sealed as they are in the store: the keys that open them are in
no backup. Keep a copy of the file with the keys apart from the backups.` + online,
		Example: `  gatepass-gateway backup --data-dir /var/lib/gatepass --out /backup/gatepass-2026-11-22.backup

  # from a pod
  kubectl exec -n gatepass-system deploy/gatepass-gateway -- \
    /gatepass-gateway backup --data-dir /var/lib/gatepass --out - > gatepass-2026-11-22.backup
  gatepass-gateway check-backup gatepass-2026-11-22.backup`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if out == "" {
				return errors.New("--out must be given")
			}
			k, err := m.keeper(cmd.Context(), m.open)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, k.Close()) }()
			if out == "-" {
				info, err := backupThrough(cmd.Context(), k, m.dataDir, cmd.OutOrStdout())
				return tellBackup(cmd.ErrOrStderr(), info, "the backup", err)
			}
			info, err := backupTo(cmd.Context(), k, out)
			return tellBackup(cmd.OutOrStdout(), info, out, err)
		},
	}
	m.add(cmd.Flags())
	cmd.Flags().StringVar(&out, "out", "", "the new file; - for standard output")
	return cmd
}

func newCheckBackupCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check-backup FILE",
		Short: "Look whether a backup is whole",
		Long: `check-backup reads a backup to its end. It finds what was cut off or changed by
accident, as restore would. It needs neither the store nor its keys.`,
		Example: `  gatepass-gateway check-backup /backup/gatepass-2026-11-22.backup`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			in, err := os.Open(args[0])
			if err != nil {
				return fmt.Errorf("check a backup: %w", err)
			}
			defer func() { err = errors.Join(err, in.Close()) }()
			info, err := store.CheckBackup(in)
			return tellBackup(cmd.OutOrStdout(), info, args[0], err)
		},
	}
}

func tellBackup(out io.Writer, info store.BackupInfo, name string, err error) error {
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%d records are in %s, as they were at %s.\n", info.Items, name, info.Created.Format(time.RFC3339))
	return err
}

func newResealCommand() *cobra.Command {
	m := maintained{storage: storage{existing: true}}
	cmd := &cobra.Command{
		Use:   "reseal (--data-dir DIR | --etcd-endpoints URLS) --seal-key-file FILE",
		Short: "Seal all secrets under the newest key",
		Long: `reseal seals everything anew that was sealed under another key than the one
that seals now, and tells what is under which key then. A key that is under nothing
any more can be taken out of the file, once no backup is left that needs it.

A running gateway does the same by itself when the key that seals changes.` + online,
		Example: `  gatepass-gateway reseal --etcd-endpoints https://etcd:2379 --seal-key-file /etc/gatepass/seal.key`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			k, err := m.keeper(cmd.Context(), m.openToSeal)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, k.Close()) }()
			done, err := k.Reseal(cmd.Context())
			if err != nil {
				return err
			}
			return tellResealed(cmd.OutOrStdout(), done)
		},
	}
	m.add(cmd.Flags())
	return cmd
}

func tellResealed(out io.Writer, done maintenance.Resealed) error {
	_, err := fmt.Fprintf(out, "%d values were sealed anew.\n", done.Count)
	for _, id := range slices.Sorted(maps.Keys(done.Usage)) {
		if err == nil {
			_, err = fmt.Fprintf(out, "%d values are sealed under %s.\n", done.Usage[id], id)
		}
	}
	return err
}

func newSealKeyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "seal-key",
		Short:   "Make and rotate the keys that seal the store",
		Example: "  gatepass-gateway seal-key create /etc/gatepass/seal.key",
	}
	tell := func(cmd *cobra.Command, what, id string, err error) error {
		if err == nil {
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s %s.\n", what, id)
		}
		return err
	}
	cmd.AddCommand(&cobra.Command{
		Use:     "create FILE",
		Short:   "Make a key file with one key",
		Example: "  gatepass-gateway seal-key create /etc/gatepass/seal.key",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := seal.CreateFile(args[0])
			return tell(cmd, "The key file has the key", id, err)
		},
	})
	wait := 10 * time.Minute
	add := &cobra.Command{
		Use:   "add FILE",
		Short: "Add a key that seals in a while",
		Long: `add adds a key to a key file. It seals from a moment on at which every gateway
must have got the file; from then on, gateways also seal the older secrets anew.`,
		Example: "  gatepass-gateway seal-key add /etc/gatepass/seal.key --in 10m",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if wait < 0 {
				return errors.New("--in must not be negative")
			}
			id, err := seal.AddKey(args[0], time.Now().Add(wait))
			return tell(cmd, "The key file also has the key", id, err)
		},
	}
	add.Flags().DurationVar(&wait, "in", wait, "when the key begins to seal, from now")
	cmd.AddCommand(add)
	return cmd
}

func newResetAdminCommand() *cobra.Command {
	m := maintained{storage: storage{existing: true}}
	cmd := &cobra.Command{
		Use:   "reset-admin (--data-dir DIR | --etcd-endpoints URLS --seal-key-file FILE)",
		Short: "Make a new access id and key for the administrator",
		Long: `reset-admin is for who has lost the administrator's access key, or switched
the administrator off. The old key is worth nothing then, and sessions that were made
with it end.` + online,
		Example: `  gatepass-gateway reset-admin --data-dir /var/lib/gatepass`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			k, err := m.keeper(cmd.Context(), m.openToSeal)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, k.Close()) }()
			made, err := k.ResetAdministrator(cmd.Context())
			if err != nil {
				return err
			}
			return handover.Write(cmd.OutOrStdout(), made)
		},
	}
	m.add(cmd.Flags())
	return cmd
}
