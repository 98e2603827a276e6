package injector

import "slices"

// The labels of a node that tell its operating system
// (k8s.io/api/core/v1, LabelOSStable, and the one of before Kubernetes 1.14);
// the last is on Windows nodes only.
const (
	labelOS           = "kubernetes.io/os"
	labelOSBeta       = "beta.kubernetes.io/os"
	labelWindowsBuild = "node.kubernetes.io/windows-build"
)

type affinityView struct {
	NodeAffinity *struct {
		Required *struct {
			Terms []nodeTermView `json:"nodeSelectorTerms"`
		} `json:"requiredDuringSchedulingIgnoredDuringExecution"`
	} `json:"nodeAffinity"`
}

type nodeTermView struct {
	Expressions []struct {
		Key      string   `json:"key"`
		Operator string   `json:"operator"`
		Values   []string `json:"values"`
	} `json:"matchExpressions"`
}

// windows reports whether the pod can run on Windows nodes only, as far as it
// says: by its os, node selector or required node affinity. Options for Windows
// tell it too, unless the pod says Linux: charts for both systems set them on
// every pod, and Linux ignores them.
func (p *podView) windows() bool {
	selector := p.Spec.NodeSelector
	_, build := selector[labelWindowsBuild]
	switch {
	case p.Spec.OS != nil && p.Spec.OS.Name == "windows",
		selector[labelOS] == "windows", selector[labelOSBeta] == "windows", build:
		return true
	case p.Spec.OS != nil && p.Spec.OS.Name == "linux",
		selector[labelOS] == "linux", selector[labelOSBeta] == "linux":
		return false
	}
	terms := p.nodeTerms()
	if len(terms) > 0 {
		// Terms are alternatives: one for other systems is enough.
		return !slices.ContainsFunc(terms, func(t nodeTermView) bool { return !t.windows() })
	}
	return p.Spec.SecurityContext.forWindows() ||
		slices.ContainsFunc(p.applications(), func(c container) bool { return c.SecurityContext.forWindows() })
}

func (p *podView) nodeTerms() []nodeTermView {
	a := p.Spec.Affinity
	if a == nil || a.NodeAffinity == nil || a.NodeAffinity.Required == nil {
		return nil
	}
	return a.NodeAffinity.Required.Terms
}

// windows reports whether the term, whose expressions must all hold, asks for
// Windows.
func (t *nodeTermView) windows() bool {
	for _, e := range t.Expressions {
		switch {
		case e.Key == labelWindowsBuild && (e.Operator == "In" || e.Operator == "Exists"):
			return true
		case e.Key != labelOS && e.Key != labelOSBeta:
		case e.Operator == "In" && len(e.Values) > 0 && !slices.ContainsFunc(e.Values, func(v string) bool { return v != "windows" }),
			e.Operator == "NotIn" && slices.Contains(e.Values, "linux"):
			return true
		}
	}
	return false
}

// forWindows reports whether there are options for Windows. An empty object is
// what templates leave.
func (s *securityView) forWindows() bool { return s != nil && hasContent(s.WindowsOptions) }
