package gateway

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/gateway/audit"
)

// full is an audit log on a full disk.
type full struct{}

func (full) Write(*audit.Event) error { return errors.New("disk full") }

func TestMeasures(t *testing.T) {
	t.Parallel()
	m, err := NewMeasures(func() time.Time { return time.Time{} })
	if err != nil {
		t.Fatal(err)
	}
	key := "k1"
	if err := m.Sealing(func() string { return key }); err != nil {
		t.Fatal(err)
	}
	if err := m.Audited(full{}).Write(&audit.Event{}); err == nil {
		t.Error("a line that could not be written is taken for one that was")
	}
	for _, id := range []string{"k1", "k2"} { // the key is rotated
		key = id
		recorder := httptest.NewRecorder()
		m.Handler().ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody))
		for _, want := range []string{"gatepass_gateway_audit_failures_total 1\n", `gatepass_gateway_seal_key_info{key="` + id + `"} 1` + "\n"} {
			if !strings.Contains(recorder.Body.String(), want) {
				t.Errorf("there is no %s", want)
			}
		}
	}
}
