package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// emptyIsAValue annotates flags of which "" means something.
const emptyIsAValue = "gatepass_empty_is_a_value"

// mayBeEmpty takes flags that were just defined out of refuseEmpty.
func mayBeEmpty(f *pflag.FlagSet, names ...string) {
	for _, name := range names {
		_ = f.SetAnnotation(name, emptyIsAValue, nil) // fails for a flag that does not exist only
	}
}

// refuseEmpty reports every flag that was given without a value: nobody writes
// that, but a script does whose variable is not set. Taken as not given, it would
// leave a restriction out, or fall back to somebody else's session.
func refuseEmpty(cmd *cobra.Command, _ []string) error {
	var errs []error
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if _, may := f.Annotations[emptyIsAValue]; may || !isEmpty(f.Value) {
			return
		}
		errs = append(errs, fmt.Errorf("--%s is given, but empty; is a variable not set?%s", f.Name, insteadOfEmpty(cmd, f.Name)))
	})
	if len(errs) > 0 {
		return usageError{errors.Join(errs...)}
	}
	return nil
}

func isEmpty(v pflag.Value) bool {
	if values, ok := v.(pflag.SliceValue); ok {
		return slices.ContainsFunc(values.GetSlice(), func(entry string) bool { return strings.TrimSpace(entry) == "" })
	}
	return v.String() == ""
}

// insteadOfEmpty says how to write what somebody may have meant by it.
func insteadOfEmpty(cmd *cobra.Command, flag string) string {
	switch {
	case !strings.Contains(flag, "bound-"):
		return ""
	case cmd.Flags().Lookup("unbind") != nil:
		return " To take the restriction off, use --unbind " + flag
	case strings.HasSuffix(flag, "-ips"):
		return ""
	}
	return " To let in any, use --" + flag + " '*'"
}
