package main

import (
	"errors"
	"regexp"

	"github.com/spf13/pflag"
)

// flagProblem says what is wrong with a flag, without what was given: pflag repeats
// it, and it may be a token or a key.
func flagProblem(err error) string {
	if invalid, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		flag := invalid.GetFlag()
		switch flag.Value.Type() {
		case "bool":
			return "--" + flag.Name + ": use true or false"
		case "duration":
			return "--" + flag.Name + ": use a duration, for example 30s"
		}
		// The other types are this program's, and their errors hold no value.
		return "--" + flag.Name + ": " + errors.Unwrap(invalid).Error()
	}
	if lacking, ok := errors.AsType[*pflag.ValueRequiredError](err); ok {
		return "--" + lacking.GetFlag().Name + " needs a value"
	}
	if unknown, ok := errors.AsType[*pflag.NotExistError](err); ok {
		if unknown.GetSpecifiedShortnames() != "" {
			return "unknown flag: -" + unknown.GetSpecifiedName()
		}
		if name := unknown.GetSpecifiedName(); isWord(name) {
			return "unknown flag: --" + name
		}
		return "unknown flag"
	}
	return "a flag can't be read"
}

// word quotes an argument that looks like the name of something and not like a
// token or a key.
func word(argument string) string {
	if !isWord(argument) {
		return ""
	}
	return ` "` + argument + `"`
}

func isWord(text string) bool {
	return regexp.MustCompile(`^[a-z][a-z0-9-]{0,29}$`).MatchString(text)
}
