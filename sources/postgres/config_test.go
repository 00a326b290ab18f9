package postgres

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/sources"
)

func TestConnString(t *testing.T) {
	tests := []struct {
		name, url, mode string
		want            string // sslmode, or part of the error after "!"
	}{
		{"loopback", "postgres://u@127.0.0.1:5432/d", "", "disable"},
		{"loopback by name", "postgres://u@localhost/d", "", "disable"},
		{"loopback, version 6", "postgres://u@[::1]/d", "", "disable"},
		{"socket", "postgres://u@/d?host=/var/run/postgresql", "", "disable"},
		{"beyond, behind the question mark", "postgres://u@/d?host=db1", "", "verify-full"},
		{"beyond", "postgres://u@db1/d", "", "verify-full"},
		{"one of two beyond", "postgres://u@127.0.0.1,db1/d", "", "verify-full"},
		{"in the url", "postgres://u@db1/d?sslmode=require", "", "require"},
		{"in the settings", "postgres://u@db1/d", "verify-ca", "verify-ca"},
		{"in both, the same", "postgres://u@db1/d?sslmode=require", "require", "require"},
		{"in both", "postgres://u@db1/d?sslmode=require", "disable", "!the url says"},
		{"prefer", "postgres://u@db1/d?sslmode=prefer", "", "!prefer falls back"},
		{"allow", "postgres://u@db1/d", "allow", "!allow falls back"},
		{"unknown", "postgres://u@db1/d", "yes", "!not disable"},
		{"ssl", "postgres://u@db1/d?ssl=true", "", "!sslmode instead"},
		{"no url", "", "", "!write postgres://"},
		{"another scheme", "mysql://u@db1/d", "", "!write postgres://"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			cfg := Config{URL: test.url, TLS: TLS{Mode: test.mode}}
			got, err := cfg.connString()
			if part, refused := strings.CutPrefix(test.want, "!"); refused {
				if err == nil || !strings.Contains(err.Error(), part) {
					t.Fatalf("got %q %v, want an error about %q", got, err, part)
				}
				return
			}
			if err != nil || !strings.Contains(got, "sslmode="+test.want) {
				t.Fatalf("got %q %v, want sslmode=%s", got, err, test.want)
			}
			if test.want != "verify-full" && test.want != "verify-ca" {
				if _, err := pgconn.ParseConfig(got); err != nil {
					t.Errorf("%q: %v", got, err)
				}
			}
		})
	}
}

func TestSeveralHostsNeedTheOneThatWrites(t *testing.T) {
	cfg := Config{URL: "postgres://u@127.0.0.1:1,127.0.0.1:2/d"}
	got, err := cfg.connString()
	if err != nil || !strings.Contains(got, "target_session_attrs=read-write") {
		t.Errorf("got %q %v, want target_session_attrs=read-write", got, err)
	}
	cfg.URL += "?target_session_attrs=any"
	if got, _ := cfg.connString(); strings.Contains(got, "read-write") {
		t.Errorf("got %q, want what the url says", got)
	}
}

func TestDefaultNames(t *testing.T) {
	tests := []struct{ pipeline, want string }{
		{"shop", "rowferry_shop"},
		{"Shop-Events.2", "rowferry_shop_events_2"},
		{"größe", "rowferry_gr____e"},
		{strings.Repeat("x", 80), "rowferry_" + strings.Repeat("x", 54)},
	}
	for _, test := range tests {
		cfg := Config{}.withDefaults(test.pipeline)
		if cfg.Slot.Name != test.want || cfg.Publication.Name != test.want {
			t.Errorf("%s: got %s and %s, want %s", test.pipeline, cfg.Slot.Name, cfg.Publication.Name, test.want)
		}
		if !slotNames.MatchString(cfg.Slot.Name) {
			t.Errorf("%s: the server will not take %s", test.pipeline, cfg.Slot.Name)
		}
	}
}

func TestValidate(t *testing.T) {
	cfg := Config{
		URL: "postgres://u@127.0.0.1/d", Slot: Slot{Name: "Bad-Name"}, NewTables: "ignore", MaxValueBytes: 1,
		Publication: Publication{Changed: "maybe"}, TLS: TLS{CertFile: "c"},
		ReplicaIdentity: map[string]string{"public.*": "full", "t": "full", "public.t": ""},
		RetainedWAL:     RetainedWAL{WarnPercent: 200},
	}
	var text []string
	for _, err := range cfg.Validate() {
		text = append(text, err.Error())
	}
	got := strings.Join(text, "\n")
	for _, want := range []string{
		"slot.name:", "new_tables:", "max_value_bytes:", "publication.changed:", "tls:", "replica_identity.public.*:",
		"replica_identity.t:", "replica_identity.public.t:", "retained_wal.warn_percent:",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("got\n%s\nwant something about %s", got, want)
		}
	}
	_, err := New(cfg, sources.Runtime{Pipeline: "p"})
	wantFault(t, err, "source.config", fault.Terminal)
}

func TestDescribeHidesThePassword(t *testing.T) {
	cfg := Config{URL: "postgres://u:canary@db1:5433/shop"}
	if got := cfg.Describe(); got != "postgres db1:5433/shop" {
		t.Errorf("got %q", got)
	}
	cfg.URL = "postgres://u:canary@db1:54x33/shop"
	_, err := New(cfg, sources.Runtime{Pipeline: "p"})
	if err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("got %v, want an error without the password", err)
	}
}
