package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatepass/gatepass/gateway/audit"
	"github.com/gatepass/gatepass/gateway/catalog"
	"github.com/gatepass/gatepass/gateway/handover"
	"github.com/gatepass/gatepass/gateway/seal"
	"github.com/gatepass/gatepass/gateway/store"
)

// The commands that maintain a store. A database in a data folder can be open in one
// process only, so its gateway has to be stopped first; an etcd can be in use.

const offline = "\n\nThe gateway of a data folder must be stopped meanwhile; those of an etcd may go on."

func maintenanceCommands() []*cobra.Command {
	return []*cobra.Command{newBackupCommand(), newRestoreCommand(), newResealCommand(), newSealKeyCommand(), newResetAdminCommand()}
}

// toStderr logs warnings and errors.
func toStderr() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

func newBackupCommand() *cobra.Command {
	var s storage
	out := ""
	cmd := &cobra.Command{
		Use:   "backup (--data-dir DIR | --etcd-endpoints URLS) --out FILE",
		Short: "Write a backup of the store",
		Long: `backup writes everything that the store holds at one moment to a new file.
Secrets in it are sealed as they are in the store: the keys that open them are in
no backup. Keep a copy of the file with the keys apart from the backups.` + offline,
		Example: `  gatepass-gateway backup --data-dir /var/lib/gatepass --out /backup/gatepass-2026-11-22.backup`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if out == "" {
				return errors.New("--out must be given")
			}
			opened, err := s.open(cmd.Context(), toStderr())
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, opened.Close()) }()
			items, err := backupTo(cmd.Context(), opened, out)
			if err == nil {
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d records are in %s.\n", items, out)
			}
			return err
		},
	}
	s.add(cmd.Flags())
	cmd.Flags().StringVar(&out, "out", "", "the new file")
	return cmd
}

// backupTo leaves a whole backup or none.
func backupTo(ctx context.Context, s store.Store, name string) (items int, err error) {
	tmp, err := os.CreateTemp(filepath.Dir(name), ".backup-*") // mode 0600
	if err != nil {
		return 0, fmt.Errorf("write the backup: %w", err)
	}
	defer func() { err = errors.Join(err, os.Remove(tmp.Name())) }()
	items, err = store.Backup(ctx, s, tmp)
	if err := errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return 0, fmt.Errorf("write the backup: %w", err)
	}
	// A link, unlike a rename, does not replace an older backup.
	if err := os.Link(tmp.Name(), name); err != nil {
		return 0, fmt.Errorf("write the backup: %w", err)
	}
	return items, nil
}

func newRestoreCommand() *cobra.Command {
	var s storage
	from := ""
	cmd := &cobra.Command{
		Use:   "restore (--data-dir DIR | --etcd-endpoints URLS) --from FILE",
		Short: "Fill an empty store from a backup",
		Long: `restore writes a backup into an empty store, of either kind. The keys that
sealed the backup's secrets must be given to the gateway that is started on it.

No gateway may use the store meanwhile.`,
		Example: `  gatepass-gateway restore --data-dir /var/lib/gatepass-new --from /backup/gatepass-2026-11-22.backup`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			in, err := os.Open(from)
			if err != nil {
				return fmt.Errorf("--from: %w", err)
			}
			defer func() { err = errors.Join(err, in.Close()) }()
			opened, err := s.open(cmd.Context(), toStderr())
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, opened.Close()) }()
			items, err := store.Restore(cmd.Context(), opened, bufio.NewReader(in))
			if err == nil {
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d records were restored.\n", items)
			}
			return err
		},
	}
	s.add(cmd.Flags())
	cmd.Flags().StringVar(&from, "from", "", "the backup")
	return cmd
}

func newResealCommand() *cobra.Command {
	var s storage
	cmd := &cobra.Command{
		Use:   "reseal (--data-dir DIR | --etcd-endpoints URLS) --seal-key-file FILE",
		Short: "Seal all secrets under the newest key",
		Long: `reseal seals everything anew that was sealed under another key than the one
that seals now, and tells what is under which key then. A key that is under nothing
any more can be taken out of the file, once no backup is left that needs it.

A running gateway does the same by itself when the key that seals changes.` + offline,
		Example: `  gatepass-gateway reseal --etcd-endpoints https://etcd:2379 --seal-key-file /etc/gatepass/seal.key`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			opened, sealer, err := s.openSealed(cmd.Context(), toStderr())
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, opened.Close()) }()
			n, err := sealer.Reseal(cmd.Context(), opened)
			if err != nil {
				return fmt.Errorf("after %d values: %w", n, err)
			}
			return tellUsage(cmd.Context(), cmd.OutOrStdout(), opened, n)
		},
	}
	s.add(cmd.Flags())
	return cmd
}

func tellUsage(ctx context.Context, out io.Writer, s store.Store, resealed int) error {
	usage, err := seal.Survey(ctx, s)
	if err != nil {
		return err
	}
	lines := []string{fmt.Sprintf("%d values were sealed anew.", resealed)}
	for id, n := range usage {
		lines = append(lines, fmt.Sprintf("%d values are sealed under %s.", n, id))
	}
	slices.Sort(lines[1:])
	for _, line := range lines {
		if _, err := fmt.Fprintln(out, line); err != nil {
			return err
		}
	}
	return nil
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
			id, err := seal.AddKey(args[0], time.Now().Add(wait))
			return tell(cmd, "The key file also has the key", id, err)
		},
	}
	add.Flags().DurationVar(&wait, "in", wait, "when the key begins to seal, from now")
	cmd.AddCommand(add)
	return cmd
}

func newResetAdminCommand() *cobra.Command {
	var s storage
	records := ""
	cmd := &cobra.Command{
		Use:   "reset-admin (--data-dir DIR | --etcd-endpoints URLS --seal-key-file FILE)",
		Short: "Make a new access id and key for the administrator",
		Long: `reset-admin is for who has lost the administrator's access key, or switched
the administrator off. The old key is worth nothing then, and sessions that were made
with it end.` + offline,
		Example: `  gatepass-gateway reset-admin --data-dir /var/lib/gatepass`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			log := audit.NewLog(os.Stderr)
			if records != "" {
				file, err := audit.OpenFile(records)
				if err != nil {
					return fmt.Errorf("--audit-log: %w", err)
				}
				defer func() { err = errors.Join(err, file.Close()) }()
				log = audit.NewLog(file)
			}
			opened, sealer, err := s.openSealed(cmd.Context(), toStderr())
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, opened.Close()) }()
			objects, err := catalog.New(catalog.Options{Store: opened, Seal: sealer, Audit: log, Logger: toStderr()})
			if err != nil {
				return err
			}
			made, err := objects.ResetAdministrator(cmd.Context())
			if err != nil {
				return err
			}
			return handover.Write(cmd.OutOrStdout(), made)
		},
	}
	s.add(cmd.Flags())
	cmd.Flags().StringVar(&records, "audit-log", "", "file that gets the line for the audit log; standard error if not given")
	return cmd
}
