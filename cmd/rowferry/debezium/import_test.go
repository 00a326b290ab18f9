package debezium

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

var update = flag.Bool("update", false, "rewrite testdata")

// canary is part of every secret in testdata. It must not be in what is written.
const canary = "hunter2"

func TestFrom(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "*.*"))
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, file := range files {
		if strings.HasSuffix(file, ".want") {
			continue
		}
		seen++
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			made, err := From(text, Options{File: filepath.Base(file)})
			if err != nil {
				t.Fatal(err)
			}
			golden := file + ".want"
			if *update {
				if err := os.WriteFile(golden, []byte(made.YAML), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), made.YAML); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			for _, n := range made.Notes {
				if !strings.Contains(made.YAML, "#   "+n.Setting+": "+n.Text+"\n") {
					t.Errorf("the file does not tell of %+v", n)
				}
			}
			if strings.Contains(made.YAML, canary) {
				t.Errorf("a secret is written:\n%s", made.YAML)
			}
		})
	}
	if seen < 5 {
		t.Errorf("got %d files to read, want at least 5", seen)
	}
}

const postgres = `"connector.class":"io.debezium.connector.postgresql.PostgresConnector"`

func TestFromRefuses(t *testing.T) {
	tests := []struct {
		name, text string
		shape      bool
		says       []string
	}{
		{name: "nothing", text: " \n", shape: true, says: []string{"the file is empty"}},
		{name: "a list", text: `[{}]`, shape: true, says: []string{"it is a list"}},
		{name: "a resource of Kubernetes", text: "apiVersion: kafka.strimzi.io/v1beta2\nkind: KafkaConnector\n", shape: true, says: []string{"it is YAML", "spec.config"}},
		{name: "broken JSON", text: "{\n  \"name\": \"x\",\n  \"config\": {\n    \"a\": 1,,\n", shape: true, says: []string{"line 4, column 12", "no JSON"}},
		{name: "JSON that ends early", text: "{\"config\": {", shape: true, says: []string{"line 1", "no JSON"}},
		{name: "two objects", text: "{}\n{}", shape: true, says: []string{"line 2", "something follows"}},
		{name: "config is no object", text: `{"name":"x","config":"hunter2"}`, shape: true, says: []string{"config: it is no object"}},
		{name: "several connectors", text: `{"shop":{"info":{"config":{}}}}`, shape: true, says: []string{"shop: it is an object", "under info of one"}},
		{name: "no connector", text: `{"name":"x","config":{"tasks.max":"1"}}`, shape: true, says: []string{"there is no connector.class"}},
		{name: "properties of something else", text: "log4j.rootLogger=INFO\n", shape: true, says: []string{"there is no connector.class"}},
		{name: "a server without a connector", text: "debezium.source.topic.prefix=x\n", shape: true, says: []string{"there is no debezium.source.connector.class"}},
		{name: "properties that are broken", text: "a=\\u12\n", shape: true, says: []string{"neither JSON nor properties"}},
		{
			name: "MySQL", text: `{"connector.class":"io.debezium.connector.mysql.MySqlConnector"}`,
			says: []string{"MySQL sources are not there yet", "Postgres connectors can be carried over"},
		},
		{
			name: "MariaDB on a server", text: "debezium.source.connector.class=io.debezium.connector.mariadb.MariaDbConnector",
			says: []string{"debezium.source.connector.class", "MySQL sources are not there yet"},
		},
		{name: "Oracle", text: `{"connector.class":"io.debezium.connector.oracle.OracleConnector"}`, says: []string{"only Debezium's Postgres connector"}},
		{name: "a sink", text: `{"connector.class":"io.debezium.connector.jdbc.JdbcSinkConnector"}`, says: []string{"only Debezium's Postgres connector"}},
		{
			name: "no database", text: `{` + postgres + `,"database.hostname":"h","database.user":"u","database.password":"hunter2","topic.prefix":"p"}`,
			shape: true, says: []string{"database.dbname is missing"},
		},
		{
			name: "no prefix", text: `{` + postgres + `,"database.hostname":"h","database.user":"u","database.dbname":"d"}`,
			shape: true, says: []string{"topic.prefix is missing"},
		},
		{
			name: "a prefix that is kept elsewhere", text: `{` + postgres + `,"database.hostname":"h","database.user":"u","database.dbname":"d","topic.prefix":"${env:P}"}`,
			says: []string{"topic.prefix", "put the prefix itself"},
		},
		{
			name: "another sink",
			text: "debezium.sink.type=redis\ndebezium.source.connector.class=PostgresConnector\ndebezium.source.database.hostname=h\n" +
				"debezium.source.database.user=u\ndebezium.source.database.dbname=d\ndebezium.source.topic.prefix=p\n",
			says: []string{"debezium.sink.type", "redis", "only the sink kafka"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := From([]byte(tt.text), Options{File: "connector.json"})
			if err == nil {
				t.Fatal("got no error")
			}
			if errors.Is(err, errShape) != tt.shape {
				t.Errorf("got %v, about the file's shape: want %t", err, tt.shape)
			}
			for _, want := range append(tt.says, "connector.json: ") {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %q in it", err, want)
				}
			}
			if strings.Contains(err.Error(), canary) {
				t.Errorf("a secret is told: %v", err)
			}
		})
	}
}

