package debezium

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rowferry/rowferry/e2e/daemon"
)

// modes are settings of a connector that Rowferry has under format.debezium, with Debezium's default where it is not ours.
var modes = map[string]string{
	"decimal.handling.mode": "decimals", "time.precision.mode": "times", "binary.handling.mode": "binary",
	"interval.handling.mode": "intervals", "hstore.handling.mode": "hstore", "schema.name.adjustment.mode": "schema_names",
	"field.name.adjustment.mode": "field_names", "unavailable.value.placeholder": "placeholder",
	"money.fraction.digits": "money_digits", "include.unknown.datatypes": "unknown_types",
	"value.converter.schemas.enable": "schemas", "value.converter.replace.null.with.default": "null_as_default",
}

// operations are those of skipped.operations.
var operations = map[string]string{"c": "create", "u": "update", "d": "delete", "t": "truncate"}

// aside are settings that say nothing of the form of records, or what a key is to have as a value has it.
var aside = []string{
	"database.dbname", "topic.prefix", "plugin.name", "slot.name", "publication.name", "publication.autocreate.mode", "snapshot.mode",
	"key.converter", "value.converter", "key.converter.schemas.enable", "key.converter.replace.null.with.default", "poll.interval.ms",
	"skipped.operations", "tombstones.on.delete", "provide.transaction.metadata",
}

// settings are those of the pipeline that writes what the connector does.
func (r *Recording) settings() (source, target daemon.Settings, err error) {
	c := r.Config
	for _, name := range slices.Sorted(maps.Keys(c)) {
		if modes[name] == "" && !slices.Contains(aside, name) {
			err = errors.Join(err, fmt.Errorf("%s: the setting %s is not known here", r.Name, name))
		}
	}
	for _, of := range []string{"schemas.enable", "replace.null.with.default"} {
		if key, value := c["key.converter."+of], c["value.converter."+of]; key != value {
			err = errors.Join(err, fmt.Errorf("%s: %s has to be the same for keys and values", r.Name, of))
		}
	}
	if err != nil {
		return nil, nil, err
	}
	debezium := daemon.Settings{"null_as_default": true}
	for name, ours := range modes {
		switch value := c[name]; value {
		case "":
		case "true", "false":
			debezium[ours] = value == "true"
		default:
			debezium[ours] = strings.ReplaceAll(value, "base64-url-safe", "base64_url_safe")
		}
	}
	skip := []string{"truncate"}
	if listed := c["skipped.operations"]; listed != "" {
		skip = []string{}
		for letter := range strings.SplitSeq(listed, ",") {
			if op := operations[letter]; op != "" {
				skip = append(skip, op)
			}
		}
	}
	debezium["skip"] = skip
	source = daemon.Settings{"publication": daemon.Settings{"name": publication}}
	if r.everythingBefore() { // existing rows have the values of generated columns, the log has none
		source["generated_columns"] = "compute"
	}
	target = daemon.Settings{
		"create_topics": daemon.Settings{"partitions": 1},
		"format": daemon.Settings{
			"value": "debezium-json", "headers": false, "tombstones": c["tombstones.on.delete"] != "false", "debezium": debezium,
		},
	}
	if c["provide.transaction.metadata"] == "true" {
		target["transaction_topic"] = "{pipeline}.transaction"
	}
	return source, target, nil
}
