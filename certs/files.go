package certs

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"
)

const (
	// pollInterval is how often the files are read. Reading two small files
	// costs some microseconds; a watch would cost an inotify instance, of which
	// a node has few (fs.inotify.max_user_instances is 128 by default), and
	// would miss a swap of a folder above the watched one.
	pollInterval = time.Second

	// complainInterval is how often an unchanged failure is reported again.
	complainInterval = time.Minute

	// maxFileSize bounds what is read. A Secret holds at most 1 MiB.
	maxFileSize = 1 << 20
)

// Files serves with a certificate and key from two files, and follows them
// when they change: rewritten in place, replaced, or swapped through a symbolic
// link as the kubelet does. A pair that can't be used never replaces one that
// can.
//
// Neither of the two well-known sources fits. cert-manager's file source ends
// the process after some failed reads, and controller-runtime's certwatcher
// compares only the leaf, counts errors in a global registry only and logs to a
// global logger.
type Files struct {
	// Logger receives reloads and failures; nil means slog.Default(). Set it
	// before Start.
	Logger *slog.Logger
	// OnReload, if set, is called after a changed pair was taken into use (with
	// nil) and whenever a failure to do so is reported (with the reason): when
	// it appears and then every minute. Set it before Start.
	OnReload func(error)

	certFile, keyFile string

	mu      sync.RWMutex
	current *pair
}

// pair is a certificate and key together with the bytes they were read from.
type pair struct {
	certPEM, keyPEM []byte
	tls             *tls.Certificate
}

// NewFiles reads the pair once and fails if it can't be used: a server that
// starts without its certificate only hides the mistake.
func NewFiles(certFile, keyFile string) (*Files, error) {
	f := &Files{certFile: certFile, keyFile: keyFile}
	certPEM, keyPEM, err := f.read()
	if err != nil {
		return nil, err
	}
	if f.current, err = f.parse(certPEM, keyPEM); err != nil {
		return nil, err
	}
	return f, nil
}

// Start follows the files until ctx is done. It returns nil.
func (f *Files) Start(ctx context.Context) error {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	var complaint complaint
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			f.poll(&complaint)
		}
	}
}

// poll looks at the files once, and tells about changes and lasting failures.
func (f *Files) poll(c *complaint) {
	changed, err := f.reload()
	if err != nil {
		if c.due(err, time.Now()) {
			f.logger().Error("the serving certificate can't be reloaded; the last good one goes on being served",
				"cert_file", f.certFile, "key_file", f.keyFile, "not_after", f.NotAfter(), "error", err)
			f.notify(err)
		}
		return
	}
	*c = complaint{}
	if changed {
		f.logger().Info("serving certificate reloaded", "cert_file", f.certFile, "not_after", f.NotAfter())
		f.notify(nil)
	}
}

// GetCertificate is for tls.Config.
func (f *Files) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.current.tls, nil
}

// Ready is nil as long as the certificate served is valid now.
func (f *Files) Ready() error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if err := validAt(f.current.tls.Leaf, time.Now()); err != nil {
		return fmt.Errorf("%s: %w", f.certFile, err)
	}
	return nil
}

// NotAfter is when the certificate served expires.
func (f *Files) NotAfter() time.Time {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.current.tls.Leaf.NotAfter
}

// reload takes the pair on disk into use if it differs from the one served.
func (f *Files) reload() (changed bool, err error) {
	certPEM, keyPEM, err := f.read()
	if err != nil {
		return false, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if bytes.Equal(certPEM, f.current.certPEM) && bytes.Equal(keyPEM, f.current.keyPEM) {
		return false, nil
	}
	next, err := f.parse(certPEM, keyPEM)
	if err != nil {
		return false, err
	}
	now := time.Now()
	if err := validAt(next.tls.Leaf, now); err != nil && validAt(f.current.tls.Leaf, now) == nil {
		return false, fmt.Errorf("%s: %w", f.certFile, err)
	}
	f.current = next
	return true, nil
}

func (f *Files) read() (certPEM, keyPEM []byte, err error) {
	if certPEM, err = readFile(f.certFile); err != nil {
		return nil, nil, fmt.Errorf("read the serving certificate: %w", err)
	}
	if keyPEM, err = readFile(f.keyFile); err != nil {
		return nil, nil, fmt.Errorf("read the serving certificate's key: %w", err)
	}
	return certPEM, keyPEM, nil
}

func (f *Files) parse(certPEM, keyPEM []byte) (*pair, error) {
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("%s and %s are not a certificate and its key: %w", f.certFile, f.keyFile, err)
	}
	return &pair{certPEM: certPEM, keyPEM: keyPEM, tls: &cert}, nil
}

func (f *Files) logger() *slog.Logger {
	if f.Logger != nil {
		return f.Logger
	}
	return slog.Default()
}

func (f *Files) notify(err error) {
	if f.OnReload != nil {
		f.OnReload(err)
	}
}

func readFile(name string) ([]byte, error) {
	file, err := os.Open(name) //nolint:gosec // the administrator names the file
	if err != nil {
		return nil, err
	}
	defer file.Close() //nolint:errcheck // only read from
	data, err := io.ReadAll(io.LimitReader(file, maxFileSize+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFileSize {
		return nil, fmt.Errorf("%s: %w", name, errTooLarge)
	}
	return data, nil
}

var errTooLarge = errors.New("larger than 1 MiB, so not a certificate or key")

// complaint decides when a failure is worth a line. The first failure in a row
// never is: a writer who replaces one file after the other, or a swap between
// our two reads, shows a mismatched pair that the next read mends.
type complaint struct {
	failures int
	text     string
	toldAt   time.Time
}

func (c *complaint) due(err error, now time.Time) bool {
	c.failures++
	if c.failures < 2 {
		return false
	}
	if text := err.Error(); text != c.text || now.Sub(c.toldAt) >= complainInterval {
		c.text, c.toldAt = text, now
		return true
	}
	return false
}
