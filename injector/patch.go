package injector

import (
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// patch builds a JSON Patch document (RFC 6902) that holds "add" operations
// and nothing else. It appends to one buffer, so that its cost does not grow
// with the number of operations.
type patch struct{ buf []byte }

// add begins an operation and leaves the buffer where its value goes. The
// path's parts must already be escaped as RFC 6901 asks.
func (p *patch) add(parts ...string) {
	if len(p.buf) == 0 {
		p.buf = make([]byte, 0, 4096)
		p.buf = append(p.buf, '[')
	} else {
		if len(p.buf) > maxPatch { // it will be refused, and need not grow until then
			p.buf = p.buf[:maxPatch+1]
		}
		p.buf = append(p.buf, ',')
	}
	p.buf = append(p.buf, `{"op":"add","path":"`...)
	for _, part := range parts {
		p.buf = append(p.buf, '/')
		p.buf = append(p.buf, part...)
	}
	p.buf = append(p.buf, `","value":`...)
}

// end closes the operation that add began.
func (p *patch) end() { p.buf = append(p.buf, '}') }

// document returns the patch, or nil if it holds no operation.
func (p *patch) document() []byte {
	if len(p.buf) == 0 {
		return nil
	}
	return append(p.buf, ']')
}

// raw appends JSON as it stands.
func (p *patch) raw(s string) { p.buf = append(p.buf, s...) }

func (p *patch) number(n int64) { p.buf = strconv.AppendInt(p.buf, n, 10) }

// text appends a JSON string. AppendQuote's only error is about bytes that
// are not UTF-8, which it replaces; none get here, because the decoders of
// pods and profiles refuse them.
func (p *patch) text(s string) {
	p.buf, _ = jsontext.AppendQuote(p.buf, s)
}

// field appends "name": with a comma before it unless it is an object's first.
func (p *patch) field(name string) {
	if last := p.buf[len(p.buf)-1]; last != '{' {
		p.buf = append(p.buf, ',')
	}
	p.buf = append(p.buf, '"')
	p.buf = append(p.buf, name...)
	p.buf = append(p.buf, `":`...)
}

func (p *patch) textField(name, value string) {
	p.field(name)
	p.text(value)
}
