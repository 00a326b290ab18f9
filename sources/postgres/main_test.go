package postgres

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/rowferry/rowferry/schema/setting"
	"github.com/rowferry/rowferry/sources"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patterns parses table patterns.
func patterns(t testing.TB, texts ...string) []setting.Pattern {
	t.Helper()
	var list []setting.Pattern
	for _, text := range texts {
		p, err := setting.ParsePattern(text)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
	return list
}

// newSource makes a source of the database, over public.* unless change says otherwise.
func newSource(t testing.TB, url string, change func(*Config, *sources.Runtime)) *Source {
	t.Helper()
	cfg := Config{URL: url, Streaming: true, PaceReads: true}
	cfg.Publication.Create, cfg.Publication.ViaRoot = true, true
	rt := sources.Runtime{
		Pipeline: databaseOf(t, url), StateDir: t.TempDir(), Tables: setting.Tables{Include: patterns(t, "public.*")},
		Snapshot: sources.Snapshot{Workers: 2}, Log: zerolog.New(zerolog.NewTestWriter(t)),
	}
	if change != nil {
		change(&cfg, &rt)
	}
	s, err := New(cfg, rt)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// databaseOf is the database's name: slots are shared by the databases of a server, so pipelines are named after it.
func databaseOf(t testing.TB, url string) string {
	t.Helper()
	c, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	return c.Database
}

// within bounds a test's call.
func within(t testing.TB, limit time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	return ctx
}

// value asks the database for one text.
func value(t testing.TB, url, sql string, args ...any) string {
	t.Helper()
	ctx := within(t, 60*time.Second)
	c, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(ctx)
	var text *string
	if err := c.QueryRow(ctx, sql, args...).Scan(&text); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	if text == nil {
		return "<null>"
	}
	return *text
}
