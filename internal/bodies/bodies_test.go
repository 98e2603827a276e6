package bodies_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepass/gatepass/internal/bodies"
)

const (
	free  = 1 << 10
	limit = 64 << 10
	grace = time.Second
)

// slow is a body that arrives as the test says, over a connection that has deadlines.
type slow struct {
	pieces   chan []byte
	deadline chan struct{}
}

func newSlow() *slow { return &slow{make(chan []byte), make(chan struct{}, 1)} }

func (s *slow) Read(p []byte) (int, error) {
	select {
	case piece, ok := <-s.pieces:
		if !ok {
			return 0, io.EOF
		}
		return copy(p, piece), nil
	case <-s.deadline:
		return 0, os.ErrDeadlineExceeded
	}
}

// connection is a ResponseWriter whose reads can be ended.
type connection struct {
	http.ResponseWriter
	of *slow
}

func (c connection) SetReadDeadline(time.Time) error { c.of.deadline <- struct{}{}; return nil }

// begin reads a body of a client in the background. What comes of it is received from
// the channel.
func (s *slow) begin(b *bodies.Budget, client string) <-chan error {
	done := make(chan error, 1)
	r := httptest.NewRequest(http.MethodPost, "/", s)
	r.RemoteAddr, r.ContentLength = client+":1", -1
	go func() {
		body, err := b.Read(connection{httptest.NewRecorder(), s}, r, limit)
		body.Free()
		done <- err
	}()
	return done
}

// send lets n bytes arrive.
func (s *slow) send(t *testing.T, n int) {
	t.Helper()
	for n > 0 {
		piece := make([]byte, min(n, 512))
		select {
		case s.pieces <- piece:
		case <-time.After(time.Minute):
			t.Fatal("nobody reads")
		}
		n -= len(piece)
	}
	synctest.Wait()
}

func TestBodiesArriveWhole(t *testing.T) {
	t.Parallel()
	b := bodies.New(bodies.Options{Free: free, Total: 2 * limit, Grace: grace})
	for _, size := range []int{0, 1, free - 1, free, free + 1, 2 * free, 3*free + 7, limit - 1, limit} {
		for _, declared := range []bool{true, false} {
			t.Run(fmt.Sprintf("%d bytes, declared %t", size, declared), func(t *testing.T) {
				data := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
				r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(data))
				if !declared {
					r.ContentLength = -1
				}
				body, err := b.Read(httptest.NewRecorder(), r, limit)
				if err != nil || !bytes.Equal(body.Bytes(), data) {
					t.Errorf("%d bytes came back, or others; %v", len(body.Bytes()), err)
				}
				kept := body.Bytes()
				if most := int64(max(0, 2*size)); b.Taken() > most || size <= free-1 && b.Taken() > 0 {
					t.Errorf("it takes %d bytes of the budget", b.Taken())
				}
				body.Free()
				if b.Taken() != 0 {
					t.Errorf("%d bytes are lost", b.Taken())
				}
				if bytes.ContainsAny(kept, "0123456789abcdef") {
					t.Error("the memory holds the body still")
				}
			})
		}
	}
}

func TestTooLargeBodiesAreRefused(t *testing.T) {
	t.Parallel()
	for _, declared := range []bool{true, false} {
		b := bodies.New(bodies.Options{Free: free, Total: 2 * limit, Grace: grace})
		r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(make([]byte, limit+1)))
		if !declared {
			r.ContentLength = -1
		}
		body, err := b.Read(httptest.NewRecorder(), r, limit)
		if !errors.Is(err, bodies.ErrTooLarge) {
			t.Errorf("declared %t: %v", declared, err)
		}
		body.Free()
		if b.Taken() != 0 {
			t.Errorf("%d bytes are lost", b.Taken())
		}
	}
}

func TestWhatIsAnnouncedTakesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := bodies.New(bodies.Options{Free: free, Total: 2 * limit, Grace: grace})
		var arriving []*slow
		var done []<-chan error
		for range 100 {
			s := newSlow()
			arriving, done = append(arriving, s), append(done, s.begin(b, "192.0.2.1"))
			s.send(t, free/2)
		}
		if b.Taken() != 0 {
			t.Errorf("%d bytes are taken", b.Taken())
		}
		for n, s := range arriving {
			close(s.pieces)
			if err := <-done[n]; err != nil {
				t.Error(err)
			}
		}
	})
}

func TestSlowBodiesGiveWay(t *testing.T) {
	t.Parallel()
	const attacker, friend = "192.0.2.1", "192.0.2.2"
	// Some bodies that hold all there is, the oldest first, and one that needs some of it.
	fill := func(t *testing.T, b *bodies.Budget) (held []*slow, done []<-chan error) {
		t.Helper()
		for range 4 {
			s := newSlow()
			held, done = append(held, s), append(done, s.begin(b, attacker))
			s.send(t, 4*free-512)
			time.Sleep(time.Millisecond)
		}
		return held, done
	}
	finish := func(t *testing.T, s *slow, done <-chan error) {
		t.Helper()
		close(s.pieces)
		if err := <-done; err != nil {
			t.Errorf("a body is lost: %v", err)
		}
	}
	for _, tt := range []struct {
		name   string
		client string
		after  time.Duration
		busy   bool
	}{
		{"to another client's at once", friend, 0, false},
		{"to the same client's after their grace", attacker, grace, false},
		{"and not before it", attacker, 0, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := bodies.New(bodies.Options{Free: free, Total: 4*4*free + 2*free, Grace: grace})
				held, done := fill(t, b)
				time.Sleep(tt.after)
				s := newSlow()
				its := s.begin(b, tt.client)
				s.send(t, 2*free) // and its buffer has to grow
				if tt.busy {
					if err := <-its; !errors.Is(err, bodies.ErrBusy) || b.CutOff() != 0 {
						t.Errorf("%v, and %d were cut off", err, b.CutOff())
					}
				} else {
					if err := <-done[0]; !errors.Is(err, bodies.ErrBusy) || b.CutOff() != 1 {
						t.Errorf("%v, and %d were cut off", err, b.CutOff())
					}
					finish(t, s, its)
					held, done = held[1:], done[1:]
				}
				for i := range held {
					finish(t, held[i], done[i])
				}
				if b.Taken() != 0 {
					t.Errorf("%d bytes are lost", b.Taken())
				}
			})
		})
	}
}
