package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/gatepass/gatepass/agent/line"
)

// maxCell bounds what is shown of one text, in bytes. Names have at most 1024.
const maxCell = 2048

// cell makes a text from the gateway fit for one line of a terminal.
func cell(text string) string { return line.Fold(text, maxCell) }

// printJSONValue writes JSON for people and programs.
func printJSONValue(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(v)
}

// table writes rows under titles, in columns.
func table(w io.Writer, titles []string, rows [][]string) error {
	columns := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	for _, row := range append([][]string{titles}, rows...) {
		cells := make([]string, len(row))
		for i, text := range row {
			if cells[i] = cell(text); cells[i] == "" {
				cells[i] = "-"
			}
		}
		if _, err := fmt.Fprintln(columns, strings.Join(cells, "\t")); err != nil {
			return err
		}
	}
	return columns.Flush()
}

// property is a line of a description. Those without a value are left out.
type property struct{ name, value string }

// describe writes the properties of one object.
func describe(w io.Writer, properties ...property) error {
	columns := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, p := range properties {
		if p.value == "" {
			continue
		}
		if _, err := fmt.Fprintf(columns, "%s:\t%s\n", p.name, cell(p.value)); err != nil {
			return err
		}
	}
	return columns.Flush()
}

// more says how to get the rest of a list.
func more(w io.Writer, next string) error {
	if next == "" {
		return nil
	}
	_, err := fmt.Fprintf(w, "There is more: --pagination-token %s\n", cell(next))
	return err
}

func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func list(values []string) string { return strings.Join(values, ", ") }

func yes(on bool) string {
	if on {
		return "yes"
	}
	return ""
}
