package postgres

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
)

// plainTypes spells the kinds whose name at a source may mean nothing here.
var plainTypes = map[schema.Kind]string{
	schema.KindBool: "boolean", schema.KindInt8: "smallint", schema.KindInt16: "smallint", schema.KindInt24: "integer",
	schema.KindInt32: "integer", schema.KindInt64: "bigint", schema.KindUint8: "smallint", schema.KindUint16: "integer",
	schema.KindUint24: "integer", schema.KindUint32: "bigint", schema.KindUint64: "numeric(20)",
	schema.KindFloat32: "real", schema.KindFloat64: "double precision", schema.KindDecimal: "numeric",
	schema.KindText: "text", schema.KindBytes: "bytea", schema.KindDate: "date", schema.KindTime: "time",
	schema.KindTimeTZ: "time with time zone", schema.KindTimestamp: "timestamp",
	schema.KindTimestampTZ: "timestamp with time zone", schema.KindInterval: "interval", schema.KindUUID: "uuid",
	schema.KindJSON: "jsonb", schema.KindBits: "bit varying",
}

// typeFor decides the type of a column that is made here: the source's own where the target knows it, or one that
// holds the values' text. Enums become text, since the target's may lack a label; domains become what they rest on,
// since their checks belong to the source.
func (l *lane) typeFor(ctx context.Context, c *schema.Column) (string, error) {
	if c.Kind == schema.KindEnum || c.Kind == schema.KindSet || c.Kind == schema.KindArray && c.Elem == schema.KindEnum {
		return "text", nil
	}
	name := c.Base
	if name == "" {
		name = c.Native
	}
	if typeShape.MatchString(name) {
		known, err := l.knowsType(ctx, name)
		if err != nil {
			return "", fmt.Errorf("looking for type %s: %w", name, err)
		}
		if known {
			return name, nil
		}
	}
	if plain, ok := plainTypes[c.Kind]; ok {
		if c.Kind == schema.KindDecimal && c.Precision > 0 {
			plain += "(" + strconv.Itoa(int(c.Precision)) + "," + strconv.Itoa(int(c.Scale)) + ")"
		}
		return plain, nil
	}
	return "text", nil
}

// typeShape is what a type's name may look like before it is put in a statement: words or quoted names, a schema,
// a modifier, words after that (as in "time(3) with time zone"), array brackets. Nothing in it can end the type.
var typeShape = regexp.MustCompile(
	`^(?:"(?:[^"]|"")+"|[\pL_][\pL\pN_ ]*)(?:\.(?:"(?:[^"]|"")+"|[\pL_][\pL\pN_ ]*))?` +
		`(?:\([0-9, -]+\))?(?: [a-z ]+)?(?:\[\])*$`)

// reserved words that would turn a type into more than one.
var notTypes = regexp.MustCompile(`(?i)\b(default|not|null|references|check|generated|primary|unique|collate|constraint|as|setof)\b`)

// knowsType tells whether the name is a type's at the target.
func (l *lane) knowsType(ctx context.Context, name string) (bool, error) {
	if !strings.Contains(name, `"`) && notTypes.MatchString(name) {
		return false, nil
	}
	known, asked := l.seen.types[name]
	if asked && l.open {
		return known, nil
	}
	known, err := l.askType(ctx, name)
	if err == nil && l.open {
		note(&l.seen.types, name, known)
	}
	return known, err
}

// askType asks the target. An older server answers bad spelling with an error, which must not cost the transaction.
func (l *lane) askType(ctx context.Context, name string) (bool, error) {
	if l.open {
		if _, err := l.exec(ctx, "SAVEPOINT rowferry_type"); err != nil {
			return false, err
		}
	}
	row, err := l.row(ctx, `SELECT pg_catalog.to_regtype($1) IS NOT NULL`, name)
	refused := err != nil && (fault.Of(err).Code == "target.schema_mismatch" || fault.Of(err).Code == "target.value_refused" ||
		fault.Of(err).Code == "target.unsupported")
	if l.open {
		end := "RELEASE SAVEPOINT rowferry_type"
		if refused {
			end = "ROLLBACK TO SAVEPOINT rowferry_type"
		}
		if err == nil || refused {
			if _, err := l.exec(ctx, end); err != nil {
				return false, err
			}
		}
	}
	if refused {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return row[0] == "t", nil
}
