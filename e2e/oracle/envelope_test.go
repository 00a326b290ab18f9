package oracle

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TestPlain: records of Debezium's format as the json format has them, by their schemas alone.
func TestPlain(t *testing.T) {
	const (
		zoned   = `{"type":"string","name":"io.debezium.time.ZonedTimestamp"`
		decimal = `{"type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"2"}`
		list    = `{"type":"array","items":{"type":"string"}`
		numbers = `{"type":"array","items":{"type":"int64"}`
		text    = `{"type":"string"`
	)
	missing, err := json.Marshal([]int{
		95, 95, 100, 101, 98, 101, 122, 105, 117, 109, 95, 117, 110, 97, 118, 97, 105, 108, 97, 98, 108, 101, 95, 118, 97, 108, 117, 101,
	})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, schema, value, want string }{
		{"number", `{"type":"int64"`, `7`, `{"after":{"c":7},"before":{"id":1}}`},
		{"null", text, `null`, `{"after":{"c":null},"before":{"id":1}}`},
		{"decimal", decimal, `"AJY="`, `{"after":{"c":"1.50"},"before":{"id":1}}`},
		{"negative", decimal, `"/w=="`, `{"after":{"c":"-0.01"},"before":{"id":1}}`},
		{"moment", zoned, `"2026-01-01T00:00:00.001Z"`, `{"after":{"c":"2026-01-01 00:00:00.001+00"},"before":{"id":1}}`},
		{"json", `{"type":"string","name":"io.debezium.data.Json"`, `"{\"a\": 1}"`, `{"after":{"c":{"a":1}},"before":{"id":1}}`},
		{"double", `{"type":"double"`, `1.0`, `{"after":{"c":1},"before":{"id":1}}`},
		{"array", numbers, `[1,null,2]`, `{"after":{"c":"{1,NULL,2}"},"before":{"id":1}}`},
		{"array of texts", list, `["a","b c","","null","q\""]`, `{"after":{"c":"{a,\"b c\",\"\",\"null\",\"q\\\"\"}"},"before":{"id":1}}`},
		{"not sent", text, `"__debezium_unavailable_value"`, `{"after":{},"before":{"id":1},"unchanged":["c"]}`},
		{"array not sent", numbers, string(missing), `{"after":{},"before":{"id":1},"unchanged":["c"]}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			image := func(field, other string) string {
				return fmt.Sprintf(`{"type":"struct","field":%q,"fields":[%s,%s,"field":"c"}]}`, field, other, tt.schema)
			}
			const id = `{"type":"int64","field":"id"}`
			schema := `{"fields":[` + image("before", id) + `,{"type":"struct","field":"after","fields":[` + tt.schema + `,"field":"c"}]}]}`
			r := &kgo.Record{
				Key:     []byte(`{"schema":{"fields":[` + id + `]},"payload":{"id":1}}`),
				Value:   []byte(`{"schema":` + schema + `,"payload":{"before":{"id":1,"c":null},"after":{"c":` + tt.value + `}}}`),
				Headers: []kgo.RecordHeader{{Key: "__debezium.oldkey"}, {Key: "rowferry.end"}},
			}
			got, err := new(Envelopes).Plain(r)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, string(got.Value)); diff != "" {
				t.Errorf("want -, got +\n%s", diff)
			}
			if got.Headers[0].Key != "rowferry.oldkey" || got.Headers[1].Key != "rowferry.end" {
				t.Errorf("got headers %v", got.Headers)
			}
		})
	}
	plain := &kgo.Record{Value: []byte(`{"op":"c"}`)}
	if got, err := new(Envelopes).Plain(plain); got != plain || err != nil {
		t.Errorf("a record of the json format: got %v, %v, want it as it is", got, err)
	}
	short := &kgo.Record{Value: []byte(`{"schema":{"fields":[{"field":"after","fields":[{"field":"a"},{"field":"b"}]}]},"payload":{"after":{"a":1}}}`)}
	if _, err := new(Envelopes).Plain(short); err == nil {
		t.Error("an image without one of its columns: got no error")
	}
}

// TestPlainRemembersSchemas: a record whose schema is another than its topic's last is read by its own.
func TestPlainRemembersSchemas(t *testing.T) {
	var e Envelopes
	for _, tt := range []struct{ kind, value, want string }{
		{`"int64"`, `1`, `{"after":{"c":1}}`}, {`"int64"`, `2`, `{"after":{"c":2}}`},
		{`"array","items":{"type":"int64"}`, `[3]`, `{"after":{"c":"{3}"}}`}, {`"int64"`, `4`, `{"after":{"c":4}}`},
	} {
		text := `{"schema":{"fields":[{"field":"after","fields":[{"field":"c","type":` + tt.kind + `}]}]},"payload":{"after":{"c":` + tt.value + `}}}`
		got, err := e.Plain(&kgo.Record{Topic: "t", Value: []byte(text)})
		if err != nil || string(got.Value) != tt.want {
			t.Errorf("got %s, %v, want %s", got.Value, err, tt.want)
		}
	}
}
