package main

import (
	"strings"
	"testing"

	"github.com/rowferry/rowferry/replicator/config"
)

// TestClaims wants what only one pipeline may have to be refused when two take it, before anything is connected.
func TestClaims(t *testing.T) {
	const head = "version: 1\npipelines:\n"
	const ours = "{ url: \"kafka://k:9092\", transaction: { id: ours } }"
	into := func(name, target string) string {
		return "  " + name + ":\n    source: { url: \"postgres://u@db1/shop\", tables: { include: [\"a.b\"] } }\n    target: " + target + "\n"
	}
	pipeline := func(name, source, slot, target string) string {
		return "  " + name + ":\n    source: { url: \"" + source + "\", tables: { include: [\"a.b\"] }" + slot + " }\n    target: { url: \"" + target + "\" }\n"
	}
	const slotB = ", slot: { name: rowferry_b }"
	tests := []struct {
		name, file, want string
	}{
		{
			name: "one slot", want: "the slot rowferry_b of postgres db1:5432 belongs to pipelines.a.source already",
			file: pipeline("a", "postgres://u@db1/shop", slotB, "null:") + pipeline("c", "postgres://v@db1:5432/other", slotB, "null:"),
		},
		{
			name: "another's default slot", want: "the slot rowferry_b of postgres db1:5432 belongs to pipelines.a.source already",
			file: pipeline("a", "postgres://u@db1/shop", slotB, "null:") + pipeline("b", "postgres://u@db1/shop", "", "null:"),
		},
		{
			name: "one slot name at two servers",
			file: pipeline("a", "postgres://u@db1/shop", slotB, "null:") + pipeline("c", "postgres://u@db2/shop", slotB, "null:"),
		},
		{
			name: "one file", want: "the file /var/x.jsonl belongs to pipelines.a.target already",
			file: pipeline("a", "postgres://u@db1/shop", "", "file:/var/x.jsonl") + pipeline("b", "postgres://u@db1/shop", "", "file:///var/../var/x.jsonl"),
		},
		{
			name: "one transactional id", want: "the transactional id ours of kafka://k:9092 belongs to pipelines.a.target already",
			file: into("a", ours) + into("b", ours),
		},
		{
			name: "standard output", want: "standard output belongs to pipelines.a.target already",
			file: pipeline("a", "postgres://u@db1/shop", "", "stdout:") + pipeline("b", "postgres://u@db1/shop", "", "stdout:"),
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, problems := config.Parse("rowferry.yaml", []byte(head+tt.file), allConnectors().kinds(), config.Lookup{})
			var got strings.Builder
			for i := range problems {
				problems[i].Print(&got)
			}
			if tt.want == "" && got.Len() > 0 || !strings.Contains(got.String(), tt.want) {
				t.Errorf("got:\n%s\nwant: %q", got.String(), tt.want)
			}
		})
	}
}
