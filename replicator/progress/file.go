package progress

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// The files a pipeline keeps in its state folder, for people and for `rowferry status` while no daemon runs.
const (
	StatusFile = "status.json" // a Report of one pipeline
	HaltFile   = "halt.json"   // the last Halt
)

// Write puts v as JSON into dir/file: whole, or not at all. The file is private.
func Write(dir, file string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding %s: %w", file, err)
	}
	path := filepath.Join(dir, file)
	temporary := path + ".new"
	if err := os.WriteFile(temporary, append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("writing %s: %w", file, err)
	}
	if err := os.Rename(temporary, path); err != nil {
		return fmt.Errorf("replacing %s: %w", file, err)
	}
	return nil
}

// Read is the last status a pipeline wrote into its state folder; ok is false when it never did. The halt comes
// along when the pipeline is halted.
func Read(dir string) (r Report, ok bool, err error) {
	if ok, err = readFile(dir, StatusFile, &r); err != nil || !ok {
		return Report{}, false, err
	}
	return r, true, nil
}

// ReadHalt is the last halt a pipeline wrote, nil when it never halted.
func ReadHalt(dir string) (*Halt, error) {
	var h Halt
	if ok, err := readFile(dir, HaltFile, &h); err != nil || !ok {
		return nil, err
	}
	return &h, nil
}

func readFile(dir, file string, v any) (bool, error) {
	text, err := os.ReadFile(filepath.Join(dir, file))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading %s: %w", file, err)
	}
	if err := json.Unmarshal(text, v); err != nil {
		return false, fmt.Errorf("decoding %s: %w", file, err)
	}
	return true, nil
}
