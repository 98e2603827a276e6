package authenticator_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/test/repo"
)

// TestTheDocumentShowsWhatIsTested looks for every line of both configurations that
// is the same for everybody.
func TestTheDocumentShowsWhatIsTested(t *testing.T) {
	t.Parallel()
	root, err := repo.Root()
	check(t, err)
	document, err := os.ReadFile(filepath.Join(root, "docs", "authenticator.md"))
	check(t, err)
	own := regexp.MustCompile(`ISSUER|ACCESS-ID|^CA$|FILE`)
	shown := 0
	for line := range strings.SplitSeq(structured+webhook, "\n") {
		if line == "" || own.MatchString(line) {
			continue
		}
		if !strings.Contains(string(document), line+"\n") {
			t.Errorf("docs/authenticator.md does not have %q", line)
		}
		shown++
	}
	if shown < 15 {
		t.Errorf("only %d lines were compared", shown)
	}
}
