package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/gateway/catalog"
)

func TestErrorsOfTheCatalog(t *testing.T) {
	t.Parallel()
	g, _ := newGateway(t, &fixedState{reviewer: reviewerFunc(rejecting)}, nil)
	c := &call{Request: httptest.NewRequest(http.MethodPost, "/", nil)}
	for _, tt := range []struct {
		name   string
		err    error
		status int
		text   string
		wait   time.Duration
	}{
		{"a wrong field", fmt.Errorf("%w: the name", catalog.ErrInvalid), 400, "invalid: the name", 0},
		{"not allowed", fmt.Errorf("%w: read", catalog.ErrDenied), 401, "unauthorized: read", 0},
		{"not there", fmt.Errorf("item /a: %w", catalog.ErrNotFound), 404, "item /a: not found", 0},
		{"there already", fmt.Errorf("item /a: %w", catalog.ErrExists), 409, "already exists", 0},
		{"from the file", fmt.Errorf("role a: %w", catalog.ErrReadOnly), 409, "configuration file", 0},
		{"in use", fmt.Errorf("auth config a: %w", catalog.ErrInUse), 409, "in use", 0},
		{"no store", fmt.Errorf("%w: inner detail", catalog.ErrUnavailable), 503, "the store is not available", 5 * time.Second},
		{"no audit log, whatever it was about", errors.Join(fmt.Errorf("item: %w: inner detail", catalog.ErrNotFound), catalog.ErrUnrecorded), 503, "can't record", 5 * time.Second},
		{"out of time", fmt.Errorf("inner detail: %w", context.DeadlineExceeded), 503, "in time", 5 * time.Second},
		{"given up", fmt.Errorf("inner detail: %w", context.Canceled), 503, "in time", 5 * time.Second},
		{"a defect", errors.New("inner detail"), 500, "internal error", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := g.refusalOf(c, tt.err)
			if got.status != tt.status || !strings.Contains(got.public, tt.text) || got.retryAfter != tt.wait || strings.Contains(got.public, "inner detail") {
				t.Errorf("%+v, want %d and %q", got, tt.status, tt.text)
			}
		})
	}
}
