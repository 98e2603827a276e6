package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatepass/gatepass/gateway/catalog"
	"github.com/gatepass/gatepass/gateway/store"
	"github.com/gatepass/gatepass/gateway/store/bolt"
)

// restoration is a restore as its flags say.
type restoration struct {
	storage

	from    string
	replace bool
}

func newRestoreCommand() *cobra.Command {
	var r restoration
	cmd := &cobra.Command{
		Use:   "restore (--data-dir DIR | --etcd-endpoints URLS) --from FILE",
		Short: "Fill a store from a backup",
		Long: `restore writes a backup into an empty store, of either kind. The keys that
sealed the backup's secrets must be given to the gateway that is started on it. A
backup that is not whole is refused before anything is written.

With --replace the store need not be empty. A database in the data folder is renamed
to ` + bolt.FileName + `.old; what is in an etcd is deleted.

No gateway may use the store meanwhile. All is then as it was when the backup was
made: access keys and roles that were taken away later are back. What sessions were
revoked later is not known, so the gateway that is started on it revokes all that
were issued before.`,
		Example: `  gatepass-gateway restore --data-dir /var/lib/gatepass-new --from /backup/gatepass-2026-11-22.backup

  # in a pod, see docs/storage.md
  kubectl attach -i -n gatepass-system gatepass-gateway-restore < gatepass-2026-11-22.backup`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if r.from == "" {
				return errors.New("--from must be given")
			}
			in, err := r.backup(cmd.InOrStdin())
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, in.Close()) }()
			info, err := r.run(cmd.Context(), in, cmd.ErrOrStderr())
			if err == nil {
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d records were restored, as they were at %s. Access keys and roles that were taken away later are back; all sessions end when a gateway starts on it.\n",
					info.Items, info.Created.Format(time.RFC3339))
			}
			return err
		},
	}
	r.add(cmd.Flags())
	cmd.Flags().StringVar(&r.from, "from", "", "the backup; - for standard input")
	cmd.Flags().BoolVar(&r.replace, "replace", false, "remove what the store contains, once the backup has turned out to be whole")
	return cmd
}

// run writes a backup into the store.
func (r *restoration) run(ctx context.Context, backup io.ReadSeeker, progress io.Writer) (info store.BackupInfo, err error) {
	fill := store.Restore
	if r.replace {
		if err := r.setAside(backup, progress); err != nil {
			return store.BackupInfo{}, err
		}
		fill = store.Replace
	}
	opened, err := r.open(ctx, toStderr())
	if err != nil {
		return store.BackupInfo{}, err
	}
	defer func() { err = errors.Join(err, opened.Close()) }()
	return fill(ctx, opened, backup, catalog.MarkRestored())
}

// setAside moves a database away, which may be one that can't be opened.
func (r *restoration) setAside(backup io.ReadSeeker, progress io.Writer) error {
	if err := r.validate(); err != nil || r.shared() {
		return err
	}
	if _, err := store.CheckBackup(backup); err != nil {
		return fmt.Errorf("restore a backup: %w", err)
	}
	if _, err := backup.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("restore a backup: read it again: %w", err)
	}
	old, err := bolt.SetAside(bolt.Options{Dir: r.dataDir, LockTimeout: r.lockTimeout})
	if err == nil && old != "" {
		_, err = fmt.Fprintf(progress, "The database that was there is %s now.\n", old)
	}
	return err
}

// backup opens the backup. Standard input is copied to a file first, because a backup
// is read twice; the file has no name, so that nothing is left.
func (r *restoration) backup(stdin io.Reader) (_ *os.File, err error) {
	if r.from != "-" {
		in, err := os.Open(r.from)
		if err != nil {
			return nil, fmt.Errorf("--from: %w", err)
		}
		return in, nil
	}
	if err := r.validate(); err != nil {
		return nil, err
	}
	if r.dataDir != "" {
		if err := os.MkdirAll(r.dataDir, 0o700); err != nil {
			return nil, fmt.Errorf("--data-dir: %w", err)
		}
	}
	file, err := os.CreateTemp(r.dataDir, ".restore-*")
	if err != nil {
		return nil, fmt.Errorf("--from -: %w", err)
	}
	if err = os.Remove(file.Name()); err == nil {
		if _, err = io.Copy(file, stdin); err == nil {
			_, err = file.Seek(0, io.SeekStart)
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("--from -: %w", err), file.Close())
	}
	return file, nil
}
