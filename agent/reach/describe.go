// Package reach explains why a server can't be reached, and what stands in the
// way: the server, the network, or the proxy before it.
package reach

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
)

// Peer is what a connection was made to.
type Peer struct {
	// Name is what it is: gateway or proxy.
	Name string
	// Setting is what holds its address.
	Setting string
}

// Gateway is the server that sessions come from.
func Gateway() Peer { return Peer{"gateway", "the gateway's url"} }

// Describe says what an error of a connection to peer means and what to do about
// it.
func Describe(err error, peer Peer) string {
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		switch {
		case dns.IsNotFound:
			return fmt.Sprintf("DNS knows no host %q; check the address", dns.Name)
		case dns.IsTimeout:
			return fmt.Sprintf("looking up %q got no answer; check that the pod may reach the cluster's DNS", dns.Name)
		}
		return fmt.Sprintf("looking up %q failed; check the address, and the cluster's DNS", dns.Name)
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok || strings.Contains(err.Error(), "HTTP response to HTTPS client") {
		return "what listens there does not speak TLS; check the port in " + peer.Setting
	}
	if alert, ok := errors.AsType[tls.AlertError](err); ok {
		return fmt.Sprintf("it refused the TLS handshake (%s)", alert.Error())
	}
	op, _ := errors.AsType[*net.OpError](err)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Sprintf("connection refused; is the %s running, and is this its port?", peer.Name)
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "no route to it; check the network and NetworkPolicies"
	case op != nil && op.Op == "dial" && op.Timeout():
		return "connecting timed out; check NetworkPolicies and firewalls between this pod and the " + peer.Name
	case timedOut(err):
		return "no answer in time; it is overloaded, or the way to it drops packets"
	case closed(err):
		return "it closed the connection early; it may be starting or overloaded"
	}
	return err.Error()
}

// timedOut reports whether err is a deadline that has passed.
func timedOut(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
		return true
	}
	timeout, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](err)
	return ok && timeout.Timeout()
}

// closed reports whether err says that the other side ended the connection.
func closed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
