package etcd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gatepass/gatepass/gateway/store"
)

// failure turns what a request failed with into an error of the contract. The
// context is the caller's, without the timeout of the request.
func (s *Store) failure(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case s.client.Ctx().Err() != nil:
		return errClosed()
	case errors.Is(err, rpctypes.ErrCompacted), errors.Is(err, rpctypes.ErrFutureRev):
		return store.ErrCompacted
	}
	return unavailable(s.user, s.prefix, cause(ctx, s.client, err))
}

// causeTimeout bounds the search for a cause. It is at hand while gRPC waits to
// connect again, which is nearly always then.
const causeTimeout = 250 * time.Millisecond

// cause returns why there is no connection, if that is why a request ran into its
// timeout. The client, which waits for one, does not say. A request that does not
// wait fails with the reason.
func cause(ctx context.Context, client *clientv3.Client, err error) error {
	if !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, causeTimeout)
	defer cancel()
	_, reason := etcdserverpb.NewKVClient(client.ActiveConnection()).Range(ctx, &etcdserverpb.RangeRequest{Key: []byte("?")}, grpc.WaitForReady(false))
	if status.Code(reason) == codes.Unavailable {
		return reason
	}
	return err
}

func errClosed() error { return fmt.Errorf("%w: it is closed", store.ErrUnavailable) }

// unavailable says what to do about an error of etcd.
func unavailable(user, prefix string, err error) error {
	hint := ""
	switch {
	case is(err, rpctypes.ErrPermissionDenied):
		hint = fmt.Sprintf("; grant the user %q the right readwrite on the prefix %s", user, prefix)
		if user == "" {
			hint = "; etcd takes the common name of the client certificate for the user: grant that the right readwrite on the prefix " + prefix + ", or give a user and a password"
		}
	case is(err, rpctypes.ErrAuthFailed):
		hint = fmt.Sprintf("; the password of user %q is another", user)
	case is(err, rpctypes.ErrUserEmpty):
		hint = "; this etcd wants a user name and a password"
	case is(err, rpctypes.ErrNoSpace):
		hint = "; compact and defragment etcd, or raise its --quota-backend-bytes, then disarm the alarm"
	case refused(err):
		hint = "; etcd seems not to accept the client certificate, or wants one"
	}
	return fmt.Errorf("%w: etcd: %w%s", store.ErrUnavailable, plain(err), hint)
}

// is compares texts: of a watch, etcd's client returns nothing else.
func is(err, etcd error) bool { return strings.Contains(err.Error(), etcd.Error()) }

// refused reports whether a server may have ended the connection because of the
// client certificate. In TLS 1.3 it does so after the client's handshake, and
// whether the client reads why, before it notices when it writes, is chance.
func refused(err error) bool {
	return status.Code(err) == codes.Unavailable && slices.ContainsFunc(
		[]string{"remote error: tls:", "broken pipe", "connection reset by peer"},
		func(sign string) bool { return strings.Contains(err.Error(), sign) })
}

// plain hides context.DeadlineExceeded in err: the deadline was the request's, not
// the caller's, who must not take it for that.
func plain(err error) error {
	if s, ok := status.FromError(err); ok && s.Code() != codes.OK {
		return errors.New(s.Message())
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return errors.New(err.Error())
	}
	return err
}
