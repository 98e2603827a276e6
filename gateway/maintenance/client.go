package maintenance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/gatepass/gatepass/gateway/catalog"
)

const (
	// pingTimeout is how long a gateway may take to show that it is alive.
	pingTimeout = 5 * time.Second
	// slack is how much longer a client waits than a gateway takes at most, so that
	// it is told what happened.
	slack = 5 * time.Second
	// maxAnswer bounds what is read of an answer that is not a backup.
	maxAnswer = 1 << 20
)

// Client has the gateway of a data folder do what a Keeper does.
type Client struct {
	name string
	http *http.Client
}

// NewClient is for a data folder. Close must be called.
func NewClient(dir string) *Client {
	c := &Client{name: filepath.Join(dir, SocketName)}
	c.http = &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", c.name)
		},
		DisableCompression: true,
	}}
	return c
}

// Close closes idle connections. It returns nil.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

// ErrForbidden means that the gateway is another user's.
var ErrForbidden = errors.New("only the user that the gateway runs as, and root, may use it")

// Ping returns nil if there is a gateway that will do what it is told, and else why
// not.
func (c *Client) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	res, err := c.request(ctx, http.MethodGet, pingPath)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no socket %s", c.name)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("nobody listens on %s", c.name)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("the socket %s: %w", c.name, ErrForbidden)
	case err != nil && ctx.Err() != nil:
		return fmt.Errorf("nobody answers on %s: %w", c.name, ctx.Err())
	case err != nil:
		return fmt.Errorf("ask on %s: %w", c.name, err)
	}
	return res.Body.Close()
}

// Backup is Keeper.Backup. Give it a file rather than a connection: the gateway does
// not wait for who is slow.
func (c *Client) Backup(ctx context.Context, w io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, backupTimeout+slack)
	defer cancel()
	res, err := c.request(ctx, http.MethodPost, backupPath)
	if err != nil {
		return fmt.Errorf("have the gateway back up its store: %w", err)
	}
	_, err = io.Copy(w, res.Body)
	err = errors.Join(err, res.Body.Close())
	if failure := res.Trailer.Get(failureTrailer); failure != "" {
		err = errors.Join(errors.New(failure), err)
	}
	if err != nil {
		return fmt.Errorf("have the gateway back up its store: %w", err)
	}
	return nil
}

// Reseal is Keeper.Reseal.
func (c *Client) Reseal(ctx context.Context) (done Resealed, err error) {
	err = c.do(ctx, resealTimeout, resealPath, &done)
	if err != nil {
		return Resealed{}, fmt.Errorf("have the gateway seal its store anew: %w", err)
	}
	return done, nil
}

// ResetAdministrator is Keeper.ResetAdministrator.
func (c *Client) ResetAdministrator(ctx context.Context) (made catalog.Credentials, err error) {
	err = c.do(ctx, resetTimeout, resetPath, &made)
	if err != nil {
		return catalog.Credentials{}, fmt.Errorf("have the gateway reset the administrator: %w", err)
	}
	return made, nil
}

// RotateSigningKey is Keeper.RotateSigningKey.
func (c *Client) RotateSigningKey(ctx context.Context) (done Rotated, err error) {
	err = c.do(ctx, keysTimeout, rotatePath, &done)
	if err != nil {
		return Rotated{}, fmt.Errorf("have the gateway rotate its signing key: %w", err)
	}
	return done, nil
}

// ReplaceSigningKeys is Keeper.ReplaceSigningKeys.
func (c *Client) ReplaceSigningKeys(ctx context.Context) error {
	if err := c.do(ctx, keysTimeout, replacePath, &struct{}{}); err != nil {
		return fmt.Errorf("have the gateway replace its signing keys: %w", err)
	}
	return nil
}

// do asks for an act and reads what was done.
func (c *Client) do(ctx context.Context, timeout time.Duration, path string, done any) error {
	ctx, cancel := context.WithTimeout(ctx, timeout+slack)
	defer cancel()
	res, err := c.request(ctx, http.MethodPost, path)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	defer clear(text)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, done)
}

// request returns an answer that is no error.
func (c *Client) request(ctx context.Context, method, path string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://gateway"+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	res, err := c.http.Do(req)
	if err != nil || res.StatusCode < http.StatusMultipleChoices {
		return res, err
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	return nil, errors.Join(errors.New(string(bytes.TrimSpace(text))), err, res.Body.Close())
}

// oneLine is an error's text as a header can have it.
func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
