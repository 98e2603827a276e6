package certs_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gatepass/gatepass/test/await"
	"github.com/gatepass/gatepass/test/manifests"
)

// mountLag is how long a mount is behind its Secret. The kubelet's may be more
// than a minute behind; less is harder for the product, since the API server
// then has less time to learn of a new authority.
const mountLag = 50 * time.Millisecond

// mount keeps a Secret's keys in a folder as the kubelet does: each version in
// a folder of its own, and a symbolic link to it that is swapped in one step.
// While there is no Secret, the last version stays.
type mount struct {
	dir, secret string
	keys        []string

	version int
	content map[string][]byte
}

// startMount follows a Secret of the manifests' namespace until the test ends,
// and returns the folder once it holds every key.
func startMount(t *testing.T, secret string, keys ...string) string {
	t.Helper()
	m := &mount{dir: t.TempDir(), secret: secret, keys: keys}
	var err error
	await.Until(t, "Secret "+secret+" can be mounted", func() bool {
		err = m.follow(t.Context())
		return err == nil && m.content != nil
	}, func() string { return fmt.Sprint(err) })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- m.run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("mount of Secret %s: %v", secret, err)
		}
	})
	return m.dir
}

func (m *mount) run(ctx context.Context) error {
	tick := time.NewTicker(mountLag)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := m.follow(ctx); err != nil && ctx.Err() == nil {
			return err
		}
	}
}

// follow writes a new version if the Secret has one that is complete.
func (m *mount) follow(ctx context.Context) error {
	secret, err := shared.Client.CoreV1().Secrets(manifests.Namespace).Get(ctx, m.secret, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	content := map[string][]byte{}
	for _, key := range m.keys {
		if len(secret.Data[key]) == 0 {
			return nil
		}
		content[key] = secret.Data[key]
	}
	if maps.EqualFunc(content, m.content, bytes.Equal) {
		return nil
	}
	if err := m.swap(content); err != nil {
		return err
	}
	m.content = content
	return nil
}

func (m *mount) swap(content map[string][]byte) error {
	old := fmt.Sprintf("..%d", m.version)
	m.version++
	name := fmt.Sprintf("..%d", m.version)
	if err := os.Mkdir(filepath.Join(m.dir, name), 0o700); err != nil {
		return err
	}
	for key, value := range content {
		if err := os.WriteFile(filepath.Join(m.dir, name, key), value, 0o600); err != nil {
			return err
		}
	}
	next, data := filepath.Join(m.dir, "..data_tmp"), filepath.Join(m.dir, "..data")
	if err := os.Symlink(name, next); err != nil {
		return err
	}
	if err := os.Rename(next, data); err != nil {
		return err
	}
	for key := range content {
		if err := os.Symlink(filepath.Join("..data", key), filepath.Join(m.dir, key)); err != nil && !os.IsExist(err) {
			return err
		}
	}
	return os.RemoveAll(filepath.Join(m.dir, old))
}
