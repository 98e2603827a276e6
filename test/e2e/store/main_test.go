//go:build e2e

// Package store_test installs gateways that keep what they are told, with the
// components of the manifests, and manages them as their administrator.
package store_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/gatepass/gatepass/gateway/seal"
	"github.com/gatepass/gatepass/test/bed"
	"github.com/gatepass/gatepass/test/machine"
	"github.com/gatepass/gatepass/test/pki"
	"github.com/gatepass/gatepass/test/process"
	"github.com/gatepass/gatepass/test/repo"
)

var shared *bed.Bed

func TestMain(m *testing.M) {
	os.Exit(bed.Main(m, bed.Options{Kustomization: "e2e/store/testdata/etcd", Prepare: prepare}, &shared))
}

// etcd's address is that of the kustomization in testdata.
const etcdURL = "https://" + machine.NodeAddress + ":2379"

// sealKeyFile is the administrator's own copy.
func sealKeyFile() string { return filepath.Join(machine.Dir(), "seal.key") }

// prepare does what docs/operations.md asks for before the manifests are applied.
func prepare(ctx context.Context, b *bed.Bed) error {
	client, err := startEtcd(ctx, b)
	if err != nil {
		return err
	}
	root, err := repo.Root()
	if err != nil {
		return err
	}
	_, err = seal.CreateFile(sealKeyFile())
	for _, args := range [][]string{
		{"apply", "-f", filepath.Join(root, "manifests", "base", "namespace.yaml")},
		{"create", "secret", "generic", "gatepass-gateway-seal-key", "-n", bed.System, "--from-file=" + sealKeyFile()},
		{"create", "secret", "generic", "gatepass-gateway-etcd", "-n", bed.System, "--from-file=" + client},
	} {
		if err == nil {
			_, _, err = b.Kubectl(ctx, args...)
		}
	}
	return err
}

// startEtcd runs an etcd on the node that lets nobody in without a certificate. It
// returns the folder of a client's.
func startEtcd(ctx context.Context, b *bed.Bed) (client string, err error) {
	ca, err := pki.NewCA("etcd")
	if err != nil {
		return "", err
	}
	server, err := ca.Server(machine.NodeAddress)
	if err != nil {
		return "", err
	}
	clients, err := ca.Client("gatepass-gateway")
	if err != nil {
		return "", err
	}
	dir := filepath.Join(machine.Dir(), "etcd")
	client = filepath.Join(dir, "client")
	for folder, pair := range map[string]pki.Pair{filepath.Join(dir, "server"): server, client: clients} {
		err = errors.Join(err, os.MkdirAll(folder, 0o700), os.WriteFile(filepath.Join(folder, "ca.crt"), ca.PEM(), 0o600))
		_, _, written := pair.Write(folder)
		err = errors.Join(err, written)
	}
	if err != nil {
		return "", err
	}
	guard, err := process.NewGuard()
	if err != nil {
		return "", err
	}
	b.AtEnd(guard.Release)
	const peers, metrics = "http://127.0.0.1:12380", "http://127.0.0.1:12381"
	p, err := process.Start(process.Options{
		Name: "etcd", Path: filepath.Join(b.Binaries(), "etcd"), Guard: guard,
		Args: []string{
			"--data-dir=" + filepath.Join(guard.Dir(), "data"),
			"--listen-client-urls=" + etcdURL, "--advertise-client-urls=" + etcdURL,
			"--listen-peer-urls=" + peers, "--initial-advertise-peer-urls=" + peers, "--initial-cluster=default=" + peers,
			"--listen-metrics-urls=" + metrics,
			"--cert-file=" + filepath.Join(dir, "server", "tls.crt"), "--key-file=" + filepath.Join(dir, "server", "tls.key"),
			"--trusted-ca-file=" + filepath.Join(dir, "server", "ca.crt"), "--client-cert-auth",
			"--unsafe-no-fsync", "--log-level=warn",
		},
	})
	if err != nil {
		return "", err
	}
	b.AtEnd(p.Kill)
	return client, p.WaitReady(ctx, metrics+"/health")
}
