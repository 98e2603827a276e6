package main

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// Terminal colours, ECMA-48 "select graphic rendition".
const (
	bold  = "1"
	red   = "31"
	green = "32"
	cyan  = "36"
	faint = "2"
)

// narrator prints the story for a person.
type narrator struct {
	out    io.Writer
	colour bool
	steps  int
}

// newNarrator uses colours on a terminal, unless the user asked for none
// (no-color.org).
func newNarrator(out *os.File) *narrator {
	info, err := out.Stat()
	terminal := err == nil && info.Mode()&os.ModeCharDevice != 0
	return &narrator{out: out, colour: terminal && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"}
}

func (n *narrator) paint(colour, text string) string {
	if !n.colour {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// step begins a numbered part of the story.
func (n *narrator) step(title string) {
	n.steps++
	fmt.Fprintf(n.out, "\n%s\n", n.paint(bold, fmt.Sprintf("%d. %s", n.steps, title)))
}

// say prints a sentence.
func (n *narrator) say(format string, args ...any) {
	fmt.Fprintf(n.out, "   "+format+"\n", args...)
}

// show prints what a program said or a file holds, set off from the story.
func (n *narrator) show(text string) {
	for line := range strings.Lines(strings.TrimRight(text, "\n") + "\n") {
		fmt.Fprint(n.out, n.paint(faint, "   | ")+line)
	}
}

// diff prints a unified diff with its colours.
func (n *narrator) diff(text string) {
	for line := range strings.SplitSeq(text, "\n") {
		switch {
		case strings.HasPrefix(line, "+"):
			line = n.paint(green, line)
		case strings.HasPrefix(line, "-"):
			line = n.paint(red, line)
		case strings.HasPrefix(line, "@@"):
			line = n.paint(cyan, line)
		}
		fmt.Fprintf(n.out, "   %s\n", line)
	}
}
