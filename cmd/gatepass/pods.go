package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"github.com/gatepass/gatepass/injector"
)

type podsFlags struct {
	file   string
	asJSON bool
	fail   bool
}

func newPodsCommand() *cobra.Command {
	var f podsFlags
	cmd := &cobra.Command{
		Use:   "pods -f FILE",
		Short: "List the pods that ask for a session and have no agent",
		Long: `pods reads what kubectl get pods -o json prints, and lists the pods that ask for a
session (gatepass.dev/inject: "true") and have no agent: those that were made
before Gatepass was installed, or annotated while they ran. Create them again to
give them one. Pods that have ended are left out.

It needs no access to the cluster, and no more memory for a long list than for
its largest pod and the lines that it prints.`,
		Example: `  kubectl get pods --all-namespaces -o json | gatepass pods -f -
  kubectl get pods --all-namespaces -o json | gatepass pods -f - --fail > /dev/null`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVarP(&f.file, "filename", "f", "", "file with the pods as JSON; - for standard input")
	cmd.Flags().BoolVar(&f.asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&f.fail, "fail", false, "exit with code 1 if there are any")
	return cmd
}

func (f *podsFlags) run(in io.Reader, out io.Writer) error {
	if f.file == "" {
		return usageError{errors.New("no pods are given; use -f FILE, or -f - for standard input")}
	}
	if f.file != standardInput {
		file, err := os.Open(f.file)
		if err != nil {
			return fmt.Errorf("--filename: %w", err)
		}
		defer file.Close() //nolint:errcheck // only read from
		in = file
	}
	survey, err := surveyPods(in)
	if err != nil {
		return fmt.Errorf("--filename: %w", err)
	}
	if err := survey.print(out, f.asJSON); err != nil {
		return err
	}
	if n := len(survey.WithoutAgent); f.fail && n > 0 {
		return fmt.Errorf("%d pods ask for a session and have no agent", n)
	}
	return nil
}

// podSurvey is what pods prints.
type podSurvey struct {
	// Pods that have not ended, and how many of them ask for a session.
	Pods   int `json:"pods"`
	Asking int `json:"asking"`
	// WithoutAgent are those that ask and have none.
	WithoutAgent []podWithoutAgent `json:"withoutAgent"`
}

type podWithoutAgent struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Created   string `json:"created"`
	Reason    string `json:"reason"`
}

func (s *podSurvey) print(out io.Writer, asJSON bool) error {
	if asJSON {
		return printJSONValue(out, s)
	}
	if len(s.WithoutAgent) > 0 {
		rows := make([][]string, 0, len(s.WithoutAgent))
		for _, p := range s.WithoutAgent {
			rows = append(rows, []string{p.Namespace, p.Name, p.Created, p.Reason})
		}
		if err := table(out, []string{"NAMESPACE", "NAME", "CREATED", "REASON"}, rows); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(out, "%d of %d pods ask for a session; %d of them have no agent.\n", s.Asking, s.Pods, len(s.WithoutAgent))
	return err
}

// surveyPods reads a list of pods, one pod after the other, or single pods.
func surveyPods(in io.Reader) (*podSurvey, error) {
	survey := &podSurvey{WithoutAgent: []podWithoutAgent{}}
	decoder := jsontext.NewDecoder(in, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	for documents := 0; ; documents++ {
		switch kind := decoder.PeekKind(); {
		case kind == '{':
			if err := survey.readObject(decoder); err != nil {
				return nil, err
			}
		case kind != 0:
			return nil, fmt.Errorf("there is no JSON object but a %s; use the output of kubectl get pods -o json", kind)
		default:
			if _, err := decoder.ReadToken(); !errors.Is(err, io.EOF) {
				return nil, notJSON(err)
			}
			if documents == 0 {
				return nil, errors.New("it is empty; use the output of kubectl get pods -o json")
			}
			return survey, nil
		}
	}
}

// notJSON leaves out the library's text, which may quote a value.
func notJSON(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("it ends in the middle of an object; use the whole output of kubectl get pods -o json")
	}
	if syntax, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		return fmt.Errorf("it is not JSON at byte %d; use the output of kubectl get pods -o json", syntax.ByteOffset)
	}
	return err
}

