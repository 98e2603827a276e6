package injector_test

import (
	"os"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/injector"
	"github.com/gatepass/gatepass/injector/profile"
)

func TestImagesAreTakenFromListedMirrorsOnly(t *testing.T) {
	file := minimal + `imageMirrors:
- {from: ghcr.io, to: mirror.example.com/ghcr}
- {from: ghcr.io/gatepass, to: "mirror.example.com:5000"}
- {from: ghcr.io/gatepass/agent, to: mirror.example.com/ghcr.io_gatepass_agent}
`
	i := injector.New(parse(t, file))
	for image, allowed := range map[string]bool{
		"ghcr.io/gatepass/agent:v0.1.0":                                   true,
		"mirror.example.com/ghcr/gatepass/agent:v0.1.0":                   true,
		"mirror.example.com/ghcr/gatepass/agent:v0.1.0@" + digest:         true,
		"mirror.example.com/ghcr/gatepass/agent@" + digest:                true,
		"mirror.example.com:5000/agent:v0.1.0":                            true,
		"mirror.example.com/ghcr.io_gatepass_agent:v0.1.0":                true,
		"mirror.example.com/ghcr/gatepass/agent:v0.1.1":                   false,
		"mirror.example.com/ghcr/gatepass/agent":                          false,
		"mirror.example.com/ghcr/evil/agent:v0.1.0":                       false,
		"mirror.example.com/gatepass/agent:v0.1.0":                        false,
		"mirror.example.com/agent:v0.1.0":                                 false,
		"mirror.example.com.evil.example/ghcr/gatepass/agent:v0.1.0":      false,
		"evil.example.com/mirror.example.com/ghcr/gatepass/agent:v0.1.0":  false,
		"mirror.example.com/ghcr.io_gatepass_agentx:v0.1.0":               false,
		"mirror.example.com/ghcr/gatepass/agent:v0.1.0@sha256:0123456789": false,
	} {
		t.Run(image, func(t *testing.T) {
			raw := podYAML(t, annotated(), "")
			p := injectedFrom(t, apply(t, raw, i.Decide(raw).Patch))
			p.agent["image"] = image
			if d := i.Decide(p.json(t)); d.Allowed() != allowed {
				t.Errorf("the pod is %s: %s", d.Result, d.Message())
			} else if !allowed && !strings.Contains(d.Message(), "list the mirror under imageMirrors in Gatepass' configuration") {
				t.Errorf("the refusal does not name the way out: %s", d.Message())
			}
		})
	}
}

// An administrator who gives a digest means it.
func TestAProfilesDigestStays(t *testing.T) {
	i := injector.New(parse(t, strings.Replace(minimal, "agent:v0.1.0", "agent:v0.1.0@"+digest, 1)))
	for image, allowed := range map[string]bool{
		"ghcr.io/gatepass/agent@" + digest:                                            true,
		"ghcr.io/gatepass/agent:v0.1.0@" + digest:                                     true,
		"ghcr.io/gatepass/agent:v0.1.0":                                               false,
		"ghcr.io/gatepass/agent:v0.0.1@" + digest:                                     false,
		"ghcr.io/gatepass/agent:v0.1.0@" + strings.Replace(digest, "0123", "ffff", 1): false,
	} {
		raw := podYAML(t, annotated(), "")
		p := injectedFrom(t, apply(t, raw, i.Decide(raw).Patch))
		p.agent["image"] = image
		if d := i.Decide(p.json(t)); d.Allowed() != allowed {
			t.Errorf("%s: the pod is %s: %s", image, d.Result, d.Message())
		}
	}
}

// The words for mirrors are held against the file that has them.
func TestMirrorsAreReadStrictly(t *testing.T) {
	for entry, says := range map[string]string{
		`{from: ghcr.io/gatepass, to: mirror.example.com}`:                                 "",
		`{from: "localhost:5000", to: "10.0.0.1:5000/a/b"}`:                                "",
		`{to: mirror.example.com}`:                                                         `imageMirrors[0].from: Invalid value: "": must be a registry`,
		`{from: ghcr.io}`:                                                                  `imageMirrors[0].to: Invalid value: "": must be a registry`,
		`{from: gatepass/agent, to: mirror.example.com}`:                                   `imageMirrors[0].from: Invalid value: "gatepass/agent": must be a registry`,
		`{from: "ghcr.io/gatepass/agent:v1", to: mirror.example.com}`:                      `imageMirrors[0].from: Invalid value`,
		`{from: ghcr.io, to: "mirror.example.com/agent@` + digest + `"}`:                   `imageMirrors[0].to: Invalid value`,
		`{from: ghcr.io/, to: mirror.example.com}`:                                         `imageMirrors[0].from: Invalid value: "ghcr.io/"`,
		`{from: ghcr.io, to: "https://mirror.example.com"}`:                                `imageMirrors[0].to: Invalid value: "https://mirror.example.com"`,
		`{from: ghcr.io, to: "*"}`:                                                         `imageMirrors[0].to: Invalid value: "*"`,
		`{from: ghcr.io, to: ghcr.io}`:                                                     `imageMirrors[0].to: Invalid value: "ghcr.io": is the same as from`,
		`{from: ghcr.io, to: mirror.example.com}, {from: ghcr.io, to: mirror.example.com}`: `imageMirrors[1]: Duplicate value: "ghcr.io"`,
		`{from: ghcr.io, too: mirror.example.com}`:                                         `unknown field "imageMirrors[0].too"`,
	} {
		_, err := profile.Parse([]byte(minimal+"imageMirrors: ["+entry+"]\n"), profile.Options{ReadFile: os.ReadFile, Overridable: injector.Overridable()})
		if says == "" && err != nil || says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
			t.Errorf("%s: want %q, got %v", entry, says, err)
		}
	}
}
