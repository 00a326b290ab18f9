package debezium

import (
	"regexp"
	"strings"
)

// unwrap is the end of the type of a transform that only takes the envelope away.
const unwrap = ".ExtractNewRecordState"

// hints say what to do instead of a transform, by the end of its type.
var hints = []struct{ ending, text string }{
	{unwrap, "records keep their whole envelope, with before, after and op: readers have to take after out of it"},
	{".outbox.EventRouter", "rows of the outbox are written as any other table's: readers have to take them apart"},
	{".ByLogicalTableRouter", "to write several tables into one topic, set target.topic to a pattern without {table}, or rename tables under transforms"},
	{".RegexRouter", "say with target.topic how topics are named: text with {schema} and {table}"},
	{".Filter", "leave tables out with source.tables.exclude, and rows by a row filter of the publication: ALTER PUBLICATION … SET TABLE t WHERE (…)"},
	{".ContentBasedRouter", "a table has one topic: readers have to choose"},
	{".MaskField$Value", "values would be written AS THEY ARE: leave the columns out by a column list of the publication"},
	{".ReplaceField$Value", "leave columns out by a column list of the publication, ALTER PUBLICATION … SET TABLE t (a, b)"},
	{".ValueToKey", "name the columns of keys under target.keys"},
	{".ExtractField$Key", "keys are objects, as {\"id\":7}: readers have to take the field out"},
	{".TimezoneConverter", "times have the zone of the source: readers have to convert them"},
}

// routed is how topics are named, once transforms are looked at. One is carried over exactly: a RegexRouter, with no
// other transform that may name topics, that takes the three parts of a name apart.
func (im *importer) routed(topic, delimiter string) string {
	list, _ := im.take("transforms")
	aliases := splitList(list)
	naming := 0 // how many may have to do with names of topics
	for _, alias := range aliases {
		if kind, _ := im.value("transforms." + alias + ".type"); !strings.HasSuffix(kind, unwrap) {
			naming++
		}
	}
	for _, alias := range aliases {
		begin := "transforms." + alias + "."
		kind, _ := im.take(begin + "type")
		for _, key := range im.settings.keys() {
			if strings.HasPrefix(key, begin) {
				im.taken[key] = true
			}
		}
		_, conditional := im.value(begin + "predicate")
		if exact, ok := im.regexRouter(begin, kind, delimiter); ok && naming == 1 && !conditional {
			topic = exact
			continue
		}
		text := "there is nothing like it here: readers have to do it"
		for _, h := range hints {
			if strings.HasSuffix(kind, h.ending) {
				text = h.text
				break
			}
		}
		im.note(begin+"type", "the transform %s is not carried over: %s", shown(kind), text)
	}
	list, _ = im.take("predicates")
	for _, alias := range splitList(list) {
		for _, key := range im.settings.keys() {
			if strings.HasPrefix(key, "predicates."+alias+".") {
				im.taken[key] = true
			}
		}
		im.note("predicates."+alias+".type", "goes with a transform, and is not carried over")
	}
	return topic
}

// threeParts are expressions that take the prefix, the schema and the table of a topic's name apart.
var threeParts = []string{`([^.]+)\.([^.]+)\.([^.]+)`, `(.*)\.(.*)\.(.*)`, `([^.]*)\.([^.]*)\.([^.]*)`}

var part = regexp.MustCompile(`\$(\d+|\{[^}]*\})`)

// regexRouter gives the pattern of names that a RegexRouter makes, if there is one.
func (im *importer) regexRouter(begin, kind, delimiter string) (string, bool) {
	expr, _ := im.value(begin + "regex")
	to, ok := im.value(begin + "replacement")
	known := false
	for _, one := range threeParts {
		known = known || expr == one
	}
	if !ok || !known || !strings.HasSuffix(kind, ".RegexRouter") || delimiter != "." || strings.Contains(im.prefix, ".") {
		return "", false
	}
	parts := map[string]string{"$1": topicName(im.prefix), "$2": "{schema}", "$3": "{table}"}
	exact := !strings.ContainsAny(to, `\{}`)
	name := part.ReplaceAllStringFunc(to, func(found string) string {
		text, known := parts[found]
		exact = exact && known
		return text
	})
	return name, exact && !notInTopics.MatchString(strings.NewReplacer("{schema}", "", "{table}", "").Replace(name))
}
