package memory

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

const listing = `00400000-0201e000 r-xp 00000000 08:01 1234                               /gatepass gateway
Size:              28792 kB
Anonymous:             0 kB
VmFlags: rd ex mr mw me
0201e000-0437e000 r--p 01c1e000 08:01 1234                               /gatepass gateway
Anonymous:             4 kB
0437e000-043fd000 rw-p 03f7e000 08:01 1234                               /gatepass gateway
Anonymous:             0 kB
7f0000000000-7f0040000000 r--s 00000000 08:01 99                         /data/gatepass.db
Anonymous:             0 kB
c000000000-c000c00000 rw-p 00000000 00:00 0
Anonymous:          6000 kB
7ffd6b5e2000-7ffd6b5e4000 r-xp 00000000 00:00 0                          [vdso]
Anonymous:             0 kB
7ffd6b5e8000-7ffd6b5ea000 r-xp 00000000 08:01 55                         /untold
`

func TestMappings(t *testing.T) {
	t.Parallel()
	all := mappings([]byte(listing))
	want := []bool{true, false, false, true, false, false, false}
	if len(all) != len(want) {
		t.Fatalf("%+v", all)
	}
	for i, m := range all {
		if m.clean() != want[i] {
			t.Errorf("%+v is clean: %t", m, m.clean())
		}
	}
	if db := all[3]; db.start != 0x7f0000000000 || db.end != 0x7f0040000000 || db.file != "/data/gatepass.db" {
		t.Errorf("%+v", db)
	}
}

// TestUnmap can't run beside others: they might touch what it has let go of.
func TestUnmap(t *testing.T) {
	const size = 4 << 20
	name := filepath.Join(t.TempDir(), "file")
	content := bytes.Repeat([]byte("content "), size/8)
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }() // it was only read
	mapped := func(protection, flags int) []byte {
		t.Helper()
		memory, err := syscall.Mmap(int(file.Fd()), 0, size, protection, flags)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := syscall.Munmap(memory); err != nil {
				t.Error(err)
			}
		})
		return memory
	}
	database := mapped(syscall.PROT_READ, syscall.MAP_SHARED)
	// As a dynamic linker leaves it: written, and then not to be written any more.
	linked := mapped(syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE)
	copy(linked, "changed ")
	if err := syscall.Mprotect(linked, syscall.PROT_READ); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(database, content) || resident(t, database) != size {
		t.Fatalf("%d bytes of the file are resident", resident(t, database))
	}
	if err := unmap(); err != nil {
		t.Fatal(err)
	}
	if left := resident(t, database); left != 0 {
		t.Errorf("%d bytes of the file are still resident", left)
	}
	if !bytes.Equal(database, content) {
		t.Error("the file reads differently now")
	}
	if string(linked[:8]) != "changed " || !bytes.Equal(linked[8:], content[8:]) {
		t.Error("what had been written was lost")
	}
}

// resident is how many bytes of a mapping the process has.
func resident(t *testing.T, memory []byte) int {
	t.Helper()
	listing, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	start := strings.TrimPrefix(fmt.Sprintf("%p-", memory), "0x")
	_, rest, found := strings.Cut("\n"+string(listing), "\n"+start)
	_, rest, has := strings.Cut(rest, "\nRss:")
	kib := 0
	if n, err := fmt.Sscan(rest, &kib); !found || !has || n != 1 || err != nil {
		t.Fatalf("no mapping begins at %s", start)
	}
	return kib << 10
}
