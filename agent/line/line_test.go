package line_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gatepass/gatepass/agent/line"
)

func TestFold(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ text, want string }{
		"a plain text stays":                      {"connection refused", "connection refused"},
		"line feeds and tabs become one space":    {" a\n\n\tb \r\n", "a b"},
		"control characters don't reach terminal": {"a\x1b[31mb\x00c", "a [31mb c"},
		"other scripts stay":                      {"größer 数据", "größer 数据"},
		"nothing stays nothing":                   {"\n\t", ""},
	} {
		if got := line.Fold(tt.text, 100); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

func TestFoldBounds(t *testing.T) {
	t.Parallel()
	for _, text := range []string{strings.Repeat("a", 300), strings.Repeat("数", 300), strings.Repeat("a \n", 300), strings.Repeat("\xff", 300)} {
		got := line.Fold(text, 100)
		if len(got) > 100 || len(got) < 80 || !strings.HasSuffix(got, "…") || !utf8.ValidString(got) {
			t.Errorf("%d bytes: %q", len(got), got)
		}
	}
}
