package memory

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// unmap tells the kernel that the process needs none of its pages of files at the
// moment: the program itself, and the database. They stay in the system's cache
// while there is room, and come back one by one when they are touched.
//
// Only mappings that have nothing but a file's content are let go of, which can be
// had again (madvise(2), MADV_DONTNEED).
func unmap() error {
	listing, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return fmt.Errorf("list the mappings: %w", err)
	}
	var errs []error
	for _, m := range mappings(listing) {
		if !m.clean() {
			continue
		}
		if _, _, failed := syscall.Syscall(syscall.SYS_MADVISE, m.start, m.end-m.start, syscall.MADV_DONTNEED); failed != 0 {
			errs = append(errs, fmt.Errorf("let go of %s: %w", m.file, failed))
		}
	}
	return errors.Join(errs...)
}

// mapping is a part of the address space.
type mapping struct {
	start, end  uintptr
	permissions string
	file        string
	// anonymous is how many KiB are not the file's.
	anonymous int
	// known is whether anonymous was told.
	known bool
}

// clean says whether a mapping is of a file, not written, and never was: a linker
// may have written to it before it took that right away.
func (m *mapping) clean() bool {
	return strings.HasPrefix(m.file, "/") && strings.HasPrefix(m.permissions, "r-") && m.known && m.anonymous == 0
}

// mappings reads /proc/self/smaps (proc_pid_smaps(5)).
func mappings(listing []byte) []mapping {
	var all []mapping
	for lines := bufio.NewScanner(bytes.NewReader(listing)); lines.Scan(); {
		var m mapping
		var offset, device, inode string
		line := lines.Text()
		n, _ := fmt.Sscanf(line, "%x-%x %s %s %s %s %s", &m.start, &m.end, &m.permissions, &offset, &device, &inode, &m.file)
		switch {
		case n >= 6: // the first line of one, which has no file if it has none
			all = append(all, m)
		case len(all) > 0 && strings.HasPrefix(line, "Anonymous:"):
			last := &all[len(all)-1]
			_, err := fmt.Sscanf(line, "Anonymous: %d kB", &last.anonymous)
			last.known = err == nil
		}
	}
	return all
}
