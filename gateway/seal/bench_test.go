package seal

import (
	"log/slog"
	"path/filepath"
	"testing"
)

func BenchmarkSealer(b *testing.B) {
	name := filepath.Join(b.TempDir(), "keys")
	if _, err := CreateFile(name); err != nil {
		b.Fatal(err)
	}
	s, err := New(Options{File: name, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	value := make([]byte, 200)
	sealed, err := s.Seal("sealed/a", value)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("seal", func(b *testing.B) {
		for b.Loop() {
			if _, err := s.Seal("sealed/a", value); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("open", func(b *testing.B) {
		for b.Loop() {
			if _, err := s.Open("sealed/a", sealed); err != nil {
				b.Fatal(err)
			}
		}
	})
}
