package store

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"
)

// A backup is lines of JSON: a header, a line for each item in the order of keys,
// and a trailer with the number of items and the SHA-256 of all bytes before it.
// The checksum finds accidents. It does not stop somebody who can write the
// backup, so keep it as safe as the store. Values that were sealed stay sealed,
// and the keys that open them are in no backup.
const (
	backupFormat  = "gatepass-backup"
	backupVersion = 1

	// maxLine bounds a line: a value in base64, and a key of which each byte may
	// have become \u00XX.
	maxLine = MaxValue*4/3 + MaxKey*6 + 1024
)

type backupHeader struct {
	Format  string    `json:"format"`
	Version int       `json:"version"`
	Created time.Time `json:"created"`
	// Revision is for people; a restored store has revisions of its own.
	Revision int64 `json:"revision,omitempty"`
}

// backupLine is an item or, with a checksum, the trailer.
type backupLine struct {
	Key    string `json:"key,omitempty"`
	Value  []byte `json:"value,omitempty"`
	Items  *int   `json:"items,omitempty"`
	SHA256 string `json:"sha256,omitempty"`
}

// Backup writes everything that is in a store at one moment, and returns how many
// items that is. What w has got is a backup only if Backup returns no error. Give
// it a file rather than a connection: see Store.Snapshot.
func Backup(ctx context.Context, s Store, w io.Writer) (items int, err error) {
	if err := CheckComplete(ctx, s); err != nil {
		return 0, fmt.Errorf("back up the store: %w", err)
	}
	sum := sha256.New()
	out := bufio.NewWriterSize(w, 1<<16)
	lines := json.NewEncoder(io.MultiWriter(out, sum))
	lines.SetEscapeHTML(false)
	err = lines.Encode(backupHeader{Format: backupFormat, Version: backupVersion, Created: time.Now().UTC()})
	if err != nil {
		return 0, fmt.Errorf("back up the store: %w", err)
	}
	_, err = s.Snapshot(ctx, "", func(item Item) error {
		items++
		return lines.Encode(backupLine{Key: item.Key, Value: item.Value})
	})
	if err != nil {
		return 0, fmt.Errorf("back up the store: %w", err)
	}
	trailer := backupLine{Items: &items, SHA256: hex.EncodeToString(sum.Sum(nil))}
	if err := errors.Join(lines.Encode(trailer), out.Flush()); err != nil {
		return 0, fmt.Errorf("back up the store: %w", err)
	}
	return items, nil
}

// BackupInfo is what is known of a backup that is whole.
type BackupInfo struct {
	Created time.Time
	Items   int
}

// CheckBackup reads a backup to its end, and returns an error unless it is whole and
// unharmed.
func CheckBackup(r io.Reader) (BackupInfo, error) {
	backup, err := newBackupReader(r)
	if err != nil {
		return BackupInfo{}, err
	}
	for {
		_, more, err := backup.next()
		if err != nil {
			return BackupInfo{}, err
		}
		if !more {
			return BackupInfo{Created: backup.created, Items: backup.items}, nil
		}
	}
}

// backupReader reads a backup line by line.
type backupReader struct {
	lines *bufio.Scanner
	sum   hash.Hash
	items int
	last  string // the key before

	created time.Time
}

// newBackupReader reads the header.
func newBackupReader(r io.Reader) (*backupReader, error) {
	b := &backupReader{lines: bufio.NewScanner(r), sum: sha256.New()}
	b.lines.Buffer(make([]byte, 1<<16), maxLine)
	var header backupHeader
	if err := b.scan(&header); err != nil || header.Format != backupFormat {
		return nil, errors.Join(errors.New("this is no backup of a gateway"), err)
	}
	if header.Version != backupVersion {
		return nil, fmt.Errorf("the backup has version %d, and this gateway reads %d; use the version of the gateway that wrote it", header.Version, backupVersion)
	}
	b.add()
	b.created = header.Created
	return b, nil
}

func (b *backupReader) scan(v any) error {
	if !b.lines.Scan() {
		return errors.Join(errors.New("it ends too early"), b.lines.Err())
	}
	if err := json.Unmarshal(b.lines.Bytes(), v); err != nil {
		// json's error would quote the line.
		return errors.Join(errors.New("it holds a line that can't be read"), b.lines.Err())
	}
	return nil
}

// add counts the line that was scanned towards the checksum.
func (b *backupReader) add() {
	b.sum.Write(b.lines.Bytes())
	b.sum.Write([]byte{'\n'})
}

// next returns the next item; ok is false after the last, when the backup has
// turned out to be complete and unharmed.
func (b *backupReader) next() (line backupLine, ok bool, err error) {
	if err := b.scan(&line); err != nil {
		return backupLine{}, false, fmt.Errorf("the backup is damaged: %w", err)
	}
	if line.Items != nil {
		return backupLine{}, false, b.finish(line)
	}
	if line.Key <= b.last {
		return backupLine{}, false, errors.New("the backup is damaged: its keys are not in order")
	}
	b.add()
	b.items++
	b.last = line.Key
	return line, true, nil
}

func (b *backupReader) finish(trailer backupLine) error {
	if *trailer.Items != b.items || trailer.SHA256 != hex.EncodeToString(b.sum.Sum(nil)) {
		return errors.New("the backup is damaged: its checksum is another")
	}
	if b.lines.Scan() {
		return errors.New("the backup is damaged: it goes on after its end")
	}
	return b.lines.Err()
}
