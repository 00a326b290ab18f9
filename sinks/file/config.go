package file

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/rowferry/rowferry/schema/setting"
	"github.com/rowferry/rowferry/sinks"
)

// Config is a file target.
type Config struct {
	// URL names the file, as file:/path/events.jsonl. Its folder has to exist.
	URL string `yaml:"url"`
	// Existing says what happens when the file holds something but no ledger stands beside it: refuse to start, or
	// append behind what is there.
	Existing string `yaml:"existing" default:"refuse"`
	// Rotate begins a new file by size or age. Without it there is one file for ever.
	Rotate Rotate `yaml:"rotate"`
	// Batch bounds what becomes durable at once.
	Batch Batch `yaml:"batch"`
}

// Rotate says when a new file is begun. Both may be set; either is enough.
type Rotate struct {
	// Size is the length from which on a file is given its number and a new one begun, between two commits. 0 for
	// no limit.
	Size setting.Size `yaml:"size" default:"0"`
	// Age is how long after its first line a file is given its number and a new one begun, at the next commit. 0
	// for no limit.
	Age setting.Duration `yaml:"age" default:"0s"`
}

// Batch bounds what becomes durable at once.
type Batch struct {
	// MaxRows is the most changes of whole transactions in one commit. 0 for any number.
	MaxRows int `yaml:"max_rows" default:"0"`
	// MaxBytes is the most bytes of changes in one commit.
	MaxBytes setting.Size `yaml:"max_bytes" default:"16MiB"`
	// MaxWait is how long a commit may wait for more changes. 0s commits as soon as the last commit is done.
	MaxWait setting.Duration `yaml:"max_wait" default:"0s"`
}

// StdoutConfig is standard output as a target.
type StdoutConfig struct {
	// URL is stdout:.
	URL string `yaml:"url"`
	// Batch bounds what is written between two entries in the ledger.
	Batch Batch `yaml:"batch"`
}

// Validate lists what is wrong.
func (c Config) Validate() []error {
	var errs []error
	if _, err := pathOf(c.URL); err != nil {
		errs = append(errs, err)
	}
	if c.Existing != "" && c.Existing != "refuse" && c.Existing != "append" {
		errs = append(errs, fmt.Errorf("existing: %q is neither refuse nor append", c.Existing))
	}
	return append(errs, c.Batch.Validate()...)
}

// Validate lists what is wrong.
func (c StdoutConfig) Validate() []error { return c.Batch.Validate() }

// Validate lists what is wrong.
func (b Batch) Validate() []error {
	if b.MaxRows < 0 {
		return []error{fmt.Errorf("batch.max_rows: %d is below 0", b.MaxRows)}
	}
	return nil
}

// limits is what a writer with these settings takes. There is one file and one end of it, so one lane.
func (b Batch) limits() sinks.Limits {
	return sinks.Limits{
		Rows: b.MaxRows, Bytes: int(b.MaxBytes), Age: time.Duration(b.MaxWait), Lanes: 1, CopyLanes: 1, Stage: true,
	}
}

// Claims names the file, which only one pipeline may write.
func (c Config) Claims() []string {
	path, err := pathOf(c.URL)
	if err != nil {
		return nil // Validate says so
	}
	return []string{"the file " + path}
}

// pathOf is the absolute path a URL names: file:/path, file:///path, or file:path below the working folder.
func pathOf(url string) (string, error) {
	path, ok := strings.CutPrefix(url, "file:")
	if !ok {
		return "", fmt.Errorf("url: %q is no file:PATH", url)
	}
	if rest, slashes := strings.CutPrefix(path, "//"); slashes {
		if !strings.HasPrefix(rest, "/") {
			return "", errors.New("url: write file:/path or file:///path; a file on another host cannot be written")
		}
		path = rest
	}
	if path == "" || strings.HasSuffix(path, "/") || strings.ContainsRune(path, 0) {
		return "", fmt.Errorf("url: %q names no file", url)
	}
	return filepath.Abs(path)
}
