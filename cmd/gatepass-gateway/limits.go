package main

import (
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"github.com/gatepass/gatepass/gateway"
)

// limits are the flags that say how much the gateway takes on.
type limits struct {
	connections       int
	clientConnections int
	clientRate        gateway.Rate
	methodRate        gateway.Rate
}

func (l *limits) add(p *pflag.FlagSet) {
	p.IntVar(&l.connections, "max-connections", gateway.DefaultMaxConnections, "how many connections to the API are served at a time; more wait. Each may take 160 KB")
	p.IntVar(&l.clientConnections, "max-client-connections", 0, "how many of them one address may have, of IPv6 one network of 64 bits; three quarters if 0")
	p.Float64Var(&l.clientRate.PerSecond, "client-rate", 0, "how many requests a second one address may make, of IPv6 one network of 64 bits; 0 for no limit")
	p.IntVar(&l.clientRate.Burst, "client-burst", 0, "how many of them may come at once; those of a second if 0")
	p.Float64Var(&l.methodRate.PerSecond, "method-rate", 0, "how many logins a second one auth method may have, and how many commands its sessions; 0 for no limit")
	p.IntVar(&l.methodRate.Burst, "method-burst", 0, "how many of them may come at once; those of a second if 0")
}

func (l *limits) validate() error {
	var errs []error
	if l.connections < minConnections {
		errs = append(errs, fmt.Errorf("--max-connections must be at least %d", minConnections))
	}
	if l.clientConnections < 0 || l.clientConnections > l.connections {
		errs = append(errs, errors.New("--max-client-connections must be between 0 and --max-connections"))
	}
	for _, r := range []struct {
		flag string
		gateway.Rate
	}{{"client", l.clientRate}, {"method", l.methodRate}} {
		if !(r.PerSecond >= 0) || r.PerSecond > maxRate { // NaN is a number to pflag
			errs = append(errs, fmt.Errorf("--%s-rate must be between 0 and %d", r.flag, maxRate))
		}
		if r.Burst < 0 || r.Burst > maxRate {
			errs = append(errs, fmt.Errorf("--%s-burst must be between 0 and %d", r.flag, maxRate))
		}
		if r.Burst > 0 && r.PerSecond == 0 {
			errs = append(errs, fmt.Errorf("--%s-burst is of no use without --%[1]s-rate", r.flag))
		}
	}
	return errors.Join(errs...)
}

const (
	// minConnections leaves a probe and a login their room.
	minConnections = 4
	maxRate        = 1_000_000
)
