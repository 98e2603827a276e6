// Package etcd keeps the gateway's records in an etcd cluster (version 3.5 or
// later), for several gateways that share them.
//
// Reads are linearizable: what one gateway has committed, all others read. An
// outage of etcd makes reads and commits fail with store.ErrUnavailable within
// Options.RequestTimeout; watchers wait, and get what they missed. Connections
// come back by themselves.
//
// With several members, give the endpoints of all: the loss of one is not noticed.
package etcd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"github.com/gatepass/gatepass/gateway/store"
)

// Defaults of Options.
const (
	DefaultPrefix         = "/gatepass/"
	DefaultDialTimeout    = 5 * time.Second
	DefaultRequestTimeout = 3 * time.Second
)

const (
	// keepAliveTime is how often an idle connection is probed. A server closes
	// connections that do it more often than every 5 s (etcd's
	// --grpc-keepalive-min-time).
	keepAliveTime    = 10 * time.Second
	keepAliveTimeout = 5 * time.Second

	// maxReconnectWait is how long a lost server is left alone between attempts.
	// gRPC's own 120 s would keep a gateway away from an etcd that is back.
	maxReconnectWait = 2 * time.Second
)

// Options configure Open.
type Options struct {
	// Endpoints are URLs, all https or, for an etcd that is reached within one
	// machine, all http.
	Endpoints []string
	// Prefix is put before all keys; DefaultPrefix if it is empty. It must end in
	// a slash, so that it can't be the beginning of somebody else's.
	Prefix string
	// TLS applies to https.
	TLS TLS
	// Username and Password are optional, and need https.
	Username, Password string
	// DialTimeout bounds how long Open waits, and each attempt to connect;
	// DefaultDialTimeout if it is zero.
	DialTimeout time.Duration
	// RequestTimeout bounds each request; DefaultRequestTimeout if it is zero.
	RequestTimeout time.Duration
	// Logger is told of interrupted watches and unreadable certificates.
	Logger *slog.Logger
}

// Store speaks to etcd. It implements store.Store.
type Store struct {
	client  *clientv3.Client
	prefix  string
	timeout time.Duration
	logger  *slog.Logger
	user    string
}

var _ store.Store = (*Store)(nil)

// Open connects and reads, so that a wrong address, certificate, password or
// right is found at once. Close must be called.
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.Prefix == "" {
		o.Prefix = DefaultPrefix
	}
	if o.DialTimeout == 0 {
		o.DialTimeout = DefaultDialTimeout
	}
	if o.RequestTimeout == 0 {
		o.RequestTimeout = DefaultRequestTimeout
	}
	secure, err := o.check()
	if err != nil {
		return nil, fmt.Errorf("etcd: %w", err)
	}
	config, err := o.config(secure)
	if err != nil {
		return nil, fmt.Errorf("etcd: %w", err)
	}
	client, err := connect(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("connect to etcd: %w", unavailable(o.Username, o.Prefix, err))
	}
	s := &Store{client: client, prefix: o.Prefix, timeout: o.RequestTimeout, logger: o.Logger, user: o.Username}
	probe, cancel := context.WithTimeout(ctx, o.DialTimeout)
	defer cancel()
	if _, err := client.Get(probe, o.Prefix, clientv3.WithPrefix(), clientv3.WithLimit(1), clientv3.WithKeysOnly()); err != nil {
		return nil, errors.Join(fmt.Errorf("connect to etcd: %w", s.failure(ctx, err)), s.Close())
	}
	return s, nil
}

// check returns whether the endpoints are https, or what is wrong.
func (o Options) check() (secure bool, err error) {
	secure, err = o.secure()
	switch {
	case err != nil:
		return false, err
	case !secure && o.TLS != TLS{}:
		return false, errors.New("certificates are for https endpoints only")
	case !secure && o.Username != "":
		return false, errors.New("a password would cross the network in clear text; use https endpoints")
	case (o.Username == "") != (o.Password == ""):
		return false, errors.New("a user needs a password, and a password a user")
	case !strings.HasSuffix(o.Prefix, "/"):
		return false, fmt.Errorf("the prefix %q must end in a slash", o.Prefix)
	}
	return secure, store.CheckKey(o.Prefix)
}

// secure returns whether the endpoints are https.
func (o Options) secure() (bool, error) {
	schemes := map[string]bool{}
	for _, endpoint := range o.Endpoints {
		u, err := url.Parse(endpoint)
		if err != nil || u.Host == "" || u.Path != "" || u.User != nil || u.Scheme != "https" && u.Scheme != "http" {
			return false, errors.New("an endpoint must look like https://etcd.example:2379")
		}
		schemes[u.Scheme] = true
	}
	switch len(schemes) {
	case 0:
		return false, errors.New("name at least one endpoint")
	case 1:
		return schemes["https"], nil
	}
	return false, errors.New("the endpoints must be all https or all http")
}

// config is that of etcd's client.
func (o Options) config(secure bool) (clientv3.Config, error) {
	dial := []grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{
		Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: maxReconnectWait},
		MinConnectTimeout: o.DialTimeout,
	})}
	if secure {
		credentials, err := newCredentials(o.TLS, o.Logger)
		if err != nil {
			return clientv3.Config{}, err
		}
		// It comes after, and replaces, what the client would set for https.
		dial = append(dial, grpc.WithTransportCredentials(credentials))
	}
	return clientv3.Config{
		Endpoints:            o.Endpoints,
		Username:             o.Username,
		Password:             o.Password,
		DialTimeout:          o.DialTimeout,
		DialKeepAliveTime:    keepAliveTime,
		DialKeepAliveTimeout: keepAliveTimeout,
		PermitWithoutStream:  true,
		DialOptions:          dial,
		Logger:               zap.NewNop(), // every error comes back to the caller
	}, nil
}

// connect makes a client, and logs in if there is a user. Without a connection
// that fails, and leaves no client to ask for the cause; one without a user does.
func connect(ctx context.Context, config clientv3.Config) (*clientv3.Client, error) {
	client, err := clientv3.New(config)
	if err == nil || !errors.Is(err, context.DeadlineExceeded) {
		return client, err
	}
	config.Username, config.Password = "", ""
	other, otherErr := clientv3.New(config)
	if otherErr != nil {
		return nil, err
	}
	err = cause(ctx, other, err)
	_ = other.Close() // it has told what it could
	return nil, err
}

// Close ends all watches and requests.
func (s *Store) Close() error {
	err := s.client.Close()
	if errors.Is(err, context.Canceled) { // what it says when all is well, and the second time
		return nil
	}
	return err
}
