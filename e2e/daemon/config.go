package daemon

import (
	"fmt"
	"os"
	"path/filepath"

	"go.yaml.in/yaml/v3"
)

// Settings are keys of the configuration, nested as there.
type Settings map[string]any

// Pipeline is one pipeline of a configuration.
type Pipeline struct {
	Name             string
	Source, Target   string   // URLs
	Include, Exclude []string // tables; nothing included means public.*
	InSource         Settings // further keys of the source
	InTarget         Settings // further keys of the target
	Snapshot         Settings
	Besides          Settings // further keys of the pipeline
	Transforms       []Settings
}

// WriteConfig writes the configuration of a daemon into its folder and returns the file's path. Start does so by itself.
func (o *Options) WriteConfig(listen string) (string, error) {
	pipelines := Settings{}
	for _, p := range o.Pipelines {
		include := p.Include
		if len(include) == 0 {
			include = []string{"public.*"}
		}
		source := Settings{"url": p.Source, "tables": Settings{"include": include, "exclude": p.Exclude}}
		for k, v := range p.InSource {
			source[k] = v
		}
		target := Settings{"url": p.Target}
		for k, v := range p.InTarget {
			target[k] = v
		}
		pipeline := Settings{"source": source, "target": target}
		if p.Snapshot != nil {
			pipeline["snapshot"] = p.Snapshot
		}
		if len(p.Transforms) > 0 {
			pipeline["transforms"] = p.Transforms
		}
		for k, v := range p.Besides {
			pipeline[k] = v
		}
		pipelines[p.Name] = pipeline
	}
	level := o.LogLevel
	if level == "" {
		level = "debug"
	}
	text, err := yaml.Marshal(Settings{
		"version": 1, "state": Settings{"path": filepath.Join(o.Folder, "state")}, "server": Settings{"listen": listen},
		"log": Settings{"level": level, "format": "json"}, "pipelines": pipelines,
	})
	if err != nil {
		return "", fmt.Errorf("writing the configuration: %w", err)
	}
	path := filepath.Join(o.Folder, "rowferry.yaml")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return "", fmt.Errorf("writing the configuration: %w", err)
	}
	return path, nil
}
