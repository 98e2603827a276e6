package images

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"github.com/gatepass/gatepass/agent/config"
)

// registry is where the product's images are to be published.
const registry = "ghcr.io/gatepass/"

// AgentMode is the mode of the agent's program, which its user can run and not
// read. The kernel lets nobody of that user look into a process from the moment
// that it runs such a program (would_dump in its fs/exec.c); one that says so
// itself, by PR_SET_DUMPABLE, can be looked into until it does.
const AgentMode = fs.FileMode(0o111)

// Product describes the product's images. They are named as the manifests of
// the checkout root name them; version is what their programs say.
func Product(root, version string) ([]Image, error) {
	tag, err := manifestsTag(root)
	if err != nil {
		return nil, fmt.Errorf("name the images: %w", err)
	}
	var images []Image
	for _, i := range []struct {
		name, title, command, path string
		mode                       fs.FileMode
	}{
		{"webhook", "Gatepass webhook", "gatepass-webhook", "/gatepass-webhook", 0},
		{"gateway", "Gatepass gateway", "gatepass-gateway", "/gatepass-gateway", 0},
		{"agent", "Gatepass agent", "gatepass-agent", config.AgentPath, AgentMode},
		{"cli", "Gatepass command line", "gatepass", "/gatepass", 0},
	} {
		images = append(images, Image{
			Name: i.name, Ref: registry + i.name + ":" + tag, Title: i.title, Version: version,
			Files:      []File{{Path: i.path, Mode: i.mode, Program: Program{Package: "./cmd/" + i.command}}},
			Entrypoint: []string{i.path},
		})
	}
	return images, nil
}

// Pause describes the image of the process that holds a pod's namespaces.
func Pause() Image {
	return Image{
		Name: "pause", Ref: "gatepass.test/pause:v1", Title: "Pause", Version: "v1",
		Files:      []File{{Path: "/pause", Program: Program{Module: "test", Package: "./images/pause"}}},
		Entrypoint: []string{"/pause"},
	}
}

// manifestsTag is the one tag of all our images in the manifests.
func manifestsTag(root string) (string, error) {
	ours := regexp.MustCompile(`image: ` + regexp.QuoteMeta(registry) + `[a-z]+:(\S+)`)
	manifests := os.DirFS(filepath.Join(root, "manifests"))
	tag := ""
	err := fs.WalkDir(manifests, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := fs.ReadFile(manifests, path)
		if err != nil {
			return err
		}
		for _, m := range ours.FindAllSubmatch(content, -1) {
			if found := string(m[1]); tag != "" && found != tag {
				return fmt.Errorf("manifests/%s has an image of version %s, another manifest one of %s; change them together", path, found, tag)
			}
			tag = string(m[1])
		}
		return nil
	})
	if err == nil && tag == "" {
		err = errors.New("no image of " + registry + " is in " + filepath.Join(root, "manifests"))
	}
	return tag, err
}
