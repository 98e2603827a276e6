package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"

	"github.com/gatepass/gatepass/gateway/audit"
	"github.com/gatepass/gatepass/gateway/catalog"
	"github.com/gatepass/gatepass/gateway/keys"
	"github.com/gatepass/gatepass/gateway/maintenance"
	"github.com/gatepass/gatepass/gateway/store"
	"github.com/gatepass/gatepass/gateway/store/bolt"
)

// keeper does what the maintenance commands are for: this process, or the gateway
// that has the store open.
type keeper interface {
	Backup(ctx context.Context, w io.Writer) error
	Reseal(ctx context.Context) (maintenance.Resealed, error)
	ResetAdministrator(ctx context.Context) (catalog.Credentials, error)
	RotateSigningKey(ctx context.Context) (maintenance.Rotated, error)
	ReplaceSigningKeys(ctx context.Context) error
	Close() error
}

// own is a keeper in this process.
type own struct {
	maintenance.Keeper

	close []func() error
}

// Close closes everything, the last first.
func (o *own) Close() error {
	var errs []error
	for i := len(o.close) - 1; i >= 0; i-- {
		errs = append(errs, o.close[i]())
	}
	return errors.Join(errs...)
}

// maintained are the flags of commands that need a keeper.
type maintained struct {
	storage

	auditLog string
}

func (m *maintained) add(p *pflag.FlagSet) {
	m.storage.add(p)
	p.StringVar(&m.auditLog, "audit-log", "", "file that gets the line for the audit log, unless a gateway does the work and writes its own; standard error if not given")
}

const (
	// keeperPatience is how long a command tries when a gateway has the data folder
	// open and can't be asked: it may be starting, or ending.
	keeperPatience = 5 * time.Second
	keeperInterval = 100 * time.Millisecond
	// tryLock is long enough to find out whether the database can be opened at once.
	tryLock = 50 * time.Millisecond
)

// filled returns an error for a store that holds nothing: it is another than the one
// that is meant.
func (o *own) filled(ctx context.Context) error {
	page, err := o.Store.List(ctx, store.Query{Limit: 1})
	if err == nil && len(page.Items) == 0 {
		err = errors.New("the store is empty; is it the right --data-dir, or --etcd-endpoints and --etcd-prefix?")
	}
	return err
}

// keeper returns who does the work. It refuses an empty store. Open opens what the work needs in this process.
// Close must be called.
func (m *maintained) keeper(ctx context.Context, open func(context.Context) (*own, error)) (keeper, error) {
	m.lockTimeout = tryLock
	client := maintenance.NewClient(m.dataDir)
	for began := time.Now(); ; {
		k, err := open(ctx)
		if err == nil {
			if err := k.filled(ctx); err != nil {
				return nil, errors.Join(err, k.Close(), client.Close())
			}
			return k, client.Close()
		}
		if !errors.Is(err, bolt.ErrLocked) {
			return nil, errors.Join(err, client.Close())
		}
		refused := client.Ping(ctx)
		if refused == nil {
			return client, nil
		}
		if time.Since(began) > keeperPatience || ctx.Err() != nil || errors.Is(refused, maintenance.ErrForbidden) {
			return nil, errors.Join(fmt.Errorf("%w; and it can't be asked to do the work: %w", err, refused), client.Close())
		}
		select {
		case <-ctx.Done():
		case <-time.After(keeperInterval):
		}
	}
}

// open opens the store, and the audit log.
func (m *maintained) open(ctx context.Context) (*own, error) {
	opened, err := m.storage.open(ctx, toStderr())
	if err != nil {
		return nil, err
	}
	o := &own{Keeper: maintenance.Keeper{Store: opened}, close: []func() error{opened.Close}}
	if err := m.openAudit(o); err != nil {
		return nil, errors.Join(err, o.Close())
	}
	return o, nil
}

