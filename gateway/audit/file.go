package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
)

// File is a log file that other programs rotate: renamed or removed, it is made
// anew before the next line; truncated, it goes on at its beginning. It is safe for
// concurrent use.
//
// A line has been handed to the operating system when Write returns: it outlives a
// crash of the gateway, but perhaps not one of the machine.
type File struct {
	name string

	mu   sync.Mutex
	file *os.File
	info fs.FileInfo
	// torn means that the last line may not be complete, because the disk was full:
	// the next one begins on a line of its own.
	torn bool
}

// OpenFile opens a file for appending, or makes it with mode 0600.
func OpenFile(name string) (*File, error) {
	f := &File{name: name}
	if err := f.open(); err != nil {
		return nil, fmt.Errorf("open the audit log: %w", err)
	}
	return f, nil
}

func (f *File) open() error {
	file, err := os.OpenFile(f.name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		return errors.Join(err, file.Close())
	}
	f.file, f.info = file, info
	return nil
}

// Write appends a line.
func (f *File) Write(line []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.follow(); err != nil {
		return 0, err
	}
	if f.torn {
		if _, err := f.file.WriteString("\n"); err != nil {
			return 0, err //nolint:wrapcheck // Log wraps it
		}
		f.torn = false
	}
	n, err := f.file.Write(line)
	f.torn = n > 0 && n < len(line)
	return n, err //nolint:wrapcheck // Log wraps it
}

// follow opens the file anew if the name means another one now. Asking takes a
// microsecond.
func (f *File) follow() error {
	info, err := os.Stat(f.name)
	if err == nil && os.SameFile(info, f.info) {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err //nolint:wrapcheck // Log wraps it
	}
	old := f.file
	if err := f.open(); err != nil {
		return err // the old one stays open, so that this is tried again
	}
	_ = old.Close() // every line that it has got was written
	return nil
}

// Close closes the file.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.file.Close(); err != nil {
		return fmt.Errorf("close the audit log: %w", err)
	}
	return nil
}
