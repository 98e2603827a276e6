package exchange

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"
)

const (
	// maxHeader bounds all that comes besides an answer's body: headers, informational
	// answers, and what chunks need.
	maxHeader = 64 << 10
	// readSize is how much is read at a time.
	readSize = 4 << 10
)

// goneError is of a connection that ended before the server answered anything.
type goneError struct{ error }

// Unwrap returns how it ended.
func (e goneError) Unwrap() error { return e.error }

func gone(err error) error {
	if errors.Is(err, io.EOF) {
		err = fmt.Errorf("the server closed the connection without an answer: %w", err)
	}
	return goneError{err}
}

// conn is a connection. One request at a time uses it.
type conn struct {
	socket *socket
	stream io.ReadWriter // TLS over the socket
	// bounded limits what is read in an exchange, and reader is that with a buffer.
	bounded io.LimitedReader
	reader  *bufio.Reader
	used    time.Time
}

func newConn(socket *socket, stream io.ReadWriter) *conn {
	c := &conn{socket: socket, stream: stream, bounded: io.LimitedReader{R: stream}}
	c.reader = bufio.NewReaderSize(&c.bounded, readSize)
	return c
}

// close ends the connection without TLS's farewell, which would wait for a server
// that does not read.
func (c *conn) close() { _ = c.socket.Close() } // nothing is lost with it

// interrupt makes reads and writes fail from now on.
func (c *conn) interrupt() { _ = c.socket.SetDeadline(time.Unix(1, 0)) } // if it fails, the connection has ended

// exchange sends a request and returns the answer with its whole body, but no more than
// one byte beyond most. reusable says that the connection is where the next answer
// would begin.
func (c *conn) exchange(req *http.Request, text []byte, most int64) (res *http.Response, reusable bool, err error) {
	c.bounded.N = most + maxHeader
	if _, err := c.stream.Write(text); err != nil {
		return nil, false, gone(err)
	}
	if _, err := c.reader.Peek(1); err != nil {
		return nil, false, gone(err)
	}
	// Informational answers come before the answer (RFC 9110, section 15.2).
	for res == nil || res.StatusCode < http.StatusOK {
		res, err = http.ReadResponse(c.reader, req)
		if err != nil {
			return nil, false, fmt.Errorf("read the answer: %w", err)
		}
		if res.StatusCode < http.StatusContinue || res.StatusCode == http.StatusSwitchingProtocols {
			return nil, false, fmt.Errorf("the server answers %d, which nobody asked for", res.StatusCode)
		}
	}
	body := bytes.NewBuffer(make([]byte, 0, bodySize(res.ContentLength, most)))
	n, err := body.ReadFrom(io.LimitReader(res.Body, most+1))
	if err != nil {
		return nil, false, fmt.Errorf("read the answer: %w", err)
	}
	whole := n <= most
	res.Body, res.ContentLength = io.NopCloser(body), n
	return res, whole && !res.Close && c.reader.Buffered() == 0, nil
}

// bodySize is the capacity for a body of a length that the server named, or -1. A
// buffer wants room to find that there is no more.
func bodySize(length, most int64) int64 {
	const unknown = 2 << 10
	if length < 0 {
		return unknown
	}
	return min(length, most) + bytes.MinRead
}

// quiet reports whether the server has neither closed the connection nor sent anything
// that was not asked for, not even a part of a record: it would pass for the answer to
// the next request, or be the beginning of what does. What came in one piece with the
// last answer is no longer in the socket, because TLS reads ahead.
func (c *conn) quiet() bool {
	if c.socket.raw == nil {
		return false // nobody can tell
	}
	c.bounded.N = 1
	c.socket.probing, c.socket.came = true, false
	defer func() { c.socket.probing = false }()
	_, err := c.reader.Peek(1)
	return errors.Is(err, errNothing) && !c.socket.came && c.socket.records.whole()
}

// errNothing is of a probe that found nothing. It is a timeout, after which TLS goes on.
var errNothing = os.ErrDeadlineExceeded

// socket is a TCP connection that can be asked whether something has come.
type socket struct {
	net.Conn
	raw syscall.RawConn // nil if the connection has none
	// probing makes Read return errNothing instead of waiting, and Write fail; came says
	// that there was something to read.
	probing, came bool
	records       records
}

func newSocket(plain net.Conn) *socket {
	s := &socket{Conn: plain}
	if system, ok := plain.(syscall.Conn); ok {
		if raw, err := system.SyscallConn(); err == nil {
			s.raw = raw
		}
	}
	return s
}

// Write implements net.Conn. A probe writes nothing, whatever the server has sent: TLS
// would answer some of it, for which nothing bounds the time.
func (s *socket) Write(b []byte) (int, error) {
	if s.probing {
		return 0, errNothing
	}
	return s.Conn.Write(b) //nolint:wrapcheck // it is the connection
}

// Read implements net.Conn.
func (s *socket) Read(to []byte) (int, error) {
	if !s.probing {
		n, err := s.Conn.Read(to)
		s.records.pass(to[:n])
		return n, err //nolint:wrapcheck // it is the connection
	}
	var n int
	var failed error
	// The function says that it is done, so that nothing waits.
	err := s.raw.Read(func(fd uintptr) bool {
		n, failed = syscall.Read(int(fd), to)
		return true
	})
	switch {
	case err != nil:
		return 0, err //nolint:wrapcheck // it is the connection
	case errors.Is(failed, syscall.EAGAIN), errors.Is(failed, syscall.EINTR):
		return 0, errNothing
	case failed != nil:
		return 0, os.NewSyscallError("read", failed)
	case n == 0:
		return 0, io.EOF
	}
	s.came = true
	s.records.pass(to[:n])
	return n, nil
}

// headerSize is how many bytes begin a TLS record: its type, its version and, in two
// bytes, the length of what follows (RFC 8446, section 5.1).
const headerSize = 5

// records follows where in a stream of TLS records the reader is.
type records struct {
	// header is what was read of a record's header, in bytes, until all of it was.
	header [headerSize]byte
	read   int
	// left counts the bytes of the record's body that are still to come.
	left int
}

// whole reports whether the last record was read to its end.
func (r *records) whole() bool { return r.read == 0 && r.left == 0 }

// pass takes note of bytes that were read.
func (r *records) pass(b []byte) {
	for len(b) > 0 {
		if r.left > 0 {
			n := min(r.left, len(b))
			r.left -= n
			b = b[n:]
			continue
		}
		n := copy(r.header[r.read:], b)
		r.read += n
		b = b[n:]
		if r.read == headerSize {
			r.left = int(binary.BigEndian.Uint16(r.header[headerSize-2:]))
			r.read = 0
		}
	}
}
