package process

import (
	"errors"
	"fmt"
	"syscall"
)

// Ports are free ports, kept for servers that are to listen there.
type Ports struct {
	// Numbers are the ports, as many as were asked for.
	Numbers []int
	sockets []int
}

// ReservePorts keeps ports until Close, at all of the machine's addresses: nobody
// else gets them who asks for any port, be it to listen at port 0 or to connect
// from, because Linux passes over ports that a socket is bound to. A server that
// asks for the very port gets it, any number of times: binding to an address that is
// taken is allowed while both sockets have SO_REUSEADDR, as Go's listeners do, and
// none listens (socket(7)).
func ReservePorts(n int) (*Ports, error) {
	p := &Ports{}
	for range n {
		if err := p.add(); err != nil {
			return nil, errors.Join(fmt.Errorf("reserve a free port: %w", err), p.Close())
		}
	}
	return p, nil
}

func (p *Ports) add() error {
	// A program that is started meanwhile must not inherit the socket.
	syscall.ForkLock.RLock()
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(socket)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return err
	}
	p.sockets = append(p.sockets, socket)
	if err := syscall.SetsockoptInt(socket, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		return err
	}
	if err := syscall.Bind(socket, &syscall.SockaddrInet4{}); err != nil {
		return err
	}
	name, err := syscall.Getsockname(socket)
	if err != nil {
		return err
	}
	address, ok := name.(*syscall.SockaddrInet4)
	if !ok {
		return errors.New("the socket has no address of IPv4")
	}
	p.Numbers = append(p.Numbers, address.Port)
	return nil
}

// Close gives the ports back. Servers that listen go on.
func (p *Ports) Close() error {
	var errs []error
	for _, socket := range p.sockets {
		errs = append(errs, syscall.Close(socket))
	}
	p.sockets = nil
	return errors.Join(errs...)
}
