package bolt

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
)

// The parts of bbolt's file format, version 2, that say where pages and what is on
// them lie. All numbers are in the machine's order of bytes.
const (
	// A page begins with its number (8 bytes), type (2), count of elements (2), and
	// the count of pages that it takes besides the first (4).
	pageHeader = 16
	branchPage = 1
	leafPage   = 2

	// An element of a branch page is the offset of its key from the element (4), the
	// key's size (4), and the number of a page (8). One of a leaf page is its flags
	// (4), the offset (4), and the sizes of key and value (4 each), which are side by
	// side.
	elementSize = 16
	isBucket    = 1

	// The value of a bucket is the number of its root page (8), and another number
	// (8). Without a root page, a page of its own follows.
	bucketHeader = 16
)

// pageCheck goes through the pages of a database.
type pageCheck struct {
	file io.ReaderAt
	size int
	seen []bool // for every page that may be in use
}

// checkPages returns errDamaged unless all pages that can be reached from the root
// bucket's are what they should be: whole, in order, and each in one place only.
func checkPages(file io.ReaderAt, size int, root, used uint64) error {
	if _, err := file.ReadAt(make([]byte, 1), int64(used)*int64(size)-1); err != nil { //nolint:gosec // bbolt counts these pages as an int64 of bytes
		return fmt.Errorf("%w: the file is too short", errDamaged)
	}
	c := &pageCheck{file: file, size: size, seen: make([]bool, used)}
	return c.tree(root, nil, nil)
}

// tree checks a page, whose keys are from first up to before end, and those below.
func (c *pageCheck) tree(number uint64, first, end []byte) error {
	page, err := c.read(number)
	if err != nil {
		return err
	}
	if binary.NativeEndian.Uint16(page[8:]) == leafPage {
		return c.leaf(number, page, first, end)
	}
	keys, below, err := c.branch(number, page)
	if err != nil {
		return err
	}
	for i, key := range keys {
		next := end
		if i+1 < len(keys) {
			next = keys[i+1]
		}
		if !within(key, first, end) || next != nil && bytes.Compare(key, next) >= 0 {
			return damaged(number, "its keys are not in order")
		}
		if err := c.tree(below[i], key, next); err != nil {
			return err
		}
	}
	return nil
}

// read returns a page with all that belongs to it.
func (c *pageCheck) read(number uint64) ([]byte, error) {
	if number < 2 || number >= uint64(len(c.seen)) {
		return nil, damaged(number, "there is no such page")
	}
	offset := int64(number) * int64(c.size) //nolint:gosec // it is in the file
	page := make([]byte, c.size)
	if _, err := c.file.ReadAt(page, offset); err != nil {
		return nil, fmt.Errorf("read page %d: %w", number, err)
	}
	more := uint64(binary.NativeEndian.Uint32(page[12:]))
	kind := binary.NativeEndian.Uint16(page[8:])
	if binary.NativeEndian.Uint64(page) != number || kind != branchPage && kind != leafPage || number+more >= uint64(len(c.seen)) {
		return nil, damaged(number, "it is another")
	}
	for n := number; n <= number+more; n++ {
		if c.seen[n] {
			return nil, damaged(n, "it is in two places")
		}
		c.seen[n] = true
	}
	if more == 0 {
		return page, nil
	}
	page = make([]byte, (int(more)+1)*c.size) //nolint:gosec // it is in the file
	if _, err := c.file.ReadAt(page, offset); err != nil {
		return nil, fmt.Errorf("read page %d: %w", number, err)
	}
	return page, nil
}

// branch returns the keys of a page and the pages that they lead to.
func (c *pageCheck) branch(number uint64, page []byte) (keys [][]byte, below []uint64, err error) {
	count := int(binary.NativeEndian.Uint16(page[10:]))
	if count == 0 || pageHeader+count*elementSize > len(page) {
		return nil, nil, damaged(number, "it has no elements, or too many")
	}
	for at := pageHeader; at < pageHeader+count*elementSize; at += elementSize {
		key, ok := part(page, at, page[at:], page[at+4:])
		if !ok {
			return nil, nil, damaged(number, "a key is not on it")
		}
		keys, below = append(keys, key), append(below, binary.NativeEndian.Uint64(page[at+8:]))
	}
	return keys, below, nil
}

// leaf checks keys and values, and the buckets among them.
func (c *pageCheck) leaf(number uint64, page, first, end []byte) error {
	count := int(binary.NativeEndian.Uint16(page[10:]))
	if pageHeader+count*elementSize > len(page) {
		return damaged(number, "it has too many elements")
	}
	var last []byte
	for at := pageHeader; at < pageHeader+count*elementSize; at += elementSize {
		key, ok := part(page, at, page[at+4:], page[at+8:])
		if !ok {
			return damaged(number, "a key is not on it")
		}
		if !within(key, first, end) || last != nil && bytes.Compare(key, last) <= 0 {
			return damaged(number, "its keys are not in order")
		}
		last = key
		// The value is behind the key.
		value, ok := part(page, at+int(binary.NativeEndian.Uint32(page[at+4:]))+len(key), nil, page[at+12:])
		if !ok {
			return damaged(number, "a value is not on it")
		}
		if binary.NativeEndian.Uint32(page[at:])&isBucket == 0 {
			continue
		}
		if err := c.bucket(number, value); err != nil {
			return err
		}
	}
	return nil
}

// bucket checks the value of a bucket, which is on a page.
func (c *pageCheck) bucket(number uint64, value []byte) error {
	if len(value) < bucketHeader {
		return damaged(number, "a bucket is too short")
	}
	if root := binary.NativeEndian.Uint64(value); root != 0 {
		return c.tree(root, nil, nil)
	}
	inline := value[bucketHeader:]
	if len(inline) < pageHeader || binary.NativeEndian.Uint16(inline[8:]) != leafPage {
		return damaged(number, "a bucket is too short")
	}
	return c.leaf(number, inline, nil, nil)
}

// part returns the bytes at an offset from another, if they are on the page. The
// offset, if it is not nil, and the size are numbers on the page.
func part(page []byte, from int, offset, size []byte) ([]byte, bool) {
	begin := uint64(from) //nolint:gosec // it is not negative
	if offset != nil {
		begin += uint64(binary.NativeEndian.Uint32(offset))
	}
	end := begin + uint64(binary.NativeEndian.Uint32(size))
	if end > uint64(len(page)) {
		return nil, false
	}
	return page[begin:end], true
}

// within is whether a key is from first up to before end; nil is no bound.
func within(key, first, end []byte) bool {
	return bytes.Compare(key, first) >= 0 && (end == nil || bytes.Compare(key, end) < 0)
}

func damaged(page uint64, what string) error {
	return fmt.Errorf("%w: page %d: %s", errDamaged, page, what)
}
