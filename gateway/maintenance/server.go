package maintenance

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/go-json-experiment/json"
)

// Bounds of what a client can take.
const (
	headerTimeout = 5 * time.Second
	maxHeader     = 4 << 10
	idleTimeout   = 5 * time.Second

	// stallTimeout is how long a backup waits for a client that does not read, and
	// backupTimeout how long it takes at most. Meanwhile the database does not use
	// again what was written before, and grows.
	stallTimeout  = 10 * time.Second
	backupTimeout = 5 * time.Minute
	// resealTimeout is for some hundred thousand values.
	resealTimeout = 10 * time.Minute
	resetTimeout  = 10 * time.Second
	keysTimeout   = 10 * time.Second

	// closeTimeout is how long an act may go on when the gateway ends.
	closeTimeout = 2 * time.Second
)

// The acts' paths.
const (
	pingPath   = "/ping"
	backupPath = "/backup"
	resealPath = "/reseal"
	resetPath  = "/reset-admin"
	rotatePath = "/rotate-signing-key"
	// replacePath is for keys that were stolen.
	replacePath = "/replace-signing-keys"
)

// failureTrailer tells why a backup ends early.
const failureTrailer = "Gatepass-Failure"

// Options configure a Server.
type Options struct {
	// Dir is the data folder, whose database this process has open.
	Dir string
	// Keeper does the work; its Caller is who connects.
	Keeper Keeper
	Logger *slog.Logger

	// stall is stallTimeout, and owner this process's user, unless a test has less
	// time and no other user.
	stall time.Duration
	owner int
}

// Server does for clients what they can't do while the gateway has the store open.
type Server struct {
	options  Options
	listener net.Listener
	http     *http.Server
	// busy holds whoever is at it: one at a time, and Run at the end.
	busy chan struct{}
}

// Listen makes the socket; Run serves it, and removes it.
func Listen(ctx context.Context, o Options) (*Server, error) {
	k := &o.Keeper
	if o.Dir == "" || k.Store == nil || k.Sealer == nil || k.Administrators == nil || k.Audit == nil || o.Logger == nil {
		return nil, errors.New("maintenance: Dir, Keeper and Logger must be set")
	}
	if o.stall == 0 {
		o.stall = stallTimeout
	}
	if o.owner == 0 {
		o.owner = os.Geteuid()
	}
	listener, err := listen(ctx, o.Dir)
	if err != nil {
		return nil, fmt.Errorf("listen for maintenance: %w", err)
	}
	s := &Server{options: o, listener: &peerListener{Listener: listener, owner: o.owner, log: o.Logger}, busy: make(chan struct{}, 1)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+pingPath, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("POST "+backupPath, s.act(backupTimeout, s.backup))
	mux.HandleFunc("POST "+resealPath, s.act(resealTimeout, func(ctx context.Context, w http.ResponseWriter, k *Keeper) error {
		done, err := k.Reseal(ctx)
		return answer(w, done, err)
	}))
	mux.HandleFunc("POST "+resetPath, s.act(resetTimeout, func(ctx context.Context, w http.ResponseWriter, k *Keeper) error {
		made, err := k.ResetAdministrator(ctx)
		return answer(w, made, err)
	}))
	mux.HandleFunc("POST "+rotatePath, s.act(keysTimeout, func(ctx context.Context, w http.ResponseWriter, k *Keeper) error {
		done, err := k.RotateSigningKey(ctx)
		return answer(w, done, err)
	}))
	mux.HandleFunc("POST "+replacePath, s.act(keysTimeout, func(ctx context.Context, w http.ResponseWriter, k *Keeper) error {
		return answer(w, struct{}{}, k.ReplaceSigningKeys(ctx))
	}))
	s.http = &http.Server{
		Handler: mux,
		// A ReadTimeout would cancel what takes longer; no request has a body.
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			if c, ok := c.(peerConn); ok {
				ctx = context.WithValue(ctx, peerKey{}, c.peer)
			}
			return ctx
		},
		ErrorLog: slog.NewLogLogger(o.Logger.Handler(), slog.LevelWarn),
	}
	return s, nil
}

type peerKey struct{}

// Run serves until ctx is done; then what is under way is broken off.
func (s *Server) Run(ctx context.Context) error {
	s.http.BaseContext = func(net.Listener) context.Context { return ctx }
	var failure error
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		failure = s.http.Serve(s.listener)
	}()
	select {
	case <-ctx.Done():
	case <-ended:
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	if s.http.Shutdown(bounded) != nil {
		_ = s.http.Close() // it has nothing to lose
	}
	<-ended
	s.busy <- struct{}{}
	if !errors.Is(failure, http.ErrServerClosed) {
		return fmt.Errorf("serve maintenance: %w", failure)
	}
	return nil
}

// act handles an act: one at a time, for no longer than a timeout.
func (s *Server) act(timeout time.Duration, do func(context.Context, http.ResponseWriter, *Keeper) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 {
			http.Error(w, "a body is not expected", http.StatusBadRequest)
			return
		}
		select {
		case s.busy <- struct{}{}:
			defer func() { <-s.busy }()
		default:
			http.Error(w, "the gateway is at another maintenance command; try again when that has ended", http.StatusConflict)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), timeout)
		defer cancel()
		keeper := s.options.Keeper
		if who, ok := ctx.Value(peerKey{}).(peer); ok {
			keeper.Caller = who.String()
		}
		err := do(ctx, w, &keeper)
		s.options.Logger.Info("maintenance", "act", r.URL.Path, "client", keeper.Caller, "error", err)
	}
}

// answer writes what was done, or why it was not.
func answer(w http.ResponseWriter, done any, err error) error {
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return err
	}
	text, err := json.Marshal(done)
	defer clear(text)
	if err == nil {
		_, err = w.Write(text)
	}
	return err
}

// backup streams a backup. The client reads it into a file: what it does not read
// holds it up for no longer than the stall timeout.
func (s *Server) backup(ctx context.Context, w http.ResponseWriter, k *Keeper) error {
	w.Header().Set("Trailer", failureTrailer)
	err := k.Backup(ctx, &stalling{w, http.NewResponseController(w), s.options.stall})
	if err != nil {
		w.Header().Set(failureTrailer, oneLine(err))
	}
	return err
}

// stalling is a response whose client must not stop reading.
type stalling struct {
	out     http.ResponseWriter
	control *http.ResponseController
	timeout time.Duration
}

// Write implements io.Writer.
func (s *stalling) Write(b []byte) (int, error) {
	if err := s.control.SetWriteDeadline(time.Now().Add(s.timeout)); err != nil {
		return 0, fmt.Errorf("limit the time of a write: %w", err)
	}
	return s.out.Write(b) //nolint:wrapcheck // store.Backup wraps it
}
