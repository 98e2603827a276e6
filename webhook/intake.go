package webhook

import (
	"bytes"
	"errors"
	"io"
	"sync"

	"golang.org/x/sync/semaphore"
)

const (
	// maxBody is what an API server can send: two objects of at most 3 MB and
	// what surrounds them, see the derivation in controller-runtime's
	// pkg/webhook/admission/http.go.
	maxBody = 7 << 20
	// maxSmall is what a request may send without a share of largeBudget, in
	// bytes. Reviews of pods have some kilobytes.
	maxSmall = 128 << 10
	// maxRequests is how many requests may be under way at once. An API server
	// has 200 that change something (--max-mutating-requests-in-flight), and a
	// review takes less than a millisecond.
	maxRequests = 256
	// largeBudget bounds the bodies above maxSmall, all together, in bytes. While
	// it is decoded and answered a body takes about four times its size.
	largeBudget = 24 << 20
	// maxPooled keeps a rare large buffer from staying in memory.
	maxPooled = maxSmall + 2*bytes.MinRead
)

var (
	errBusy     = errors.New("the webhook is busy with other requests")
	errTooLarge = errors.New("the body is too large")
)

// intake bounds the memory that requests under way take, whoever sends them:
// the port is open to every pod, because API servers have no addresses that a
// NetworkPolicy could name.
type intake struct {
	requests, large *semaphore.Weighted
	buffers         sync.Pool
}

func newIntake() *intake {
	return &intake{
		requests: semaphore.NewWeighted(maxRequests),
		large:    semaphore.NewWeighted(largeBudget),
		buffers:  sync.Pool{New: func() any { return new(bytes.Buffer) }},
	}
}

func (i *intake) buffer() *bytes.Buffer {
	b, ok := i.buffers.Get().(*bytes.Buffer)
	if !ok {
		return new(bytes.Buffer)
	}
	b.Reset()
	return b
}

func (i *intake) put(b *bytes.Buffer) {
	if b != nil && b.Cap() <= maxPooled {
		i.buffers.Put(b)
	}
}

// body is that of a request. It and what it holds of the intake are in use
// until free.
type body struct {
	intake  *intake
	buffer  *bytes.Buffer
	request bool
	large   int64
}

// read reads a body of a declared length, -1 if none is declared. Its errors
// are errBusy, errTooLarge and the reader's.
//
// Nobody waits for a share of the intake: who waits takes memory too, in the
// headers and in what HTTP/2 has received ahead, and API servers come again by
// themselves, see retryAfter.
func (b *body) read(r io.Reader, length int64) error {
	if length > maxBody {
		return errTooLarge
	}
	if b.request = b.intake.requests.TryAcquire(1); !b.request {
		return errBusy
	}
	b.buffer = b.intake.buffer()
	small := int64(maxSmall)
	if length >= 0 {
		small = min(small, length)
	}
	// The buffers are as large as they get: one that grows is copied, and for
	// that time there twice.
	b.buffer.Grow(int(small) + 1 + bytes.MinRead)
	if n, err := io.Copy(b.buffer, io.LimitReader(r, maxSmall+1)); err != nil || n <= maxSmall {
		return err
	}
	if length < 0 {
		length = maxBody
	}
	if !b.intake.large.TryAcquire(length) {
		return errBusy
	}
	b.large = length
	whole := bytes.NewBuffer(make([]byte, 0, int(length)+1+bytes.MinRead))
	whole.Write(b.buffer.Bytes())
	b.intake.put(b.buffer)
	b.buffer = whole
	if _, err := io.Copy(whole, io.LimitReader(r, maxBody+1-int64(whole.Len()))); err != nil {
		return err
	}
	if whole.Len() > maxBody {
		return errTooLarge
	}
	return nil
}

func (b *body) bytes() []byte { return b.buffer.Bytes() }

// free gives back what the body holds.
func (b *body) free() {
	b.intake.put(b.buffer)
	b.intake.large.Release(b.large)
	if b.request {
		b.intake.requests.Release(1)
	}
}
