package bolt

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/gatepass/gatepass/gateway/store"
)

// revisionSize is how many bytes of the revision precede each value.
const revisionSize = 8

// encode makes room for the revision, which only the commit knows.
func encode(value []byte) []byte {
	return append(make([]byte, revisionSize, revisionSize+len(value)), value...)
}

func stamp(encoded []byte, revision int64) {
	binary.BigEndian.PutUint64(encoded, uint64(revision)) //nolint:gosec // it counts up from 0
}

// decode copies the value, because the file's memory ends with its transaction.
func decode(key, encoded []byte) (store.Item, error) {
	revision, err := revisionOf(encoded)
	if err != nil {
		return store.Item{}, fmt.Errorf("%s: %w", key, err)
	}
	return store.Item{Key: string(key), Value: bytes.Clone(encoded[revisionSize:]), Revision: revision}, nil
}

// revisionOf returns an item's revision, and Absent for none.
func revisionOf(encoded []byte) (int64, error) {
	if encoded == nil {
		return store.Absent, nil
	}
	if len(encoded) < revisionSize {
		return 0, fmt.Errorf("%w: the database is damaged; restore a backup", store.ErrUnavailable)
	}
	return int64(binary.BigEndian.Uint64(encoded)), nil //nolint:gosec // stamp wrote it
}
