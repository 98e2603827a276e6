package gateway_test

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"
)

const (
	// storm is how many pods start at the same moment.
	storm      = 500
	stormCount = 3
)

// BenchmarkStorm has 500 pods connect and log in at once, each as an agent does: who
// is told to come again waits for as long as it was told. Nobody may get another
// answer than a session or that one.
func BenchmarkStorm(b *testing.B) {
	s := newSecrets(b)
	// Pods have addresses of their own; one address gets three quarters of these.
	s.start(b, b.TempDir(), "--max-client-connections=512")
	tokens := mint(b, s.namespace, stormCount*storm)
	var calm, sentAway, cutOff, allIn, p50, p99 []float64
	for i := range stormCount {
		var pods sync.WaitGroup
		start := make(chan struct{})
		all := make([]landing, storm)
		for n, token := range tokens[i*storm : (i+1)*storm] {
			request := written("/auth", text(b, map[string]string{
				"access-id": s.accessID, "access-type": "k8s", "k8s-auth-config-name": s.config, "k8s-service-account-token": token,
			}))
			pods.Go(func() {
				<-start
				if err := s.persist(b.Context(), request, &all[n]); err != nil {
					b.Error(err)
				}
			})
		}
		began := time.Now()
		close(start)
		pods.Wait()
		allIn = append(allIn, time.Since(began).Seconds())
		if b.Failed() {
			b.FailNow()
		}
		var sum landing
		for _, each := range all {
			sum.answers = append(sum.answers, each.answers...)
			sum.sentAway += each.sentAway
			sum.cutOff += each.cutOff
		}
		sentAway, cutOff = append(sentAway, float64(sum.sentAway)), append(cutOff, float64(sum.cutOff))
		p50, p99 = append(p50, percentile(sum.answers, 50)), append(p99, percentile(sum.answers, 99))
		began = time.Now()
		s.enter(b, 1)
		calm = append(calm, float64(time.Since(began).Milliseconds()))
	}
	b.ReportMetric(0, "ns/op")
	measured.add(b, "all-in-s", "500 pods log in at once: all have a session after, s", "", median(allIn), 1)
	measured.add(b, "sent-away", "  answers of 429 with Retry-After", "", median(sentAway), 0)
	measured.add(b, "cut-off", "  connections that broke off", "0", median(cutOff), 0)
	measured.add(b, "storm-p50-ms", "  half of all answers within, handshake included, ms", "", median(p50), 0)
	measured.add(b, "storm-p99-ms", "  99 of 100 within, ms", "", median(p99), 0)
	measured.add(b, "calm-ms", "  a login after that, minting its token included, ms", "", median(calm), 0)
}

// landing is how a pod got its session: how long each answer took, handshake
// included, how often it was told to come again, and how many connections broke off.
// The gateway gives a handshake five seconds.
type landing struct {
	answers          []time.Duration
	sentAway, cutOff int
}

// persist logs in until it has a session.
func (s *secrets) persist(ctx context.Context, request []byte, l *landing) error {
	for {
		wait := time.Second
		began := time.Now()
		r, err := s.once(ctx, request)
		switch {
		case err != nil && l.cutOff == 10:
			return err
		case err != nil:
			l.cutOff++
		case r.status == http.StatusOK:
			l.answers = append(l.answers, time.Since(began))
			return nil
		case r.status == http.StatusTooManyRequests:
			seconds, err := strconv.Atoi(r.retryAfter)
			if err != nil || seconds <= 0 {
				return fmt.Errorf("told to come again, but not when: %q", r.retryAfter)
			}
			wait = time.Duration(seconds) * time.Second
			l.answers = append(l.answers, time.Since(began))
			l.sentAway++
		default:
			return fmt.Errorf("%d %s", r.status, r.body)
		}
		<-time.After(wait)
	}
}

// once sends a request over a connection of its own.
func (s *secrets) once(ctx context.Context, request []byte) (reply, error) {
	w, err := s.dial(ctx)
	if err != nil {
		return reply{}, err
	}
	defer func() { _ = w.conn.Close() }() // all that was wanted has come
	return w.exchange(request)
}