// openToSeal opens the store with its keys, and the audit log.
func (m *maintained) openToSeal(ctx context.Context) (*own, error) {
	opened, sealer, err := m.openSealed(ctx, toStderr())
	if err != nil {
		return nil, err
	}
	o := &own{Keeper: maintenance.Keeper{Store: opened, Sealer: sealer, SigningKeys: keys.NewStored(opened, sealer, 0)}, close: []func() error{opened.Close}}
	err = m.openAudit(o)
	if err == nil {
		o.Administrators, err = catalog.New(catalog.Options{Store: opened, Seal: sealer, Audit: o.Audit, Logger: toStderr()})
	}
	if err != nil {
		return nil, errors.Join(err, o.Close())
	}
	return o, nil
}

func (m *maintained) openAudit(o *own) error {
	if m.auditLog == "" {
		o.Audit = audit.NewLog(os.Stderr)
		return nil
	}
	file, err := audit.OpenFile(m.auditLog)
	if err != nil {
		return fmt.Errorf("--audit-log: %w", err)
	}
	o.Audit = audit.NewLog(file)
	o.close = append(o.close, file.Close)
	return nil
}

// backupTo leaves a whole backup or none.
func backupTo(ctx context.Context, k keeper, name string) (info store.BackupInfo, err error) {
	tmp, err := os.CreateTemp(filepath.Dir(name), ".backup-*") // mode 0600
	if err != nil {
		return store.BackupInfo{}, fmt.Errorf("write the backup: %w", err)
	}
	defer func() { err = errors.Join(err, os.Remove(tmp.Name())) }()
	info, err = fillBackup(ctx, k, tmp)
	if err := errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return store.BackupInfo{}, fmt.Errorf("write the backup: %w", err)
	}
	// A link, unlike a rename, does not replace an older backup.
	if err := os.Link(tmp.Name(), name); errors.Is(err, fs.ErrExist) {
		return store.BackupInfo{}, fmt.Errorf("write the backup: %s is there already; name a new file", name)
	} else if err != nil {
		return store.BackupInfo{}, fmt.Errorf("write the backup: %w", err)
	}
	return info, nil
}

// backupThrough writes a backup to a stream, by way of a file without a name: a stream
// may be slow, and the store does not wait for it. Nothing is written unless the
// backup is whole.
func backupThrough(ctx context.Context, k keeper, dir string, out io.Writer) (info store.BackupInfo, err error) {
	tmp, err := os.CreateTemp(dir, ".backup-*")
	if err != nil {
		return store.BackupInfo{}, fmt.Errorf("write the backup: %w", err)
	}
	defer func() { err = errors.Join(err, tmp.Close()) }()
	if err := os.Remove(tmp.Name()); err != nil {
		return store.BackupInfo{}, fmt.Errorf("write the backup: %w", err)
	}
	info, err = fillBackup(ctx, k, tmp)
	if err == nil {
		_, err = tmp.Seek(0, io.SeekStart)
	}
	if err == nil {
		_, err = io.Copy(out, tmp)
	}
	if err != nil {
		return store.BackupInfo{}, fmt.Errorf("write the backup: %w", err)
	}
	return info, nil
}

// fillBackup writes a backup, and reads it again.
func fillBackup(ctx context.Context, k keeper, file *os.File) (store.BackupInfo, error) {
	if err := k.Backup(ctx, file); err != nil {
		return store.BackupInfo{}, err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return store.BackupInfo{}, err
	}
	return store.CheckBackup(file)
}

// maintain has the gateway do the work of maintenance commands until ctx is done. If
// that can't be, it serves all the same.
func (f *flags) maintain(ctx context.Context, b background) error {
	if f.shared() {
		return nil
	}
	keeper := maintenance.Keeper{Store: b.records, Sealer: b.sealer, Administrators: b.objects, Audit: b.audit}
	if b.ring != nil {
		keeper.SigningKeys = b.ring
	}
	server, err := maintenance.Listen(ctx, maintenance.Options{Dir: f.dataDir, Logger: b.log, Keeper: keeper})
	if err == nil {
		err = server.Run(ctx)
	}
	if err != nil {
		b.log.Error("backup, reseal, reset-admin and rotate-signing-key need this gateway to be stopped", "error", err)
	}
	return nil
}
