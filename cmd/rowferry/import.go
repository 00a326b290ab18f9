package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/rowferry/rowferry/cmd/rowferry/debezium"
	"github.com/rowferry/rowferry/replicator/config"
)

// imported is what `config import --json` prints.
type imported struct {
	Pipeline string          `json:"pipeline"`
	YAML     string          `json:"yaml"`
	Notes    []debezium.Note `json:"not_carried_over"`
	Problems config.Problems `json:"problems,omitempty"`
}

// importLimit bounds a file to import.
const importLimit = 4 << 20

func (a *app) importCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "import", Short: "turn another program's configuration into one of Rowferry's", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var o debezium.Options
	from := &cobra.Command{
		Use: "debezium FILE", Short: "from a Postgres connector of Debezium, in Kafka Connect or Debezium Server",
		Long: "Read the JSON of a connector (what was sent to POST /connectors, or its config alone), or the properties of Debezium Server\n" +
			"or of Connect, and print a configuration that writes the same records into the same topics. - is standard input. Every\n" +
			"setting that could not be carried over is named on standard error, with what to do, and at the end of the file. Secrets\n" +
			"become references to environment variables. Nothing is connected.",
		Example: "  rowferry config import debezium connector.json --brokers kafka1:9092 > rowferry.yaml\n" +
			"  curl -s http://connect:8083/connectors/shop | rowferry config import debezium - > rowferry.yaml",
		Args: cobra.ExactArgs(1), RunE: func(_ *cobra.Command, args []string) error { return a.importDebezium(args[0], o) },
	}
	from.Flags().StringVar(&o.Brokers, "brokers", "", "the target's `HOST:PORT,…`, which are no part of a connector in Connect")
	from.Flags().StringVar(&o.Pipeline, "pipeline", "", "the pipeline's `NAME`; one like topic.prefix when empty")
	cmd.AddCommand(from)
	return cmd
}

// importDebezium prints what a connector's configuration is here.
func (a *app) importDebezium(path string, o debezium.Options) error {
	text, err := a.readImport(path)
	if err != nil {
		return exitWith(exitUsage, err)
	}
	o.File = path
	if path == "-" {
		o.File = "standard input"
	}
	made, err := debezium.From(text, o)
	if err != nil {
		return exitWith(exitUsage, err)
	}
	problems := checkImport(made.YAML)
	var found error
	if n := problems.Errors(); n > 0 {
		found = exitWith(exitFound, fmt.Errorf("what was written has %s, see above: correct it", plural(n, "error")))
	}
	if a.json {
		if made.Notes == nil {
			made.Notes = []debezium.Note{}
		}
		return errors.Join(found, a.printJSON(imported{made.Pipeline, made.YAML, made.Notes, problems}))
	}
	a.print("%s", made.YAML)
	for _, n := range made.Notes {
		a.say("%s: %s\n", n.Setting, n.Text)
	}
	for i := range problems {
		problems[i].Print(a.err)
	}
	if found != nil {
		return found
	}
	if made.Slot == "" {
		a.say("Next: rowferry config check · rowferry check · stop the connector · rowferry run\n")
		return nil
	}
	a.say("Next: rowferry config check · stop the connector · rowferry adopt %s --slot %s · rowferry run\n", made.Pipeline, made.Slot)
	return nil
}

// checkImport looks at what was written as `config check` will: a value that no setting takes was carried over all the same.
func checkImport(text string) config.Problems {
	_, problems := config.Parse("rowferry.yaml", []byte(text), allConnectors().kinds(), config.Lookup{
		Getenv:   func(string) (string, bool) { return "1", true }, // where they are used, the variables are set
		ReadFile: func(string) ([]byte, error) { return []byte("1"), nil },
	})
	return problems
}

// readImport reads a file, or standard input, that is not too big to be a connector's configuration.
func (a *app) readImport(path string) ([]byte, error) {
	from := a.in
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", path, errors.Unwrap(err))
		}
		defer file.Close()
		from = file
	}
	text, err := io.ReadAll(io.LimitReader(from, importLimit+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	if len(text) > importLimit {
		return nil, fmt.Errorf("reading %s: it is bigger than 4 MiB, which no connector's configuration is", path)
	}
	return text, nil
}
