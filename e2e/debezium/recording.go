package debezium

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Record is one record of a topic.
type Record struct {
	Topic   string            `json:"topic"`
	Offset  int64             `json:"offset"`
	Key     json.RawMessage   `json:"key"`
	Value   json.RawMessage   `json:"value"`
	Headers map[string]string `json:"headers,omitempty"`
}

// Recording is one, or one that is to be made.
type Recording struct {
	Name   string
	Config map[string]string // of the connector, beyond addresses
	Script Script
	file   string
}

// Script is the SQL of a recording, in sessions of psql: each statement is a transaction of its own unless it says otherwise.
type Script struct {
	Name   string
	Before []string // run before the connector begins
	After  []string // run while it streams
}

// stream is the line between the two.
const stream = "\n-- stream\n"

// ReadScript reads a script that holds both parts.
func ReadScript(file string) (Script, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return Script{}, fmt.Errorf("reading a script: %w", err)
	}
	before, after, found := strings.Cut("\n"+string(text), stream)
	if !found {
		before, after = "", string(text)
	}
	return Script{Name: strings.TrimSuffix(filepath.Base(file), ".sql"), Before: []string{before}, After: []string{after}}, nil
}

// configSuffix is what the name of a configuration ends with.
const configSuffix = ".config.json"

// ReadConfig reads the configuration of a connector.
func ReadConfig(file string) (map[string]string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading a configuration: %w", err)
	}
	var config map[string]string
	if err := json.Unmarshal(text, &config); err != nil {
		return nil, fmt.Errorf("reading %s: %w", file, err)
	}
	return config, nil
}

// Find lists the recordings of a folder, none when there is no such folder.
func Find(folder string) ([]*Recording, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*"+configSuffix))
	if err != nil {
		return nil, fmt.Errorf("looking for recordings: %w", err)
	}
	var found []*Recording
	scripts := map[string]Script{}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), configSuffix)
		r := &Recording{Name: name, file: filepath.Join(folder, name+".jsonl.gz")}
		if r.Config, err = ReadConfig(file); err != nil {
			return nil, err
		}
		script, _, own := strings.Cut(name, ".")
		if _, read := scripts[script]; own && !read {
			if scripts[script], err = ReadScript(filepath.Join(folder, script+".sql")); err != nil {
				return nil, err
			}
		}
		if r.Script = scripts[script]; !own {
			if r.Script, err = sharedScript(folder); err != nil {
				return nil, err
			}
		}
		found = append(found, r)
	}
	return found, nil
}

// sharedScript is that of recordings whose names have no script's.
func sharedScript(folder string) (Script, error) {
	s := Script{Name: "shared"}
	for _, part := range []struct {
		end  string
		into *[]string
	}{{"_ddl.sql", &s.Before}, {"_changes.sql", &s.After}} {
		for _, of := range []string{"types", "ops"} {
			text, err := os.ReadFile(filepath.Join(folder, of+part.end))
			if err != nil {
				return s, fmt.Errorf("reading a script: %w", err)
			}
			*part.into = append(*part.into, string(text))
		}
	}
	return s, nil
}

// Records reads what was recorded.
func (r *Recording) Records() ([]Record, error) {
	f, err := os.Open(r.file)
	if err != nil {
		return nil, fmt.Errorf("opening a recording: %w", err)
	}
	defer f.Close()
	unpacked, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", r.file, err)
	}
	lines := bufio.NewScanner(unpacked)
	lines.Buffer(nil, 1<<26)
	var out []Record
	for lines.Scan() {
		var one Record
		if err := json.Unmarshal(lines.Bytes(), &one); err != nil {
			return nil, fmt.Errorf("reading %s: %w", r.file, err)
		}
		out = append(out, one)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("reading %s: %w", r.file, err)
	}
	return out, nil
}

// Save makes a recording of what Debezium wrote: configuration and records.
func (p *Played) Save(folder string) error {
	config := maps.Clone(p.Config)
	config["topic.prefix"] = p.prefix
	text, err := json.MarshalIndent(config, "", " ")
	if err != nil {
		return fmt.Errorf("writing the configuration: %w", err)
	}
	if err := os.WriteFile(filepath.Join(folder, p.Name+configSuffix), append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("writing the configuration: %w", err)
	}
	f, err := os.Create(filepath.Join(folder, p.Name+".jsonl.gz"))
	if err != nil {
		return fmt.Errorf("writing the recording: %w", err)
	}
	packed, err := gzip.NewWriterLevel(f, gzip.BestCompression)
	if err == nil {
		err = errors.Join(Write(packed, p.Theirs), packed.Close())
	}
	return errors.Join(err, f.Close())
}

// Write writes records, one a line.
func Write(to io.Writer, records []Record) error {
	lines := json.NewEncoder(to)
	lines.SetEscapeHTML(false)
	for _, r := range records {
		if err := lines.Encode(r); err != nil {
			return fmt.Errorf("writing records: %w", err)
		}
	}
	return nil
}

// everythingBefore tells whether the connector reads existing rows and ends.
func (r *Recording) everythingBefore() bool { return r.Config["snapshot.mode"] == "initial_only" }

// Groups are recordings that can be played together: of one script, that begins at one time.
func Groups(all []*Recording) [][]*Recording {
	var groups [][]*Recording
	for _, r := range all {
		i := slices.IndexFunc(groups, func(g []*Recording) bool {
			return g[0].Script.Name == r.Script.Name && g[0].everythingBefore() == r.everythingBefore()
		})
		if i < 0 {
			groups = append(groups, []*Recording{r})
			continue
		}
		groups[i] = append(groups[i], r)
	}
	return groups
}
