package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// maxInput bounds what is read for one flag, in bytes. The gateway takes less.
const maxInput = 1 << 20

// standardInput is the file name that means it.
const standardInput = "-"

// input reads the files that flags name. Standard input has one content, so
// that one flag may name it.
type input struct {
	stdin io.Reader
	used  string
}

// read returns what a flag's file holds. Errors name the flag.
func (in *input) read(flag, path string) ([]byte, error) {
	source := in.stdin
	if path == standardInput {
		if in.used != "" {
			return nil, usageError{fmt.Errorf("--%s and --%s can't both read standard input", in.used, flag)}
		}
		in.used = flag
	} else {
		f, err := os.Open(path) //nolint:gosec // the user names the file
		if err != nil {
			return nil, fmt.Errorf("--%s: %w", flag, err)
		}
		defer func() { _ = f.Close() }() // nothing was written
		source = f
	}
	data, err := io.ReadAll(io.LimitReader(source, maxInput+1))
	if err != nil {
		return nil, fmt.Errorf("--%s: %w", flag, err)
	}
	if len(data) > maxInput {
		return nil, fmt.Errorf("--%s: there are more than %d bytes", flag, maxInput)
	}
	return data, nil
}

// text is something long or secret: given as it is, or in a file, where nobody
// else on the machine sees it.
type text struct {
	name, nameOfFile string
	value, file      string
	// exact text keeps the white space around it.
	exact bool
}

// add defines the two flags. They are --NAME and --NAME-file.
func (t *text) add(f *pflag.FlagSet, name, usage string) {
	t.addAs(f, name, name+"-file", usage)
}

func (t *text) addAs(f *pflag.FlagSet, name, nameOfFile, usage string) {
	t.name, t.nameOfFile = name, nameOfFile
	f.StringVar(&t.value, name, "", usage)
	f.StringVar(&t.file, nameOfFile, "", "file with it, - for standard input")
	_ = cobra.MarkFlagFilename(f, nameOfFile) // the flag was just defined
}

// given says whether either flag is.
func (t *text) given() bool { return t.value != "" || t.file != "" }

// read returns the text, "" if none was given.
func (t *text) read(in *input) (string, error) {
	if t.value != "" && t.file != "" {
		return "", usageError{fmt.Errorf("--%s and --%s exclude each other", t.name, t.nameOfFile)}
	}
	if t.file == "" {
		return t.value, nil
	}
	data, err := in.read(t.nameOfFile, t.file)
	if err != nil {
		return "", err
	}
	if !utf8.Valid(data) {
		return "", fmt.Errorf("--%s: it is not text; encode it, for example in base64", t.nameOfFile)
	}
	value := string(data)
	if !t.exact {
		value = strings.TrimSpace(value)
	}
	if value == "" {
		return "", fmt.Errorf("--%s: it is empty", t.nameOfFile)
	}
	return value, nil
}

var errInterrupted = errors.New("interrupted")
