package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/gatepass/gatepass/gateway/seal"
	"github.com/gatepass/gatepass/gateway/store"
	"github.com/gatepass/gatepass/gateway/store/bolt"
	"github.com/gatepass/gatepass/gateway/store/etcd"
)

// sealKeyName is the key file's in a data folder.
const sealKeyName = "seal.key"

// storage are the flags that say where the gateway keeps its records.
type storage struct {
	dataDir     string
	sealKeyFile string

	endpoints    []string
	prefix       string
	tls          etcd.TLS
	username     string
	passwordFile string

	// existing is for commands that must not make a database in a wrong folder, and
	// lockTimeout how long they wait for one that is open, if not as a gateway does.
	existing    bool
	lockTimeout time.Duration
}

func (s *storage) add(p *pflag.FlagSet) {
	p.StringVar(&s.dataDir, "data-dir", "", "folder that keeps the gateway's own data: the database, if there is no etcd, and keys")
	p.StringVar(&s.sealKeyFile, "seal-key-file", "", "file with the keys that seal secrets in the store; made as "+sealKeyName+" in the data folder if not given, but with etcd it must be given")
	p.StringSliceVar(&s.endpoints, "etcd-endpoints", nil, "URLs of an etcd that several gateways share, instead of a database in the data folder")
	p.StringVar(&s.prefix, "etcd-prefix", etcd.DefaultPrefix, "what the gateway's keys in etcd begin with")
	p.StringVar(&s.tls.CAFile, "etcd-ca-file", "", "file with the CA of etcd's certificates; the system's if not given")
	p.StringVar(&s.tls.CertFile, "etcd-cert-file", "", "file with the gateway's client certificate for etcd")
	p.StringVar(&s.tls.KeyFile, "etcd-key-file", "", "file with its key")
	p.StringVar(&s.username, "etcd-username", "", "user name at etcd")
	p.StringVar(&s.passwordFile, "etcd-password-file", "", "file with the password")
}

// shared is whether several gateways may have this storage.
func (s *storage) shared() bool { return len(s.endpoints) > 0 }

func (s *storage) validate() error {
	var errs []error
	if !s.shared() && s.dataDir == "" {
		errs = append(errs, errors.New("--data-dir must be given"))
	}
	if !s.shared() && (s.tls != etcd.TLS{} || s.username != "" || s.passwordFile != "" || s.prefix != "" && s.prefix != etcd.DefaultPrefix) {
		errs = append(errs, errors.New("--etcd-endpoints must be given with other flags of etcd"))
	}
	if (s.username == "") != (s.passwordFile == "") {
		errs = append(errs, errors.New("--etcd-username and --etcd-password-file must be given together"))
	}
	return errors.Join(errs...)
}

// validateSealed is validate for what also opens secrets.
func (s *storage) validateSealed() error {
	err := s.validate()
	if s.shared() && s.sealKeyFile == "" {
		err = errors.Join(err, errors.New("--seal-key-file must be given with --etcd-endpoints: all gateways need the same keys; `gatepass-gateway seal-key create FILE` makes them"))
	}
	return err
}

// open opens the store as it is.
func (s *storage) open(ctx context.Context, log *slog.Logger) (store.Store, error) {
	if err := s.validate(); err != nil {
		return nil, err
	}
	if !s.shared() {
		return bolt.Open(bolt.Options{Dir: s.dataDir, Existing: s.existing, LockTimeout: s.lockTimeout})
	}
	password := ""
	if s.passwordFile != "" {
		content, err := os.ReadFile(s.passwordFile)
		if err != nil {
			return nil, fmt.Errorf("--etcd-password-file: %w", err)
		}
		password = strings.TrimRight(string(content), "\r\n")
	}
	return etcd.Open(ctx, etcd.Options{
		Endpoints: s.endpoints, Prefix: s.prefix, TLS: s.tls,
		Username: s.username, Password: password, Logger: log,
	})
}

// openSealed opens the store, and the keys that open what is sealed in it. It
// refuses a store that a restore did not complete, and keys of another store. Close
// must be called.
func (s *storage) openSealed(ctx context.Context, log *slog.Logger) (store.Store, *seal.Sealer, error) {
	if err := s.validateSealed(); err != nil {
		return nil, nil, err
	}
	opened, err := s.open(ctx, log)
	if err != nil {
		return nil, nil, err
	}
	sealer, err := s.sealer(ctx, log, opened)
	if err == nil {
		err = store.CheckComplete(ctx, opened)
	}
	if err != nil {
		return nil, nil, errors.Join(err, opened.Close())
	}
	return seal.Guard(opened), sealer, nil
}

// sealer reads the key file, or makes it in the data folder of a new store. It looks
// at everything that is sealed, and opens one value.
func (s *storage) sealer(ctx context.Context, log *slog.Logger, opened store.Store) (*seal.Sealer, error) {
	usage, err := seal.Survey(ctx, opened)
	if err != nil {
		return nil, fmt.Errorf("read the store: %w", err)
	}
	name := s.sealKeyFile
	if name == "" {
		name = filepath.Join(s.dataDir, sealKeyName)
		if err := makeSealKey(name, len(usage) == 0, log); err != nil {
			return nil, err
		}
	}
	sealer, err := seal.New(seal.Options{File: name, Logger: log})
	if err != nil {
		return nil, fmt.Errorf("--seal-key-file: %w", err)
	}
	if err := errors.Join(sealer.Check(usage), openFirst(ctx, opened, sealer)); err != nil {
		return nil, fmt.Errorf("the store was sealed with other keys than those of %s: %w", name, err)
	}
	return sealer, nil
}

// openFirst finds out whether a key has only the name of the one that sealed.
func openFirst(ctx context.Context, opened store.Store, sealer *seal.Sealer) error {
	page, err := opened.List(ctx, store.Query{Prefix: seal.Prefix, Limit: 1})
	for _, item := range page.Items {
		var value []byte
		value, err = sealer.Open(item.Key, item.Value)
		clear(value)
	}
	return err
}

func makeSealKey(name string, empty bool, log *slog.Logger) error {
	if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) {
		return nil // New tells what is wrong with it
	}
	if !empty {
		return fmt.Errorf("%s is missing, and the store holds secrets that are sealed with it; put it back, or give it with --seal-key-file", name)
	}
	id, err := seal.CreateFile(name)
	if err != nil {
		return fmt.Errorf("make the keys that seal the store: %w", err)
	}
	log.Info("keys that seal the store were made; keep a copy of the file apart from backups of the store", "file", name, "key", id)
	return nil
}
