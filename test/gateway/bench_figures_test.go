package gateway_test

import (
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"text/tabwriter"
	"time"
)

// figures are what the benchmarks have measured, for one table at their end.
type figures struct {
	mu   sync.Mutex
	rows []string
}

// add notes a figure and what it should be, which may be empty. The benchmark
// reports it as well, for programs that compare runs.
func (f *figures) add(b *testing.B, metric, what, goal string, value float64, precision int) {
	b.Helper()
	b.ReportMetric(value, metric)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rows = append(f.rows, fmt.Sprintf("%s\t%.*f\t%s\t", what, precision, value, goal))
}

// print writes the table, if there is one.
func (f *figures) print(out io.Writer) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.rows) == 0 {
		return nil
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, row := range append([]string{"FIGURE\tMEASURED\tGOAL\t"}, f.rows...) {
		if _, err := fmt.Fprintln(table, row); err != nil {
			return err
		}
	}
	return table.Flush()
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// percentile is the time that so many hundredths of all did not exceed, in
// milliseconds.
func percentile(times []time.Duration, hundredths int) float64 {
	sorted := slices.Sorted(slices.Values(times))
	return float64(sorted[(len(sorted)-1)*hundredths/100].Microseconds()) / 1000
}