// readObject reads a list, item by item, or a pod.
func (s *podSurvey) readObject(decoder *jsontext.Decoder) error {
	if _, err := decoder.ReadToken(); err != nil {
		return notJSON(err)
	}
	pod, list := podObject{}, false
	for decoder.PeekKind() == '"' {
		name, err := decoder.ReadToken()
		if err != nil {
			return notJSON(err)
		}
		field := name.String()
		list = list || field == "items"
		if field == "items" && decoder.PeekKind() == '[' {
			err = s.readItems(decoder)
		} else {
			err = pod.readField(decoder, field)
		}
		if err != nil {
			return err
		}
	}
	if _, err := decoder.ReadToken(); err != nil {
		return notJSON(err)
	}
	switch {
	case list:
		return nil
	case pod.Kind != podKind:
		return fmt.Errorf("there is a %q, which is neither a Pod nor a list; use the output of kubectl get pods -o json", cell(pod.Kind))
	}
	s.add(&pod)
	return nil
}

// readField reads one field of an object that may turn out to be a pod.
func (p *podObject) readField(decoder *jsontext.Decoder, name string) error {
	targets := map[string]any{"kind": &p.Kind, "metadata": &p.Metadata, "spec": &p.Spec, "status": &p.Status}
	target, known := targets[name]
	if !known {
		if err := decoder.SkipValue(); err != nil {
			return notJSON(err)
		}
		return nil
	}
	if err := json.UnmarshalDecode(decoder, target); err != nil {
		return fieldError(name, err)
	}
	return nil
}

func (s *podSurvey) readItems(decoder *jsontext.Decoder) error {
	if _, err := decoder.ReadToken(); err != nil {
		return notJSON(err)
	}
	for n := 0; decoder.PeekKind() == '{'; n++ {
		pod := podObject{}
		if err := json.UnmarshalDecode(decoder, &pod); err != nil {
			return fieldError(fmt.Sprintf("items[%d]", n), err)
		}
		// The API server leaves the kind out of a list's items; kubectl adds it.
		if pod.Kind != "" && pod.Kind != podKind {
			return fmt.Errorf("items[%d] is a %q and not a Pod; use the output of kubectl get pods -o json", n, cell(pod.Kind))
		}
		s.add(&pod)
	}
	if _, err := decoder.ReadToken(); err != nil {
		return notJSON(err)
	}
	return nil
}

func fieldError(name string, err error) error {
	if semantic, ok := errors.AsType[*json.SemanticError](err); ok {
		return fmt.Errorf("%s is not a pod's: there is a JSON %s at %s", cell(name), semantic.JSONKind, cell(string(semantic.JSONPointer)))
	}
	return notJSON(err)
}

const podKind = "Pod"

// podObject is a pod as far as pods looks at it.
type podObject struct {
	Kind     string `json:"kind"`
	Metadata struct {
		Namespace         string            `json:"namespace"`
		Name              string            `json:"name"`
		CreationTimestamp string            `json:"creationTimestamp"`
		Annotations       map[string]string `json:"annotations"`
		Labels            map[string]string `json:"labels"`
	} `json:"metadata"`
	Spec struct {
		InitContainers []struct {
			Name string `json:"name"`
		} `json:"initContainers"`
	} `json:"spec"`
	Status struct {
		Phase string `json:"phase"`
	} `json:"status"`
}

const (
	injectKey = injector.Prefix + "inject"
	statusKey = injector.Prefix + "status"
	// mirrorKey marks the API server's image of a kubelet's static pod
	// (k8s.io/api/core/v1, MirrorPodAnnotationKey).
	mirrorKey = "kubernetes.io/config.mirror"
)

// add counts a pod that has not ended.
func (s *podSurvey) add(pod *podObject) {
	if pod.Status.Phase == "Succeeded" || pod.Status.Phase == "Failed" {
		return
	}
	s.Pods++
	m := &pod.Metadata
	if m.Annotations[injectKey] != "true" && m.Labels[injectKey] != "true" {
		return
	}
	s.Asking++
	for _, c := range pod.Spec.InitContainers {
		if c.Name == injector.AgentContainer {
			return
		}
	}
	s.WithoutAgent = append(s.WithoutAgent, podWithoutAgent{m.Namespace, m.Name, m.CreationTimestamp, pod.reason()})
}

// reason says why the pod has no agent, as far as the pod tells.
func (p *podObject) reason() string {
	_, mirror := p.Metadata.Annotations[mirrorKey]
	_, status := p.Metadata.Annotations[statusKey]
	switch {
	case mirror:
		return "a static pod is run by its kubelet and gets none"
	case slices.Contains([]string{"kube-system", "gatepass-system"}, p.Metadata.Namespace):
		return "Gatepass adds none in this namespace"
	case status:
		return "the status was copied, or another webhook removed the agent"
	}
	return "the key was set before Gatepass was installed, or after the pod was created"
}