// with is a connector with some settings beside those it needs, as JSON.
func with(settings string) string {
	return `{` + postgres + `,"plugin.name":"pgoutput","database.hostname":"h","database.user":"u","database.dbname":"d","database.sslmode":"disable",` +
		`"topic.prefix":"p","value.converter":"org.apache.kafka.connect.json.JsonConverter","bootstrap.servers":"k"` + settings + `}`
}

func TestSettings(t *testing.T) {
	tests := []struct {
		name, settings string
		want           []string // lines of the file
		notes          []string // settings
	}{
		{name: "nothing but what is needed", want: []string{`include: ["*.*"]`, "name: debezium", "name: dbz_publication", "create: false"}},
		{
			name: "an address and odd names", settings: `,"database.hostname":"fd00::1","database.user":"o'b@r","database.dbname":"sh/op"`,
			want: []string{"url: postgres://o%27b%40r@[fd00::1]:5432/sh%2Fop"},
		},
		{
			name: "variables that are filled in before", settings: `,"database.hostname":"${DB_HOST}","database.user":"${file:/x:user}","database.password":"${DB_PASSWORD}"`,
			want: []string{"url: postgres://${env:P_SOURCE_USER}@${env:DB_HOST}:5432/d", "password: ${env:DB_PASSWORD}"}, notes: []string{"database.user"},
		},
		{name: "both lists", settings: `,"schema.include.list":"a","table.include.list":"a\\.t"`, want: []string{`include: ['re:(?i)a\.t']`}, notes: []string{"schema.include.list"}},
		{name: "no list that can be read", settings: `,"table.include.list":"(?=x)y"`, want: []string{`include: ["CHANGE.ME"]`}, notes: []string{"table.include.list"}},
		{name: "a reference in a list", settings: `,"table.exclude.list":"${env:T},a\\.b"`, want: []string{`exclude: ['re:(?i)a\.b']`}, notes: []string{"table.exclude.list"}},
		{name: "a dollar", settings: `,"table.include.list":"a\\.b$"`, want: []string{`include: ['re:(?i)a\.b$$']`}},
		{name: "operations", settings: `,"skipped.operations":"t, d,x"`, want: []string{`skip: ["truncate", "delete"]`}, notes: []string{"skipped.operations"}},
		{name: "a word that is not known", settings: `,"time.precision.mode":"lunar"`, notes: []string{"time.precision.mode"}},
		{name: "a flag that is none", settings: `,"tombstones.on.delete":"yes"`, want: []string{"tombstones: true"}, notes: []string{"tombstones.on.delete"}},
		{name: "unknown types", settings: `,"include.unknown.datatypes":true,"money.fraction.digits":4`, want: []string{"unknown_types: true", "money_digits: 4"}},
		{name: "a placeholder", settings: `,"unavailable.value.placeholder":"hex:00"`, want: []string{"placeholder: hex:00"}},
		{name: "names", settings: `,"schema.name.adjustment.mode":"avro","field.name.adjustment.mode":"avro_unicode"`, want: []string{"schema_names: avro", "field_names: avro_unicode"}},
		{name: "another delimiter", settings: `,"topic.delimiter":"-"`, want: []string{"topic: p-{schema}-{table}", "topic: p-message"}},
		{
			name: "topics for transactions and heartbeats", settings: `,"provide.transaction.metadata":true,"topic.transaction":"tx","heartbeat.interval.ms":"1000","topic.heartbeat.prefix":"beat"`,
			want: []string{"transaction_topic: p.tx", "heartbeat_topic: beat.p"}, notes: []string{"heartbeat.interval.ms"},
		},
		{name: "no heartbeats", settings: `,"heartbeat.interval.ms":"0"`},
		{
			name: "one router", settings: `,"transforms":"r","transforms.r.type":"org.apache.kafka.connect.transforms.RegexRouter","transforms.r.regex":"([^.]+)\\.([^.]+)\\.([^.]+)","transforms.r.replacement":"$2_$3"`,
			want: []string{"topic: '{schema}_{table}'"},
		},
		{
			name: "a router with a predicate", settings: `,"transforms":"r","transforms.r.type":"org.apache.kafka.connect.transforms.RegexRouter","transforms.r.regex":"(.*)\\.(.*)\\.(.*)","transforms.r.replacement":"$3","transforms.r.predicate":"x","predicates":"x","predicates.x.type":"T"`,
			want: []string{"topic: p.{schema}.{table}"}, notes: []string{"predicates.x.type", "transforms.r.type"},
		},
		{
			name: "a router to a part that there is not", settings: `,"transforms":"r","transforms.r.type":"org.apache.kafka.connect.transforms.RegexRouter","transforms.r.regex":"(.*)\\.(.*)\\.(.*)","transforms.r.replacement":"$4"`,
			want: []string{"topic: p.{schema}.{table}"}, notes: []string{"transforms.r.type"},
		},
		{
			name: "a login whose parts are kept elsewhere", settings: `,"producer.override.security.protocol":"SASL_PLAINTEXT","producer.override.sasl.mechanism":"PLAIN","producer.override.sasl.jaas.config":"${file:/x:jaas}"`,
			want: []string{"mode: disable", "username: ${env:P_KAFKA_USER}", "password: ${env:P_KAFKA_PASSWORD}"}, notes: []string{"producer.override.sasl.jaas.config"},
		},
		{
			name: "a login with odd characters", settings: `,"producer.override.security.protocol":"SASL_SSL","producer.override.sasl.mechanism":"PLAIN","producer.override.sasl.jaas.config":"org.apache.kafka.common.security.plain.PlainLoginModule required username=\"a\\\"$b\" password='hunter2;x';"`,
			want: []string{`username: a"$$b`, "password: ${env:P_KAFKA_PASSWORD}"}, notes: []string{"producer.override.sasl.jaas.config"},
		},
		{name: "Kerberos", settings: `,"producer.override.security.protocol":"SASL_SSL"`, notes: []string{"producer.override.sasl.mechanism"}},
		{name: "a key within the settings", settings: `,"producer.override.security.protocol":"SSL","producer.override.ssl.keystore.key":"hunter2"`, notes: []string{"producer.override.ssl.keystore.key"}},
		{name: "names that are not compared", settings: `,"producer.override.security.protocol":"SSL","producer.override.ssl.endpoint.identification.algorithm":""`, notes: []string{"producer.override.ssl.endpoint.identification.algorithm"}},
		{name: "replication as the brokers say", settings: `,"topic.creation.default.replication.factor":"-1","topic.creation.default.partitions":"3"`, want: []string{"partitions: 3"}},
		{name: "schemas of keys alone", settings: `,"value.converter.schemas.enable":"false","key.converter.schemas.enable":"true"`, want: []string{"schemas: false"}, notes: []string{"key.converter.schemas.enable"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			made, err := From([]byte(with(tt.settings)), Options{File: "x"})
			if err != nil {
				t.Fatal(err)
			}
			for _, line := range tt.want {
				if !strings.Contains(made.YAML, " "+line+"\n") {
					t.Errorf("want the line %q in\n%s", line, made.YAML)
				}
			}
			var notes []string
			for _, n := range made.Notes {
				notes = append(notes, n.Setting)
			}
			if diff := cmp.Diff(sortedTexts(tt.notes), sortedTexts(notes)); diff != "" {
				t.Errorf("not carried over (-want +got):\n%s", diff)
			}
			if strings.Contains(made.YAML, canary) {
				t.Errorf("a secret is written:\n%s", made.YAML)
			}
		})
	}
}

