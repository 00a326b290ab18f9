package null

import (
	"fmt"
	"time"

	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/schema/setting"
	"github.com/rowferry/rowferry/sinks"
	"github.com/rowferry/rowferry/sinks/fileledger"
)

// Config is the target that keeps only sums.
type Config struct {
	// URL is null:.
	URL string `yaml:"url"`
	// Format is what is made of every change before it is thrown away: hash only decodes and sums, json encodes it
	// as the file target would, too.
	Format string `yaml:"format" default:"hash"`
	// Batch bounds what is noted in the ledger at once.
	Batch Batch `yaml:"batch"`
}

// Batch bounds what is noted in the ledger at once.
type Batch struct {
	// MaxRows is the most changes of whole transactions in one commit. 0 for any number.
	MaxRows int `yaml:"max_rows" default:"0"`
	// MaxBytes is the most bytes of changes in one commit.
	MaxBytes setting.Size `yaml:"max_bytes" default:"16MiB"`
	// MaxWait is how long a commit may wait for more changes. 0s commits as soon as the last commit is done.
	MaxWait setting.Duration `yaml:"max_wait" default:"0s"`
}

// Validate lists what is wrong.
func (c Config) Validate() []error {
	var errs []error
	if c.Format != "" && c.Format != "hash" && c.Format != "json" {
		errs = append(errs, fmt.Errorf("format: %q is neither hash nor json", c.Format))
	}
	if c.Batch.MaxRows < 0 {
		errs = append(errs, fmt.Errorf("batch.max_rows: %d is below 0", c.Batch.MaxRows))
	}
	return errs
}

// limits is what a writer with these settings takes.
func (c Config) limits() sinks.Limits {
	return sinks.Limits{
		Rows: c.Batch.MaxRows, Bytes: int(c.Batch.MaxBytes), Age: time.Duration(c.Batch.MaxWait),
		Lanes: 1, CopyLanes: 4, Stage: true,
	}
}

// Codes documents the faults of the null target.
var Codes = append([]fault.Code{
	{
		Name:     "target.value_not_of_its_kind",
		Title:    "A value is not what its column's type says",
		Meaning:  "A number, date or truth value could not be read as one. The source sent it so, or Rowferry mixed columns up.",
		DataLost: "No. The group was not counted.",
		Remedy:   "report it, with the column's type",
	},
}, fileledger.Codes...)
