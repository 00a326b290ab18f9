package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/rowferry/rowferry/e2e/install"
	"github.com/rowferry/rowferry/e2e/servers"
)

// bench is what all sets share: servers, tools, figures.
type bench struct {
	options options
	gates   []gate // of the figures that were asked for
	figures []figure
	source  *servers.Server
	target  *servers.Server
	broker  *servers.Kafka // nil until a set wants it
	client  *kgo.Client    // of the broker, and not Rowferry's
	tools   string         // folder of psql and pg_recvlogical
	folder  string
}

// settings are those of both servers, source and target of every side: durable commits, checkpoints out of the way.
var settings = []string{
	"fsync=on", "full_page_writes=on", "synchronous_commit=on", "shared_buffers=512MB", "max_wal_size=16GB",
	"checkpoint_timeout=1h", "autovacuum=off", "jit=off", "wal_sender_timeout=60s", "max_worker_processes=16",
}

// begin starts the servers.
func begin(ctx context.Context, o options, gates []gate) (*bench, error) {
	b := &bench{options: o, gates: gates}
	var err error
	if b.tools, err = install.PostgresTools(ctx); err != nil {
		return nil, err
	}
	if b.folder, err = os.MkdirTemp("", "bench-*"); err != nil {
		return nil, fmt.Errorf("making a folder: %w", err)
	}
	if b.source, err = servers.Start(ctx, o.major, "", settings...); err != nil {
		return nil, errors.Join(err, b.end())
	}
	if b.target, err = servers.Start(ctx, o.major, "", settings...); err != nil {
		return nil, errors.Join(err, b.end())
	}
	fmt.Printf("bench: Postgres %d, source and target of both sides with %s; %d rounds\n", o.major, strings.Join(settings, " "), o.rounds)
	return b, nil
}

// end removes everything.
func (b *bench) end() error {
	var errs []error
	if b.client != nil {
		b.client.Close()
	}
	if b.broker != nil {
		errs = append(errs, b.broker.Remove())
	}
	for _, s := range []*servers.Server{b.source, b.target} {
		if s != nil {
			errs = append(errs, s.Remove())
		}
	}
	return errors.Join(append(errs, os.RemoveAll(b.folder))...)
}

// measure runs the sets that hold a figure that was asked for.
func (b *bench) measure(ctx context.Context) error {
	sets := []struct {
		name string
		run  func(context.Context) error
	}{
		{"null", b.measureNull}, {"apply", b.measureApply}, {"copy", b.measureCopy}, {"latency", b.measureLatency}, {"big", b.measureBig},
		{"kafka", b.measureKafka}, {"debezium", b.measureDebezium},
	}
	for _, s := range sets {
		for _, g := range b.gates {
			if g.Set == s.name {
				fmt.Printf("%s\n", s.name)
				if err := s.run(ctx); err != nil {
					return fmt.Errorf("set %s: %w", s.name, err)
				}
				break
			}
		}
	}
	return nil
}

// wants tells whether one of these figures was asked for.
func (b *bench) wants(names ...string) bool {
	for _, g := range b.gates {
		for _, name := range names {
			if g.Name == name {
				return true
			}
		}
	}
	return false
}

// tool is the path of one of Postgres' own programs.
func (b *bench) tool(name string) string { return filepath.Join(b.tools, name) }

// do runs statements on a database, each on its own.
func do(ctx context.Context, url string, statements ...string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	defer conn.Close(ctx)
	for _, s := range statements {
		if _, err := conn.PgConn().Exec(ctx, s).ReadAll(); err != nil {
			return fmt.Errorf("running %.100q: %w", strings.TrimSpace(s), err)
		}
	}
	return nil
}

// value asks for one value.
func value(ctx context.Context, url, sql string) (string, error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return "", fmt.Errorf("connecting: %w", err)
	}
	defer conn.Close(ctx)
	var v string
	if err := conn.QueryRow(ctx, sql).Scan(&v); err != nil {
		return "", fmt.Errorf("asking %.100q: %w", sql, err)
	}
	return v, nil
}
