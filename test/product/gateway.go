package product

import (
	"context"
	"fmt"
)

// GatewayOptions are the flags of gatepass-gateway serve that a test chooses.
type GatewayOptions struct {
	// Config is the file of auth methods.
	Config  string
	DataDir string
	// CertFile and KeyFile; leave both empty for SelfManaged.
	CertFile, KeyFile string
	SelfManaged       *SelfManaged
	// Kubeconfig is for the API server that in a cluster the gateway finds by
	// itself: of the reviewer "gateway", and of shared signing keys.
	Kubeconfig string
	// SigningKeysSecret is NAMESPACE/NAME; empty keeps keys in DataDir.
	SigningKeysSecret string
	// AuditLog is a file; empty means standard output, where it is part of
	// the process's Logs.
	AuditLog string
	// BindAddress is 127.0.0.1 if it is empty.
	BindAddress string
	// Port is a free one if it is 0. Name one only together with an address
	// that nobody else uses.
	Port      int
	LogLevel  string
	ExtraArgs []string
	// Env is the whole environment.
	Env []string
}

// StartGateway runs gatepass-gateway serve and returns when it is ready.
func (p *Product) StartGateway(ctx context.Context, o GatewayOptions) (*Server, error) {
	certs, err := certFlags(o.SelfManaged, o.CertFile != "", "--tls-cert="+o.CertFile, "--tls-key="+o.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("start the gateway: %w", err)
	}
	if o.BindAddress == "" {
		o.BindAddress = loopback
	}
	return p.start(ctx, Gateway, o.BindAddress, o.Env, func(use *ports) []string {
		if o.Port != 0 {
			use.serve = o.Port
		}
		args := []string{
			"serve",
			"--config=" + o.Config,
			"--data-dir=" + o.DataDir,
			fmt.Sprintf("--listen=%s:%d", o.BindAddress, use.serve),
			"--shutdown-delay=0s",
		}
		args = append(args, certs...)
		for flag, value := range map[string]string{
			"--signing-keys-secret": o.SigningKeysSecret,
			"--audit-log":           o.AuditLog,
			"--log-level":           o.LogLevel,
		} {
			if value != "" {
				args = append(args, flag+"="+value)
			}
		}
		if o.Kubeconfig != "" && o.SelfManaged == nil { // SelfManaged names it
			args = append(args, "--kubeconfig="+o.Kubeconfig)
		}
		return append(args, o.ExtraArgs...)
	})
}
