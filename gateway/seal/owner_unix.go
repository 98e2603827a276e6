//go:build unix

package seal

import (
	"io/fs"
	"os"
	"syscall"
)

// keepOwner gives a file the mode, user and group of another.
func keepOwner(file *os.File, of fs.FileInfo) error {
	if owner, ok := of.Sys().(*syscall.Stat_t); ok {
		if err := file.Chown(int(owner.Uid), int(owner.Gid)); err != nil {
			return err
		}
	}
	// After it: a change of the owner may clear bits.
	return file.Chmod(of.Mode().Perm())
}
