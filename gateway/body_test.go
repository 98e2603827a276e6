package gateway

import (
	"strings"
	"testing"
)

func TestNothingIsLeftInABodyThatWasGivenBack(t *testing.T) {
	t.Parallel()
	var b bodies
	body := b.take()
	body.WriteString("eyJ.a.secret")
	memory := body.Bytes()
	b.giveBack(body)
	if strings.Trim(string(memory), "\x00") != "" || body.Len() != 0 {
		t.Errorf("%q is left", memory)
	}
}

func TestLargeBodiesAreNotKept(t *testing.T) {
	t.Parallel()
	var b bodies
	body := b.take()
	body.Grow(maxKeptBody + 1)
	b.giveBack(body)
	if again := b.take(); again == body {
		t.Error("it is kept")
	}
}
