// Package clientca has a server ask its clients for certificates of CAs that a file
// holds, and follows that file.
package clientca

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync/atomic"
	"time"
)

// Demand says what becomes of clients without a certificate.
type Demand string

// The choices. A certificate that is presented is verified in both cases.
const (
	Optional Demand = "optional"
	Required Demand = "required"
)

const (
	// interval is how often the file is read. See docs/decisions/0004.
	interval = time.Second
	// maxFile bounds the file, in bytes. A Secret holds at most 1 MiB.
	maxFile = 1 << 20
)

// CAs are those whose certificates admit clients to talk to a server. Nothing else
// follows from a certificate.
type CAs struct {
	file    string
	log     *slog.Logger
	current atomic.Pointer[bundle]
}

type bundle struct {
	digest [sha256.Size]byte
	pool   *x509.CertPool
}

// New reads a file of certificates in PEM, and fails if it can't be used.
func New(file string, log *slog.Logger) (*CAs, error) {
	c := &CAs{file: file, log: log}
	next, err := c.read()
	if err != nil {
		return nil, err
	}
	c.current.Store(next)
	return c, nil
}

// Follow takes every change of the file into use until ctx is done. A file that
// can't be used changes nothing. It returns nil.
func (c *CAs) Follow(ctx context.Context) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	failure := ""
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			failure = c.poll(failure)
		}
	}
}

// poll takes the file into use if it changed. It returns why it can't be used, and
// does not repeat what was the reason before.
func (c *CAs) poll(before string) (failure string) {
	next, err := c.read()
	switch {
	case err != nil:
		if err.Error() != before {
			c.log.Error("the CAs of clients can't be reloaded; the last good ones stay in use", "error", err)
		}
		return err.Error()
	case next.digest != c.current.Load().digest:
		c.current.Store(next)
		c.log.Info("CAs of clients taken into use", "file", c.file)
	case before != "":
		c.log.Info("the CAs of clients are as they were when they could be used", "file", c.file)
	}
	return ""
}

func (c *CAs) read() (*bundle, error) {
	file, err := os.Open(c.file)
	if err != nil {
		return nil, fmt.Errorf("read the CAs of clients: %w", err)
	}
	defer file.Close() //nolint:errcheck // only read from
	content, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read the CAs of clients: %w", err)
	}
	if len(content) > maxFile {
		return nil, fmt.Errorf("%s has more than %d bytes", c.file, maxFile)
	}
	pool, err := parseCAs(content)
	if err != nil {
		return nil, fmt.Errorf("%s %w", c.file, err)
	}
	return &bundle{digest: sha256.Sum256(content), pool: pool}, nil
}

// parseCAs refuses a file of which a part can't be read: CertPool.AppendCertsFromPEM
// would leave it out, and some clients with it.
func parseCAs(content []byte) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	rest := content
	for n := 1; ; n++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			switch {
			case n == 1:
				return nil, errors.New("holds no certificate in PEM")
			case bytes.Contains(rest, []byte("-----BEGIN")):
				return nil, fmt.Errorf("is cut off in block %d", n)
			}
			return pool, nil
		}
		if block.Type != "CERTIFICATE" { // not quoted: it may be a key
			return nil, fmt.Errorf("holds something else than a certificate in block %d", n)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("has a certificate in block %d that can't be read: %w", n, err)
		}
		pool.AddCert(cert)
	}
}

// Admit makes a server's TLS, by HTTP/1.1, ask clients for a certificate. counted, if not
// nil, is told of each connection whether it has one.
func (c *CAs) Admit(base *tls.Config, how Demand, counted func(has bool)) *tls.Config {
	base.ClientAuth = tls.VerifyClientCertIfGiven
	if how == Required {
		base.ClientAuth = tls.RequireAndVerifyClientCert
	}
	// The server adds this to its own configuration only, not to those of connections.
	base.NextProtos = []string{"http/1.1"}
	// A session that is resumed would go by the CAs of its first connection.
	base.SessionTicketsDisabled = true
	base.VerifyConnection = func(state tls.ConnectionState) error {
		if counted != nil {
			counted(len(state.VerifiedChains) > 0)
		}
		return nil
	}
	base.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		config := base.Clone()
		config.ClientCAs, config.GetConfigForClient = c.current.Load().pool, nil
		return config, nil
	}
	return base
}
