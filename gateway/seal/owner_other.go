//go:build !unix

package seal

import (
	"io/fs"
	"os"
)

// keepOwner gives a file the mode of another.
func keepOwner(file *os.File, of fs.FileInfo) error { return file.Chmod(of.Mode().Perm()) }
