package product

import (
	"context"
	"errors"
	"fmt"
)

// WebhookOptions are the flags of gatepass-webhook that a test chooses.
type WebhookOptions struct {
	// Config is the file of profiles.
	Config string
	// CertDir holds tls.crt and tls.key. Leave it empty for certificates that
	// the webhook manages itself; SelfManaged then says how.
	CertDir     string
	SelfManaged *SelfManaged
	// BindAddress is 127.0.0.1 if it is empty. A Service's endpoints can't be
	// loopback addresses.
	BindAddress string
	LogLevel    string
	// ExtraArgs are added last.
	ExtraArgs []string
	// Env is the whole environment.
	Env []string
}

// SelfManaged are the flags of self-managed certificates, for a server that
// runs outside the cluster.
type SelfManaged struct {
	Kubeconfig string
	Namespace  string
}

// flags leaves names of objects at their defaults, which the manifests use.
func (s *SelfManaged) flags() []string {
	return []string{"--self-managed-certs", "--kubeconfig=" + s.Kubeconfig, "--namespace=" + s.Namespace}
}

// StartWebhook runs gatepass-webhook and returns when it is ready.
func (p *Product) StartWebhook(ctx context.Context, o WebhookOptions) (*Server, error) {
	certs, err := certFlags(o.SelfManaged, o.CertDir != "", "--cert-dir="+o.CertDir)
	if err != nil {
		return nil, fmt.Errorf("start the webhook: %w", err)
	}
	if o.BindAddress == "" {
		o.BindAddress = loopback
	}
	return p.start(ctx, Webhook, o.BindAddress, o.Env, func(use *ports) []string {
		args := []string{
			"--config=" + o.Config,
			"--bind-address=" + o.BindAddress,
			fmt.Sprintf("--port=%d", use.serve),
			"--shutdown-delay=0s", // a test has no endpoints that lag behind
		}
		args = append(args, certs...)
		if o.LogLevel != "" {
			args = append(args, "--log-level="+o.LogLevel)
		}
		return append(args, o.ExtraArgs...)
	})
}

// certFlags wants exactly one way to certificates.
func certFlags(managed *SelfManaged, files bool, fileFlags ...string) ([]string, error) {
	if files == (managed != nil) {
		return nil, errors.New("choose either certificate files or SelfManaged")
	}
	if managed != nil {
		return managed.flags(), nil
	}
	return fileFlags, nil
}
