package vault

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// health says whether requests should come here. All gateways are active:
// none is a standby of another.
type health struct {
	Initialized                bool   `json:"initialized"`
	Sealed                     bool   `json:"sealed"`
	Standby                    bool   `json:"standby"`
	PerformanceStandby         bool   `json:"performance_standby"`
	ReplicationPerformanceMode string `json:"replication_performance_mode"`
	ReplicationDRMode          string `json:"replication_dr_mode"`
	ServerTimeUTC              int64  `json:"server_time_utc"`
	Version                    string `json:"version"`
	Enterprise                 bool   `json:"enterprise"`
	EchoDurationMillis         int64  `json:"echo_duration_ms"`
	ClockSkewMillis            int64  `json:"clock_skew_ms"`
}

const notReplicated = "disabled"

// health is sys/health: 200, or 503 as of a sealed Vault if the gateway is not
// ready. Callers may choose other codes for the two.
func (h *Handler) health(c *call) (*answer, error) {
	sealed := h.options.Ready() != nil
	parameter, status := "activecode", http.StatusOK
	if sealed {
		parameter, status = "sealedcode", http.StatusServiceUnavailable
	}
	if wanted := c.URL.Query().Get(parameter); wanted != "" {
		code, err := strconv.Atoi(wanted)
		if err != nil || code < 200 || code > 599 {
			return nil, refuse(http.StatusBadRequest, "bad status code")
		}
		status = code
	}
	if status == http.StatusNoContent {
		return done(), nil
	}
	return &answer{status: status, body: health{
		Initialized:                true,
		Sealed:                     sealed,
		ReplicationPerformanceMode: notReplicated,
		ReplicationDRMode:          notReplicated,
		ServerTimeUTC:              time.Now().Unix(),
		Version:                    h.options.Version,
	}}, nil
}

// sealStatus is sys/seal-status, which `vault status` asks.
func (h *Handler) sealStatus(*call) (*answer, error) {
	return &answer{body: struct {
		Type        string `json:"type"`
		Initialized bool   `json:"initialized"`
		Sealed      bool   `json:"sealed"`
		T           int    `json:"t"`
		N           int    `json:"n"`
		Progress    int    `json:"progress"`
		Nonce       string `json:"nonce"`
		Version     string `json:"version"`
		BuildDate   string `json:"build_date"`
		Migration   bool   `json:"migration"`
		Recovery    bool   `json:"recovery_seal"`
		StorageType string `json:"storage_type"`
	}{Type: "gatepass", Initialized: true, Sealed: h.options.Ready() != nil, Version: h.options.Version, StorageType: "gatepass"}}, nil
}

// mount is what clients ask of a mount before they use it: its path and
// version decide how they write the rest of their paths.
type mount struct {
	Type        string            `json:"type"`
	Description string            `json:"description"`
	Options     map[string]string `json:"options"`
	Path        string            `json:"path,omitzero"`
}

func (h *Handler) itemsMount() mount {
	return mount{Type: "kv", Description: "the gateway's items", Options: map[string]string{"version": "2"}}
}

// mounts is sys/internal/ui/mounts.
func (h *Handler) mounts(*call) (*answer, error) {
	return data(struct {
		Secret map[string]mount `json:"secret"`
		Auth   map[string]mount `json:"auth"`
	}{Secret: map[string]mount{h.options.Mount + "/": h.itemsMount()}}), nil
}

// mountOf is sys/internal/ui/mounts/<path>.
func (h *Handler) mountOf(c *call) (*answer, error) {
	if !strings.HasPrefix(strings.TrimSuffix(c.name, "/")+"/", h.options.Mount+"/") {
		return nil, refuse(http.StatusForbidden, "preflight capability check returned 403: this gateway keeps its items at "+h.options.Mount+"/ only")
	}
	found := h.itemsMount()
	found.Path = h.options.Mount + "/"
	return data(found), nil
}
