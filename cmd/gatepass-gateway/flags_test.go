package main

import (
	"io"
	"strings"
	"testing"
)

func TestServeFlags(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, args, want string }{
		{"nothing is given", "", "--data-dir must be given"},
		{"everything that is missing is named", "", "no serving certificate is given"},
		{"an etcd without keys", "--etcd-endpoints=https://e:2379 --tls-cert=x --tls-key=y", "--seal-key-file must be given"},
		{"a certificate for etcd, and none", "--data-dir=d --etcd-ca-file=x --tls-cert=x --tls-key=y", "--etcd-endpoints must be given"},
		{"a user without a password", "--etcd-endpoints=https://e:2379 --seal-key-file=s --etcd-username=u --tls-cert=x --tls-key=y", "--etcd-password-file"},
		{"two places for the administrator's credentials", "--data-dir=d --tls-cert=x --tls-key=y --admin-credentials-file=f --admin-credentials-secret=n/s", "exclude each other"},
		{"two issuers", "--config=c --issuer=https://g --data-dir=d --tls-cert=x --tls-key=y", "--issuer is for a gateway without --config"},
		{"an issuer without TLS", "--issuer=http://g --data-dir=d --tls-cert=x --tls-key=y", "--issuer must begin with https://"},
		{"no certificate is given", "--config=c --data-dir=d", "no serving certificate is given"},
		{"a certificate without its key", "--config=c --data-dir=d --tls-cert=x", "must be given together"},
		{"two sources of certificates", "--config=c --data-dir=d --tls-cert=x --tls-key=y --self-managed-certs", "exclude"},
		{"an unknown log level", "--config=c --data-dir=d --tls-cert=x --tls-key=y --log-level=loud", "--log-level"},
		{"a negative delay", "--config=c --data-dir=d --tls-cert=x --tls-key=y --shutdown-delay=-1s", "must not be negative"},
		{"no room for connections", "--data-dir=d --tls-cert=x --tls-key=y --max-connections=1", "--max-connections must be at least"},
		{"more connections of a client than of all", "--data-dir=d --tls-cert=x --tls-key=y --max-client-connections=513", "--max-client-connections must be between"},
		{"a rate that is negative", "--data-dir=d --tls-cert=x --tls-key=y --client-rate=-1", "--client-rate must be between"},
		{"a rate that is no number", "--data-dir=d --tls-cert=x --tls-key=y --method-rate=nan", "--method-rate must be between"},
		{"a rate without an end", "--data-dir=d --tls-cert=x --tls-key=y --method-rate=inf", "--method-rate must be between"},
		{"a burst that is negative", "--data-dir=d --tls-cert=x --tls-key=y --client-rate=1 --client-burst=-1", "--client-burst must be between"},
		{"a burst without a rate", "--data-dir=d --tls-cert=x --tls-key=y --method-burst=5", "--method-burst is of no use without --method-rate"},
		{"client certificates that are neither", "--data-dir=d --tls-cert=x --tls-key=y --client-certificates=maybe", "--client-certificates must be optional or required"},
		{"profiles for everybody", "--data-dir=d --tls-cert=x --tls-key=y --pprof-bind-address=:6060", "--pprof-bind-address must be a loopback address"},
		{"profiles for the network", "--data-dir=d --tls-cert=x --tls-key=y --pprof-bind-address=192.0.2.1:6060", "must be a loopback address"},
		{"profiles for a name, which may change", "--data-dir=d --tls-cert=x --tls-key=y --pprof-bind-address=localhost:6060", "must be a loopback address"},
		{"profiles without a port", "--data-dir=d --tls-cert=x --tls-key=y --pprof-bind-address=127.0.0.1", "--pprof-bind-address"},
		{"an argument", "--config=c --data-dir=d --tls-cert=x --tls-key=y extra", "unknown command"},
		{"a certificate that does not exist", "--config=c --data-dir=d --tls-cert=/does/not/exist --tls-key=/does/not/exist", "no such file"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cmd := newCommand()
			cmd.SetArgs(append([]string{"serve"}, strings.Fields(tt.args)...))
			cmd.SetOut(io.Discard)
			err := cmd.ExecuteContext(t.Context())
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

func TestHelpHasExamples(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"--help"}, {"serve", "--help"}, {"backup", "--help"}, {"restore", "--help"}, {"reseal", "--help"},
		{"seal-key", "--help"}, {"seal-key", "create", "--help"}, {"seal-key", "add", "--help"}, {"reset-admin", "--help"}} {
		var out strings.Builder
		cmd := newCommand()
		cmd.SetArgs(args)
		cmd.SetOut(&out)
		if err := cmd.ExecuteContext(t.Context()); err != nil || !strings.Contains(out.String(), "Examples:\n") {
			t.Errorf("%q: %v\n%s", args, err, out.String())
		}
	}
}
