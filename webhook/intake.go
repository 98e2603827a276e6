package webhook

import (
	"bytes"
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/sync/semaphore"

	"github.com/gatepass/gatepass/internal/bodies"
	"github.com/gatepass/gatepass/internal/jsonbound"
)

// What requests may take, whoever sends them: the port is open to every pod, because
// API servers have no addresses that a NetworkPolicy could name. The sum of the worst
// cases of all requests at a time, DefaultMaxConnections of them, is in
// docs/threat-model.md; test/siege holds it.
const (
	// maxBody is what an API server can send: two objects of at most 3 MB and
	// what surrounds them, see the derivation in controller-runtime's
	// pkg/webhook/admission/http.go.
	maxBody = 7 << 20
	// maxObject is the largest object that etcd takes (--max-request-bytes).
	maxObject = 3 << 19
	// maxValues bounds the values of a review, which has one object: that of a creation.
	// An object of the largest size has as many if each takes 12 bytes with its name, as
	// short as "name":"a", is: more than pods have.
	maxValues = maxObject / 12
	// maxDepth is several times that of a pod, whose node affinity is 13 deep.
	maxDepth = 64

	// freeBody is how much of a body every connection may send without a share of
	// bodyBudget. Reviews of pods have some kilobytes.
	freeBody = 16 << 10
	// bodyBudget bounds the bodies above freeBody, all together. The largest takes 11 MiB
	// while its buffer grows for the last time.
	bodyBudget = 16 << 20
	// bodyGrace is for how long such a body may arrive while others need its memory.
	bodyGrace = time.Second

	// valueCost is what a value becomes at most, in bytes: a container's view has some 100,
	// and lists are there twice while they grow.
	valueCost = 256
	// usualCost is what a review of usual size takes at most: of 100 KB and 3,000 values.
	usualCost = 1 << 20
	// usualBudget and heavyBudget bound the memory of reviews that are being decided, those
	// of usual size and the others. Of the heaviest there is one at a time.
	usualBudget = 16 << 20
	heavyBudget = 2*maxBody + maxValues*valueCost
	// turnPatience is how long a review waits for its turn. A heavy one takes a twentieth
	// of that.
	turnPatience = 2 * time.Second

	// maxPooled keeps a rare large buffer from staying in memory.
	maxPooled = 64 << 10
)

// reviewBounds are those of a review's JSON.
var reviewBounds = jsonbound.Bounds{Values: maxValues, Depth: maxDepth} //nolint:gochecknoglobals // a constant that Go can't write as one

// intake bounds the memory that requests under way take.
type intake struct {
	bodies       *bodies.Budget
	usual, heavy *semaphore.Weighted
	// buffers are for answers.
	buffers sync.Pool
}

func newIntake() *intake {
	return &intake{
		bodies:  bodies.New(bodies.Options{Free: freeBody, Total: bodyBudget, Grace: bodyGrace}),
		usual:   semaphore.NewWeighted(usualBudget),
		heavy:   semaphore.NewWeighted(heavyBudget),
		buffers: sync.Pool{New: func() any { return new(bytes.Buffer) }},
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
	if b.Cap() <= maxPooled {
		i.buffers.Put(b)
	}
}

// read reads a request's body. Its errors are those of package bodies.
func (i *intake) read(w http.ResponseWriter, r *http.Request) (*bodies.Body, error) {
	return i.bodies.Read(w, r, maxBody) //nolint:wrapcheck // the handler tells them apart
}

// turn waits until there is memory for a review of that size, which has arrived: who
// sends slowly takes no turn. Small reviews never wait for large ones. After nil, giveBack
// must be called.
func (i *intake) turn(ctx context.Context, size, values int) (giveBack func(), err error) {
	cost := int64(2*size + values*valueCost) // the object is there twice
	turns := i.usual
	if cost > usualCost {
		turns = i.heavy
	}
	ctx, cancel := context.WithTimeout(ctx, turnPatience)
	defer cancel()
	if turns.Acquire(ctx, cost) != nil {
		return nil, bodies.ErrBusy
	}
	return func() { turns.Release(cost) }, nil
}

// uidOf finds the request's uid in a review with more values than are decoded, so that the
// API server takes the refusal for what it is; it is empty if there is none. Names of fields
// are not held against each other, which would take memory for each of them.
func uidOf(body []byte) string {
	var r struct {
		Request struct {
			UID string `json:"uid"`
		} `json:"request"`
	}
	if json.Unmarshal(body, &r, jsontext.AllowDuplicateNames(true)) != nil {
		return ""
	}
	return r.Request.UID
}
