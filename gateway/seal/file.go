package seal

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// idBytes is how many random bytes a generated id has. It is to be told from its
// few neighbours, and a clash is refused.
const idBytes = 4

// Generate makes a line of a key file, with its newline: a fresh key that seals
// from a time on.
func Generate(from time.Time) (id string, line []byte) {
	random := make([]byte, idBytes+keySize)
	defer clear(random)
	_, _ = rand.Read(random) // it never fails
	id = "k" + hex.EncodeToString(random[:idBytes])
	line = fmt.Appendf(nil, "%s %s ", id, from.UTC().Format(time.RFC3339))
	line = base64.StdEncoding.AppendEncode(line, random[idBytes:])
	return id, append(line, '\n')
}

// header explains the file to whoever opens it.
const header = "# Keys that seal the gateway's store. Whoever has them can read it and its\n" +
	"# backups; without them, neither can be read. id, seals from, key:\n"

// CreateFile makes a key file with one key, and mode 0600. It replaces none.
func CreateFile(name string) (id string, err error) {
	id, line := Generate(time.Now())
	defer clear(line)
	content := append([]byte(header), line...)
	defer clear(content)
	err = place(name, content, nil, func(tmp string) error { return os.Link(tmp, name) })
	if err != nil {
		return "", fmt.Errorf("make the key file: %w", err)
	}
	return id, nil
}

// AddKey adds a key that seals from a time on: when every gateway has the file. The
// file keeps its mode and owner, so that the gateway can still read it, and stays
// where a link says that it is.
func AddKey(name string, from time.Time) (id string, err error) {
	if name, err = filepath.EvalSymlinks(name); err != nil {
		return "", fmt.Errorf("add a key: %w", err)
	}
	before, err := os.Stat(name)
	if err != nil {
		return "", fmt.Errorf("add a key: %w", err)
	}
	content, err := readBounded(name)
	if err != nil {
		return "", fmt.Errorf("add a key: %w", err)
	}
	defer func() { clear(content) }()
	id, line := Generate(from)
	defer clear(line)
	longer := make([]byte, 0, len(content)+len(line)+1)
	longer = append(longer, content...)
	if len(longer) > 0 && longer[len(longer)-1] != '\n' {
		longer = append(longer, '\n')
	}
	longer = append(longer, line...)
	defer clear(longer)
	if _, err := parse(longer); err != nil {
		return "", fmt.Errorf("add a key to %s: %w", name, err)
	}
	if err := place(name, longer, before, func(tmp string) error { return os.Rename(tmp, name) }); err != nil {
		return "", fmt.Errorf("add a key: %w", err)
	}
	return id, nil
}

// place writes a file completely or not at all, and makes it survive a crash: a
// key that was used and lost takes the store with it. It gets the mode and owner of
// the file that was there before, if there was one.
func place(name string, content []byte, before fs.FileInfo, put func(tmp string) error) error {
	dir := filepath.Dir(name)
	tmp, err := os.CreateTemp(dir, ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) //nolint:errcheck // after a rename it is not there
	_, writeErr := tmp.Write(content)
	if before != nil {
		writeErr = errors.Join(writeErr, keepOwner(tmp, before))
	}
	if err := errors.Join(writeErr, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := put(tmp.Name()); err != nil {
		return err
	}
	d, err := os.Open(dir) //nolint:gosec // the administrator names the file
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
