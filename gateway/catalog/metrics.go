package catalog

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// Register registers the catalog's metrics: how many objects it has, and how many
// sessions were revoked or renewed.
func (c *Catalog) Register(registry prometheus.Registerer) error {
	var errs []error
	gauge := func(name, help string, labels prometheus.Labels, value func(*View) int) {
		errs = append(errs, registry.Register(prometheus.NewGaugeFunc(
			prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels},
			func() float64 { return float64(value(c.View())) },
		)))
	}
	for kind, count := range map[string]func(*View) int{
		"item":        func(v *View) int { return v.items.len() },
		"auth-method": func(v *View) int { return v.methods.len() },
		"auth-config": func(v *View) int { return v.configs.len() },
		"role":        func(v *View) int { return v.roles.len() },
		"association": func(v *View) int { return v.associations.len() },
	} {
		gauge("gatepass_gateway_objects", "Objects in the store, by type (item, auth-method, auth-config, role, association).",
			prometheus.Labels{"type": kind}, count)
	}
	for kind, count := range map[string]func(*View) int{
		"session":     func(v *View) int { return v.revokedSessions.len() },
		"identity":    func(v *View) int { return v.revokedIdentities.len() },
		"auth-method": func(v *View) int { return v.revokedMethods.len() },
	} {
		gauge("gatepass_gateway_revocations", "Revocations that are held until the sessions would have ended, by what was revoked (session, identity, auth-method).",
			prometheus.Labels{"of": kind}, count)
	}
	gauge("gatepass_gateway_renewed_sessions", "Sessions whose renewal is held.", nil, func(v *View) int { return v.leases.len() })
	gauge("gatepass_gateway_catalog_ready", "1 once the store has been read, 0 before.", nil, func(v *View) int { return int(min(v.revision, 1)) })
	errs = append(errs, registry.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "gatepass_gateway_unopened_records",
		Help: "Records of the store that do not open with the keys that the gateway has. It is not ready while there are any.",
	}, func() float64 { return float64(c.countUnopened()) })))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("register the catalog's metrics: %w", err)
	}
	return nil
}
