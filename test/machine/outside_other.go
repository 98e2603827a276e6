//go:build !linux

package machine

import (
	"errors"
	"runtime"
)

func outside(Options) (int, error) {
	return 0, errors.New("a node that runs pods needs Linux and root; this is " + runtime.GOOS)
}

func first() (int, error) { return outside(Options{}) }
