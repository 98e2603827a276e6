package bed

import (
	"bytes"
	"errors"
	"io"
	"os/exec"
	"path/filepath"
	"testing"
)

// Enter starts a shell in a pod's container, types commands, and leaves. It
// returns what was printed, and the last command's exit code. Like a person's,
// its standard input stays open to the end: containerd was seen to lose what
// was written just before the end of a container's input.
func (b *Bed) Enter(t testing.TB, ns, pod, commands string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(b.Binaries(), "kubectl"),
		"exec", "--stdin=true", "--namespace", ns, "--tty=true", pod, "--", "/bin/sh")
	cmd.Env = []string{"KUBECONFIG=" + b.Kubeconfig, "HOME=" + t.TempDir()}
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	input, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_, err = io.WriteString(input, commands+"\nexit\n")
	if err = errors.Join(err, cmd.Wait()); err != nil {
		failed, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			t.Fatal(err)
		}
		code = failed.ExitCode()
	}
	return out.String(), errOut.String(), code
}
