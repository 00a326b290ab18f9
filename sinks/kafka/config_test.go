package kafka

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/schema/setting"
	"github.com/rowferry/rowferry/schema/wire/debezium"
	"github.com/rowferry/rowferry/sinks/sinktest"
)

func TestBrokers(t *testing.T) {
	tests := []struct {
		url  string
		want []string
		says string
	}{
		{url: "kafka://k1:9093,k2", want: []string{"k1:9093", "k2:9092"}},
		{url: "kafka://[::1]:9093,[fe80::2]/", want: []string{"[::1]:9093", "[fe80::2]:9092"}},
		{url: "kafka://u:secret@k1", says: "may not hold a user"},
		{url: "kafka://k1/topic", says: "hosts and ports only"},
		{url: "kafka://k1:99999", says: "no HOST:PORT"},
		{url: "kafka://k1,", says: "no HOST:PORT"},
		{url: "http://k1", says: "is no kafka://"},
	}
	for _, tt := range tests {
		got, err := brokersOf(tt.url)
		if tt.says != "" {
			if err == nil || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "secret") {
				t.Errorf("%s: got %v, want an error with %q", tt.url, err, tt.says)
			}
			continue
		}
		if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v %s", tt.url, err, diff)
		}
	}
}

func TestValidate(t *testing.T) {
	tests := map[string]func(c *Config){
		"url: ":                      func(c *Config) { c.URL = "" },
		"tls.mode: ":                 func(c *Config) { c.TLS.Mode = "prefer" },
		"tls: cert_file":             func(c *Config) { c.TLS.CertFile = "x" },
		"sasl.mechanism: \"X\"":      func(c *Config) { c.SASL.Mechanism = "X"; c.SASL.Username, c.SASL.Password = "u", "p" },
		"sasl.mechanism: is needed":  func(c *Config) { c.SASL.Username = "u" },
		"sasl: PLAIN needs":          func(c *Config) { c.SASL.Mechanism = "PLAIN" },
		"sasl.token_file: ":          func(c *Config) { c.SASL.Mechanism = "OAUTHBEARER" },
		"topic: ":                    func(c *Config) { c.Topic = "{tabel}" },
		"ledger.topic: ":             func(c *Config) { c.Ledger.Topic = "{table}" },
		"messages.topic: the ledger": func(c *Config) { c.Ledger.Topic, c.Messages.Topic = "x", "x" },
		"delivery: ":                 func(c *Config) { c.Delivery = "twice" },
		"claim_check: set either":    func(c *Config) { c.Oversize = claimCheck },
		"partition_columns: is for":  func(c *Config) { c.PartitionColumns = map[string][]string{"a.b": {"c"}} },
		"keys: \"a.b\" names no":     func(c *Config) { c.Keys = map[string][]string{"a.b": nil} },
		"transaction.timeout: ":      func(c *Config) { c.Transaction.Timeout = setting.Duration(time.Millisecond) },
		"max_message: ":              func(c *Config) { c.MaxMessage = 1 },
		"create_topics.rules[0]: ":   func(c *Config) { c.CreateTopics.Rules = []TopicRule{{Partitions: -1}} },
	}
	for want, change := range tests {
		c := Config{URL: "kafka://k1"}
		change(&c)
		if errs := c.Validate(); len(errs) != 1 || !strings.HasPrefix(errs[0].Error(), want) {
			t.Errorf("%s: got %v, want exactly that", want, errs)
		}
	}
	c := Config{URL: "kafka://k1"}
	if errs := c.Validate(); len(errs) > 0 {
		t.Errorf("the smallest configuration: got %v", errs)
	}
	if got := c.withDefaults("p").Format.Value; got != formatDebezium {
		t.Errorf("the smallest configuration: got format %s, want %s", got, formatDebezium)
	}
}

