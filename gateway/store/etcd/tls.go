package etcd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"

	"google.golang.org/grpc/credentials"
)

// TLS names the files of a connection in PEM. They are read anew for every
// connection, so certificates and authorities can be replaced while it runs;
// connections that exist go on.
type TLS struct {
	// CAFile holds the authorities of etcd's certificates; empty means the
	// system's.
	CAFile string
	// CertFile and KeyFile are the gateway's own certificate; both or none.
	CertFile, KeyFile string
}

// config reads the files.
func (t TLS) config() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if t.CAFile != "" {
		content, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read etcd's CA: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(content) {
			return nil, fmt.Errorf("read etcd's CA: %s holds no certificate", t.CAFile)
		}
	}
	if (t.CertFile == "") != (t.KeyFile == "") {
		return nil, errors.New("a client certificate needs its key, and a key its certificate")
	}
	if t.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("read the client certificate for etcd: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// fileCredentials is the TLS of gRPC, with files that may change.
type fileCredentials struct {
	credentials.TransportCredentials // by the files as they were at first; describes the protocol

	files  TLS
	logger *slog.Logger

	mu   sync.Mutex
	last *tls.Config // the last that was complete
}

func newCredentials(files TLS, logger *slog.Logger) (*fileCredentials, error) {
	config, err := files.config()
	if err != nil {
		return nil, err
	}
	return &fileCredentials{TransportCredentials: credentials.NewTLS(config), files: files, logger: logger, last: config}, nil
}

// ClientHandshake implements credentials.TransportCredentials.
func (c *fileCredentials) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return credentials.NewTLS(c.current()).ClientHandshake(ctx, authority, conn)
}

// Clone implements credentials.TransportCredentials. All connections share what
// was read last.
func (c *fileCredentials) Clone() credentials.TransportCredentials { return c }

// current returns the files' content, or the last that could be used: a
// certificate and its key are two files, and may be met half replaced.
func (c *fileCredentials) current() *tls.Config {
	config, err := c.files.config()
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.logger.Error("certificates for etcd can't be used; the last good ones stay in use", "error", err)
		return c.last
	}
	c.last = config
	return config
}