// TestServerSecretWithADefault: a default stands where the secret does, and is one.
func TestServerSecretWithADefault(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("testdata", "server.properties"))
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(text), "${DB_PASSWORD}", "${DB_PASSWORD:"+canary+"}", 1)
	made, err := From([]byte(changed), Options{File: "x"})
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(made.YAML, canary) || !strings.Contains(made.YAML, " password: ${env:DB_PASSWORD}\n") ||
		!strings.Contains(made.YAML, "#   debezium.source.database.password: ") {
		t.Errorf("got\n%s\nwant a reference without its default, and a word about it", made.YAML)
	}
}

// TestReasonsAreReached: none stands behind one that takes everything it would.
func TestReasonsAreReached(t *testing.T) {
	for i := range reasons {
		name := strings.Replace(reasons[i].setting, "*", "x", 1)
		if got := reasonFor(name); got != &reasons[i] {
			t.Errorf("%s is answered by %s", reasons[i].setting, got.setting)
		}
	}
}

func FuzzFrom(f *testing.F) {
	files, err := filepath.Glob(filepath.Join("testdata", "*.*"))
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		made, err := From(text, Options{File: "x"})
		if err != nil {
			return
		}
		var v any
		if err := yaml.Unmarshal([]byte(made.YAML), &v); err != nil {
			t.Errorf("what was written is no YAML: %v\n%s", err, made.YAML)
		}
	})
}

func sortedTexts(texts []string) []string {
	out := append([]string{}, texts...)
	slices.Sort(out)
	return out
}
