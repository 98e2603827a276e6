package profile

import (
	"slices"

	"github.com/gatepass/gatepass/agent/config"
)

// Set is the profiles of a valid file, by name. It is never changed after
// Parse, so it may be read by any number of goroutines.
type Set struct {
	profiles map[string]*Resolved
	names    []string
}

// Get returns the named profile, or nil.
func (s *Set) Get(name string) *Resolved { return s.profiles[name] }

// Names lists the profiles' names, sorted.
func (s *Set) Names() []string { return slices.Clone(s.names) }

// Resolved is a profile with its defaults filled in and its files read.
type Resolved struct {
	Name string
	// Agent is the configuration that the profile's agents start from.
	Agent config.Config

	Image           string
	ImageMirrors    []ImageMirror
	ImagePullPolicy string
	// ImagePullSecrets are names, in the profile's order.
	ImagePullSecrets []string
	Resources        Resources
	RunAsUser        *int64
	RunAsGroup       *int64

	Audience          string
	ExpirationSeconds int64

	// ExcludeContainers are the containers that get no session unless a pod
	// lists them.
	ExcludeContainers map[string]bool

	overrides map[string]bool
}

// MayOverride reports whether a pod may set the annotation of that name
// (without the prefix).
func (r *Resolved) MayOverride(name string) bool { return r.overrides[name] }

// Overrides lists what a pod may set, sorted.
func (r *Resolved) Overrides() []string {
	names := make([]string, 0, len(r.overrides))
	for name := range r.overrides {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
