package maintenance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gatepass/gatepass/gateway/keys"
	"github.com/gatepass/gatepass/gateway/seal"
	"github.com/gatepass/gatepass/gateway/store"
	"github.com/gatepass/gatepass/gateway/store/bolt"
)

// A backup that is made while others write is of one moment: each of them writes two
// records at a time, and these are alike.
func TestBackupWhileOthersWrite(t *testing.T) {
	t.Parallel()
	const writers, backups = 8, 5
	r := start(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel()
	for w := range writers {
		group.Go(func() {
			for n := 1; ctx.Err() == nil; n++ {
				value := fmt.Append(nil, n)
				_, err := r.store.Commit(ctx, store.Put(fmt.Sprintf("left/%d", w), value), store.Put(fmt.Sprintf("right/%d", w), value))
				if err != nil && ctx.Err() == nil {
					t.Errorf("write: %v", err)
				}
			}
		})
	}
	until(t, "all to have written", func() bool {
		page, err := r.store.List(t.Context(), store.Query{Prefix: "right/", Limit: writers})
		return err == nil && len(page.Items) == writers
	})
	seen := map[string]bool{}
	for range backups {
		var backup bytes.Buffer
		if err := r.client.Backup(t.Context(), &backup); err != nil {
			t.Fatal(err)
		}
		other, err := bolt.Open(bolt.Options{Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := store.Restore(t.Context(), other, bytes.NewReader(backup.Bytes())); err != nil {
			t.Error(err)
		}
		for w := range writers {
			left, lerr := other.Get(t.Context(), fmt.Sprintf("left/%d", w))
			right, rerr := other.Get(t.Context(), fmt.Sprintf("right/%d", w))
			if err := errors.Join(lerr, rerr); err != nil || !bytes.Equal(left.Value, right.Value) {
				t.Errorf("half of a commit is in the backup: %q and %q, %v", left.Value, right.Value, err)
			}
			seen[string(left.Value)] = true
		}
		if err := other.Close(); err != nil {
			t.Error(err)
		}
	}
	if len(seen) < 2 {
		t.Error("nothing was written between the backups")
	}
	if got := strings.Count(r.ledger.String(), `"event":"store-backup"`); got != backups {
		t.Errorf("%d lines in the audit log: %s", got, r.ledger)
	}
	if want := fmt.Sprintf(`"client":"unix:uid=%d,pid=%d"`, os.Geteuid(), os.Getpid()); !strings.Contains(r.ledger.String(), want) {
		t.Errorf("the audit log does not say who: %s", r.ledger)
	}
}

func TestResealAndReset(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	made, err := r.client.ResetAdministrator(t.Context())
	if err != nil || made.AccessID == "" || made.AccessKey == "" {
		t.Fatalf("%+v, %v", made, err)
	}
	if strings.Contains(r.ledger.String(), made.AccessKey) || !strings.Contains(r.ledger.String(), "administrator-reset-request") {
		t.Errorf("audit log: %s", r.ledger)
	}
	id, err := seal.AddKey(r.keys, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	done, err := r.client.Reseal(t.Context())
	if err != nil || done.Count == 0 || len(done.Usage) != 1 || done.Usage[id] != done.Count {
		t.Errorf("%+v, %v, the new key is %s", done, err, id)
	}
	if err := os.WriteFile(r.keys, []byte("half a li"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := r.client.Reseal(t.Context()); !fails(err, "read the key file") {
		t.Errorf("with a broken key file: %v", err)
	}
}

func TestSigningKeysAreReplaced(t *testing.T) {
	t.Parallel()
	var ring *keys.Ring
	r := start(t, func(o *Options) {
		ring = keys.NewStored(o.Keeper.Store, seals(t, o), 0)
		o.Keeper.SigningKeys = ring
	})
	first, err := ring.Keys(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	done, err := r.client.RotateSigningKey(t.Context())
	if now, readErr := ring.Keys(t.Context(), nil); err != nil || readErr != nil || len(now) != 2 || !now[1].From.Equal(done.From) {
		t.Errorf("%+v and %+v, %v, %v", done, now, err, readErr)
	}
	if err := r.client.ReplaceSigningKeys(t.Context()); err != nil {
		t.Error(err)
	}
	if now, err := ring.Keys(t.Context(), nil); err != nil || len(now) != 1 || keys.Same(now, first) {
		t.Errorf("%+v, %v", now, err)
	}
	for _, event := range []string{"signing-key-rotate", "signing-keys-replace"} {
		if !strings.Contains(r.ledger.String(), event) {
			t.Errorf("%s is not in the audit log: %s", event, r.ledger)
		}
	}
	r.ledger.broken = true
	if err := r.client.ReplaceSigningKeys(t.Context()); !fails(err, "disk full") {
		t.Errorf("what can't be recorded: %v", err)
	}
	t.Run("unless they are the administrator's", func(t *testing.T) {
		t.Parallel()
		if _, err := start(t, nil).client.RotateSigningKey(t.Context()); !fails(err, "--signing-keys-file") {
			t.Error(err)
		}
	})
}

// seals is the sealer of a rig, as package keys needs it.
func seals(t *testing.T, o *Options) keys.Sealer {
	t.Helper()
	sealer, ok := o.Keeper.Sealer.(keys.Sealer)
	if !ok {
		t.Fatalf("the sealer is a %T", o.Keeper.Sealer)
	}
	return sealer
}

func TestWhatCantBeRecordedIsNotDone(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	r.ledger.broken = true
	var backup bytes.Buffer
	if err := r.client.Backup(t.Context(), &backup); !fails(err, "disk full") || backup.Len() > 0 {
		t.Errorf("%d bytes, %v", backup.Len(), err)
	}
	if _, err := r.client.Reseal(t.Context()); !fails(err, "disk full") {
		t.Errorf("error %v", err)
	}
	if _, err := r.client.ResetAdministrator(t.Context()); !fails(err, "disk full") {
		t.Errorf("error %v", err)
	}
}

func TestBackupThatFailsHalfWay(t *testing.T) {
	t.Parallel()
	r := start(t, func(o *Options) { o.Keeper.Store = brokenStore{o.Keeper.Store} })
	var backup bytes.Buffer
	if err := r.client.Backup(t.Context(), &backup); !fails(err, "read page 7: unexpected EOF") {
		t.Errorf("%d bytes, %v", backup.Len(), err)
	}
	if _, err := store.CheckBackup(bytes.NewReader(backup.Bytes())); err == nil {
		t.Error("what came of it is a backup")
	}
}

// ask connects and sends a request, of which nothing is read.
func (r *rig) ask(t *testing.T, text string) net.Conn {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "unix", filepath.Join(r.dir, SocketName))
	if err == nil {
		_, err = io.WriteString(conn, text)
	}
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// fill makes the store larger than what a connection holds by itself.
func (r *rig) fill(t *testing.T) {
	t.Helper()
	for i := range 8 {
		var ops []store.Op
		for j := range 15 {
			ops = append(ops, store.Put(fmt.Sprintf("%d/%d", i, j), make([]byte, store.MaxValue)))
		}
		if _, err := r.store.Commit(t.Context(), ops...); err != nil {
			t.Fatal(err)
		}
	}
}

const backupRequest = "POST /backup HTTP/1.1\r\nHost: gateway\r\nContent-Length: 0\r\n\r\n"

func TestClientThatDoesNotRead(t *testing.T) {
	t.Parallel()
	r := start(t, func(o *Options) { o.stall = 300 * time.Millisecond })
	r.fill(t)
	hanging := r.ask(t, backupRequest)
	until(t, "the backup to begin", func() bool { return strings.Contains(r.ledger.String(), "store-backup") })
	if _, err := r.client.Reseal(t.Context()); !fails(err, "another maintenance command") {
		t.Errorf("at the same time: %v", err)
	}
	if _, err := r.store.Commit(t.Context(), store.Put("a", nil)); err != nil {
		t.Errorf("a write meanwhile: %v", err)
	}
	until(t, "the gateway to give up on it", func() bool { return r.client.Backup(t.Context(), io.Discard) == nil })
	if err := hanging.Close(); err != nil {
		t.Error(err)
	}
}

func TestEndWithClientsThatHang(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	r.fill(t)
	silent, hanging := r.ask(t, ""), r.ask(t, backupRequest)
	until(t, "the backup to begin", func() bool { return strings.Contains(r.ledger.String(), "store-backup") })
	began := time.Now()
	r.stop()
	if took := time.Since(began); took > 5*closeTimeout {
		t.Errorf("it took %s", took)
	}
	if err := errors.Join(silent.Close(), hanging.Close()); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(filepath.Join(r.dir, SocketName)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is left: %v", err)
	}
	if err := r.client.Ping(t.Context()); !fails(err, "there is no socket") {
		t.Errorf("error %v", err)
	}
}

func TestRequestsThatAreNone(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	for name, text := range map[string]string{
		"a body":       "POST /reset-admin HTTP/1.1\r\nHost: gateway\r\nContent-Length: 2\r\n\r\n{}",
		"GET":          "GET /reset-admin HTTP/1.1\r\nHost: gateway\r\n\r\n",
		"another path": "POST /v2/auth HTTP/1.1\r\nHost: gateway\r\nContent-Length: 0\r\n\r\n",
		"long headers": "POST /reset-admin HTTP/1.1\r\nHost: gateway\r\nX: " + strings.Repeat("x", 1<<16),
	} {
		conn := r.ask(t, text)
		answer := make([]byte, len("HTTP/1.1 400"))
		if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(conn, answer); err != nil || !bytes.HasPrefix(answer, []byte("HTTP/1.1 4")) {
			t.Errorf("%s: %q, %v", name, answer, err)
		}
		_ = conn.Close() // it may be closed already
	}
	if r.ledger.String() != "" {
		t.Errorf("something was done: %s", r.ledger)
	}
}

func TestSocket(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	name := filepath.Join(r.dir, SocketName)
	if info, err := os.Lstat(name); err != nil || info.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	r.stop()

	// As a process that was killed leaves it.
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	left.SetUnlinkOnClose(false)
	if err := left.Close(); err != nil {
		t.Fatal(err)
	}
	client := NewClient(r.dir)
	if err := client.Ping(t.Context()); !fails(err, "nobody listens") {
		t.Errorf("error %v", err)
	}
	again, err := listen(t.Context(), r.dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := listen(t.Context(), r.dir); !fails(err, "is not a socket") {
		t.Errorf("error %v", err)
	}
	if _, err := os.Lstat(name); err != nil {
		t.Errorf("the file is gone: %v", err)
	}
	if err := client.Close(); err != nil {
		t.Error(err)
	}
}

func TestPermits(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name       string
		uid, owner int
		want       bool
	}{
		{"the gateway's user may", 65532, 65532, true},
		{"root may", 0, 65532, true},
		{"another user may not", 1000, 65532, false},
		{"another user may not if the gateway is root", 1000, 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := permits(tt.uid, tt.owner); got != tt.want {
				t.Errorf("%v", got)
			}
		})
	}
}

// Another user's process is kept out by the socket's mode and, if that is lost, by
// the gateway. Who is not root can't be another user, so the gateway is another's.
func TestAnotherUserIsRefused(t *testing.T) {
	t.Parallel()
	root := os.Geteuid() == 0
	as, closed := &syscall.Credential{Uid: 65534, Gid: 65534}, fs.FileMode(socketMode)
	if !root {
		as, closed = nil, 0
	}
	r := start(t, func(o *Options) {
		if !root {
			o.owner = os.Geteuid() + 1
		}
	})
	for dir := r.dir; strings.HasPrefix(dir, os.TempDir()) && dir != os.TempDir(); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		mode fs.FileMode
		want string
	}{{closed, ErrForbidden.Error()}, {0o666, "ask on"}} {
		if err := os.Chmod(filepath.Join(r.dir, SocketName), tt.mode); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
		cmd.Env = []string{childFolder + "=" + r.dir}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as}
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || !strings.Contains(string(out), tt.want) {
			t.Errorf("with mode %s: %q, %v", tt.mode, out, err)
		}
	}
}
