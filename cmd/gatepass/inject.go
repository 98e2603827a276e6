package main

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"

	"github.com/gatepass/gatepass/injector"
	"github.com/gatepass/gatepass/injector/profile"
	"github.com/gatepass/gatepass/injector/workload"
)

// exampleConfig is used when no configuration is given.
//
//go:embed example-config.yaml
var exampleConfig []byte

type injectFlags struct {
	file   string
	config string
	output string
}

func newInjectCommand() *cobra.Command {
	var f injectFlags
	cmd := &cobra.Command{
		Use:   "inject -f FILE",
		Short: "Show what the webhook would do to the pods of a manifest",
		Long: `inject reads Kubernetes objects and shows, without a cluster, what the webhook
would make of their pods: of pods, and of the pod templates of Deployments,
StatefulSets, DaemonSets, ReplicaSets, Jobs and CronJobs. In objects of other kinds
(Rollouts, Knative Services, operators' resources) it finds pod templates by their
shape, and says where it found none although a key of Gatepass is there. A pod that
the webhook would refuse is an error with the same message.`,
		Example: `  # what would be added, for people
  gatepass inject -f deployment.yaml -o diff

  # with the cluster's own profiles
  kubectl -n gatepass-system get configmap gatepass-webhook-config -o 'jsonpath={.data.config\.yaml}' > config.yaml
  gatepass inject -f deployment.yaml --config config.yaml

  # from another program
  kustomize build . | gatepass inject -f - -o json`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().StringVarP(&f.file, "filename", "f", "", "file with the objects, YAML or JSON; - for standard input")
	cmd.Flags().StringVar(&f.config, "config", "", "file with the profiles (InjectorConfig); an example if not given")
	cmd.Flags().StringVarP(&f.output, "output", "o", "yaml", "yaml, json, patch or diff")
	// The flag was just defined, so this can't fail.
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(outputs(), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func outputs() []string { return []string{"yaml", "json", "patch", "diff"} }

func (f *injectFlags) run(in io.Reader, out, errOut io.Writer) error {
	if f.file == "" {
		return usageError{errors.New("no objects are given; use -f FILE, or -f - for standard input")}
	}
	show, err := f.printer()
	if err != nil {
		return usageError{err}
	}
	profiles, err := f.profiles(errOut)
	if err != nil {
		return err
	}
	objects, err := f.objects(in)
	if err != nil {
		return err
	}
	previews, err := preview(injector.New(profiles), objects, errOut)
	if err != nil {
		return err
	}
	return show(out, previews)
}

func (f *injectFlags) profiles(errOut io.Writer) (*profile.Set, error) {
	data, name := exampleConfig, "the example configuration"
	if f.config == "" {
		_, _ = fmt.Fprintln(errOut, "note: no --config is given, so addresses, ids and the agent's image are those of an example")
	} else {
		var err error
		if data, err = os.ReadFile(f.config); err != nil {
			return nil, fmt.Errorf("--config: %w", err)
		}
		name = f.config
	}
	set, err := profile.Parse(data, profile.Options{ReadFile: os.ReadFile, Overridable: injector.Overridable()})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return set, nil
}

func (f *injectFlags) objects(in io.Reader) ([][]byte, error) {
	if f.file != "-" {
		file, err := os.Open(f.file)
		if err != nil {
			return nil, fmt.Errorf("--filename: %w", err)
		}
		defer file.Close() //nolint:errcheck // only read from
		in = file
	}
	objects, err := workload.Read(in)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.file, err)
	}
	if len(objects) == 0 {
		return nil, fmt.Errorf("%s holds no Kubernetes object", f.file)
	}
	return objects, nil
}

// preview reports warnings and refusals; one refusal fails the whole, after
// all of them were reported.
func preview(i *injector.Injector, objects [][]byte, errOut io.Writer) ([]workload.Preview, error) {
	previews := make([]workload.Preview, 0, len(objects))
	var count struct{ refused, asked, unseen int }
	for _, raw := range objects {
		p, err := workload.Inject(i, raw)
		if err != nil {
			return nil, err
		}
		previews = append(previews, p)
		refused, asked := report(&p, errOut)
		if refused {
			count.refused++
		}
		if asked {
			count.asked++
		}
		if p.Unseen {
			count.unseen++
		}
	}
	switch {
	case count.refused > 0:
		return nil, fmt.Errorf("%d of %d objects would be refused", count.refused, len(objects))
	case count.asked > 0:
	case count.unseen > 0:
		_, _ = fmt.Fprintf(errOut, "note: no pod that could be found asks for a session; %d of %d objects were not looked at\n", count.unseen, len(objects))
	default:
		_, _ = fmt.Fprintf(errOut, "note: no pod here asks for a session; annotate pods with %sinject: \"true\"\n", injector.Prefix)
	}
	return previews, nil
}

// report prints what there is to say about one object.
func report(p *workload.Preview, errOut io.Writer) (refused, asked bool) {
	name := p.Kind + " " + p.Name
	for _, text := range p.Notes {
		_, _ = fmt.Fprintf(errOut, "warning: %s: %s\n", name, text)
	}
	for _, text := range p.Mistakes {
		refused = true
		_, _ = fmt.Fprintf(errOut, "refused: %s: %s\n", name, text)
	}
	for _, pod := range p.Pods {
		where := name
		if len(p.Pods) > 1 {
			where += " (" + pod.Path + ")"
		}
		for _, text := range pod.Decision.Warnings {
			_, _ = fmt.Fprintf(errOut, "warning: %s: %s\n", where, text)
		}
		switch {
		case pod.Decision.Result == injector.Skipped || pod.Decision.Result == "":
		case !pod.Decision.Allowed():
			refused = true
			_, _ = fmt.Fprintf(errOut, "refused: %s: %s\n", where, pod.Decision.Message())
		default:
			asked = true
		}
	}
	return refused, asked
}

type printer func(io.Writer, []workload.Preview) error

func (f *injectFlags) printer() (printer, error) {
	switch f.output {
	case "yaml":
		return printYAML, nil
	case "json":
		return printJSON, nil
	case "patch":
		return printPatches, nil
	case "diff":
		return printDiffs, nil
	}
	return nil, fmt.Errorf("--output: %q is not known; use yaml, json, patch or diff", f.output)
}

func printYAML(out io.Writer, previews []workload.Preview) error {
	for n, p := range previews {
		text, err := workload.YAML(p.After)
		if err != nil {
			return fmt.Errorf("%s %s: %w", p.Kind, p.Name, err)
		}
		if n > 0 {
			text = append([]byte("---\n"), text...)
		}
		if _, err := out.Write(text); err != nil {
			return err
		}
	}
	return nil
}

// printJSON writes one object as it is and several as a List.
func printJSON(out io.Writer, previews []workload.Preview) error {
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	if len(previews) == 1 {
		return encoder.Encode(json.RawMessage(previews[0].After))
	}
	items := make([]json.RawMessage, len(previews))
	for n, p := range previews {
		items[n] = p.After
	}
	return encoder.Encode(map[string]any{"apiVersion": "v1", "kind": "List", "items": items})
}

// printPatches writes one JSON Patch a line, for each object that changes.
func printPatches(out io.Writer, previews []workload.Preview) error {
	for _, p := range previews {
		if p.Patch == nil {
			continue
		}
		if _, err := fmt.Fprintf(out, "%s\n", p.Patch); err != nil {
			return err
		}
	}
	return nil
}

func printDiffs(out io.Writer, previews []workload.Preview) error {
	for _, p := range previews {
		before, err := workload.YAML(p.Before)
		after, err2 := workload.YAML(p.After)
		if err := errors.Join(err, err2); err != nil {
			return fmt.Errorf("%s %s: %w", p.Kind, p.Name, err)
		}
		name := p.Kind + "/" + p.Name
		if _, err := out.Write(diff.Diff(name, before, name+" with a session", after)); err != nil {
			return err
		}
	}
	return nil
}
