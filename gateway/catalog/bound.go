package catalog

import (
	"net/netip"
	"slices"

	"github.com/gatepass/gatepass/gateway/config"
	"github.com/gatepass/gatepass/gateway/session"
)

// ClientAddressError means that a session is used from an address that its auth method
// does not let in.
type ClientAddressError struct {
	// Claims are the session's, for the audit log: it may have been stolen.
	Claims *session.Claims
}

// Error returns the text for the caller.
func (*ClientAddressError) Error() string {
	return "bound ips mismatch: the session's auth method does not let this address in"
}

// CheckClient returns a *ClientAddressError if the auth method of a session, as it is
// now, is bound to addresses and the client's is none of them.
func (v *View) CheckClient(s *session.Claims, client netip.Addr) error {
	m := v.methodByID(s.AccessID)
	if m == nil || len(m.BoundIPs) == 0 {
		return nil
	}
	client = client.Unmap()
	if slices.ContainsFunc(m.bounds, func(p netip.Prefix) bool { return p.Contains(client) }) {
		return nil
	}
	return &ClientAddressError{Claims: s}
}

// parseBounds reads the addresses that a method is bound to, once for all sessions. One
// that can't be read lets nobody in.
func parseBounds(texts []string) []netip.Prefix {
	var bounds []netip.Prefix
	for _, text := range texts {
		if p, err := config.ParsePrefix(text); err == nil {
			bounds = append(bounds, p)
		}
	}
	return bounds
}