// TestProtection: a password never crosses a network in the clear unless somebody wrote that it may.
func TestProtection(t *testing.T) {
	login := SASL{Mechanism: "PLAIN", Username: "u", Password: "p"}
	tests := []struct {
		name string
		c    Config
		want bool
	}{
		{"nothing", Config{URL: "kafka://k1"}, false},
		{"a login", Config{URL: "kafka://k1", SASL: login}, true},
		{"a login on loopback", Config{URL: "kafka://localhost,127.0.0.1", SASL: login}, false},
		{"a login, without by order", Config{URL: "kafka://k1", SASL: login, TLS: TLS{Mode: "disable"}}, false},
		{"by order", Config{URL: "kafka://localhost", TLS: TLS{Mode: "verify-full"}}, true},
		{"a name", Config{URL: "kafka://localhost", TLS: TLS{ServerName: "x"}}, true},
	}
	for _, tt := range tests {
		got, err := tt.c.tlsConfig()
		if err != nil || (got != nil) != tt.want || got != nil && got.InsecureSkipVerify {
			t.Errorf("%s: got %v, %v; want protection %v", tt.name, got, err, tt.want)
		}
	}
	bad := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(bad, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := Config{URL: "kafka://k1", TLS: TLS{CAFile: bad}}
	if _, err := c.connect(); fault.Of(err).Code != "target.config" {
		t.Errorf("a file without certificates: got %v, want a halt", err)
	}
}

func TestRules(t *testing.T) {
	orders, err := setting.ParsePattern("public.o*")
	if err != nil {
		t.Fatal(err)
	}
	c := Config{CreateTopics: CreateTopics{Partitions: 6, Replication: 3, Configs: map[string]string{"a": "1", "b": "1"}, Rules: []TopicRule{
		{Tables: []setting.Pattern{orders}, Partitions: 12, Configs: map[string]string{"b": "2"}},
	}}}
	got := c.spec("x", &schema.Table{Schema: "public", Name: "orders"})
	if got.Partitions != 12 || got.Replication != 3 || got.Configs["a"] != "1" || got.Configs["b"] != "2" {
		t.Errorf("a table with a rule: got %+v", got)
	}
	if got := c.spec("x", sinktest.Accounts); got.Partitions != 6 || got.Configs["b"] != "1" {
		t.Errorf("a table without: got %+v", got)
	}
}

// TestOverdue: a transaction that outlives its timeout is begun again once, and then halts with the way out.
func TestOverdue(t *testing.T) {
	s := &Sink{late: -1}
	late := &fault.Error{Code: "target.transaction_timeout", Err: errors.New("too old")}
	if err := s.overdue(context.Canceled, 7); !errors.Is(err, context.Canceled) {
		t.Errorf("another error: got %v", err)
	}
	for _, step := range []struct {
		seq  int64
		want fault.Class
	}{{7, fault.Retryable}, {8, fault.Retryable}, {8, fault.Terminal}} {
		if got := s.overdue(late, step.seq); fault.ClassOf(got) != step.want {
			t.Errorf("after group %d: got %v (%v), want %v", step.seq, fault.ClassOf(got), got, step.want)
		}
	}
	if e := fault.Of(s.overdue(late, 8)); !strings.Contains(e.Remedy, "transaction.timeout") {
		t.Errorf("got remedy %q", e.Remedy)
	}
}

// BenchmarkEncode is a batch of a thousand rows made into record batches of three partitions, in each format, Debezium's with
// schemas, too.
func BenchmarkEncode(b *testing.B) {
	for _, codec := range []string{"none", "lz4", "zstd"} {
		b.Run(formatJSON+"/"+codec, func(b *testing.B) { benchmarkEncode(b, codec, Format{Value: formatJSON}) })
		b.Run(formatDebezium+"/"+codec, func(b *testing.B) { benchmarkEncode(b, codec, Format{Value: formatDebezium}) })
		b.Run("schemas/"+codec, func(b *testing.B) {
			benchmarkEncode(b, codec, Format{Value: formatDebezium, Debezium: debezium.Config{Schemas: true}})
		})
	}
}

func benchmarkEncode(b *testing.B, codec string, format Format) {
	format.Tombstones, format.Headers = true, true
	cfg := Config{URL: "kafka://k1", Format: format}.withDefaults("p")
	if err := cfg.Compression.UnmarshalText([]byte(codec)); err != nil {
		b.Fatal(err)
	}
	events, err := cfg.newEvents("postgres:1/shop/slot")
	if err != nil {
		b.Fatal(err)
	}
	e := newEncoder(&cfg, "p", events, schema.Position{Format: "postgres/1"})
	e.layout.Store(&layout{"p.public.accounts": 3})
	batch := schema.NewBatch(nil)
	for i := range 1000 {
		batch.Changes = append(batch.Changes, schema.Change{
			Op: schema.OpCreate, Table: sinktest.Accounts, Offset: uint64(i) * 200,
			After: row(batch, strconv.Itoa(i*7919), "a name of usual length "+strconv.Itoa(i%97), "a note that is somewhat longer than the name "+strconv.Itoa(i*131)),
		})
	}
	batch.Transactions = []schema.Transaction{{ID: 1, End: 100, CommitTime: 1_700_000_000_000_000, Count: 1000}}
	b.ReportAllocs()
	size := 0
	for b.Loop() {
		p, err := e.encode(batch)
		if err != nil {
			b.Fatal(err)
		}
		size = p.Bytes()
		e.recycle(p.(*payload).run)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/row")
	b.ReportMetric(float64(size)/1000, "bytes/row")
}
