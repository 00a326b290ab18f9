package postgres

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/rs/zerolog"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/sources"
)

// Source is one Postgres database, read through one slot.
type Source struct {
	cfg Config
	rt  sources.Runtime
	log zerolog.Logger

	pinned time.Duration // how long a transaction may be open before Observe reports it
	led    atomic.Bool   // the lock was held once
	looks  time.Duration // how long old rows are looked for at most
	pause  time.Duration // between two looks at the numbers of columns; 0 for what is usual

	mu        sync.Mutex            // guards what follows
	published *published            // what the stream that is open was begun with, for Observe
	lookAgain time.Time             // when Observe reads the catalog next
	arrivals  map[uint32]arrival    // tables that Observe saw come in since
	followed  map[uint32]tableNames // tables that the log announced since, of those that are there
}

// New makes a source. It connects to nothing.
func New(cfg Config, rt sources.Runtime) (*Source, error) {
	cfg = cfg.withDefaults(rt.Pipeline)
	if errs := cfg.Validate(); len(errs) > 0 {
		return nil, fault.Halt("source.config", errors.Join(errs...), "correct the source's settings")
	}
	if rt.Snapshot.Workers < 1 {
		rt.Snapshot.Workers = 4
	}
	if rt.Snapshot.ChunkSize <= 0 {
		rt.Snapshot.ChunkSize = 64 << 20
	}
	return &Source{cfg: cfg, rt: rt, log: rt.Log, pinned: pinned, looks: lookLimit}, nil
}

// server is what a server says of itself.
type server struct {
	system   uint64
	timeline uint32
	database string
	version  int
}

// identify asks the server behind a replication connection who it is.
func identify(ctx context.Context, c *pgconn.PgConn) (server, error) {
	answer, err := pglogrepl.IdentifySystem(ctx, c)
	if err != nil {
		return server{}, classify(fmt.Errorf("identifying the server: %w", err))
	}
	system, err := strconv.ParseUint(answer.SystemID, 10, 64)
	if err != nil {
		return server{}, fault.Wait("source.connect", fmt.Errorf("the server's system identifier %q is no number", answer.SystemID))
	}
	return server{
		system: system, timeline: uint32(answer.Timeline), database: answer.DBName, version: versionOf(c),
	}, nil
}

// Identify names the cluster, the database and the slot.
func (s *Source) Identify(ctx context.Context) (schema.SourceID, error) {
	c, err := s.connect(ctx, nil)
	if err != nil {
		return "", err
	}
	defer closeConn(c)
	srv, err := identify(ctx, c)
	if err != nil {
		return "", err
	}
	return schema.SourceID(fmt.Sprintf("postgres:%d/%s/%s", srv.system, srv.database, s.cfg.Slot.Name)), nil
}

// Stream continues after from, or begins from nothing. What it opens it closes again when it returns an error.
func (s *Source) Stream(ctx context.Context, from schema.Position, state []schema.State) (sources.Stream, error) {
	var at position
	if !from.IsZero() {
		var err error
		if at, err = decodePosition(from); err != nil {
			return nil, err
		}
	}
	st := &stream{source: s, log: s.log, acks: make(chan struct{}, 1)}
	if err := st.open(ctx, at, state); err != nil {
		_ = st.Close()
		return nil, err
	}
	return st, nil
}

// setPublished remembers what Observe has to compare with.
func (s *Source) setPublished(p *published) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.published, s.arrivals, s.followed = p, map[uint32]arrival{}, map[uint32]tableNames{}
}

// currentPublished is what the open stream was begun with, nil when none is.
func (s *Source) currentPublished() *published {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.published
}

// Describe says in a few words which server this is, for people and without secrets.
func (c *Config) Describe() string {
	text, err := c.connString()
	if err != nil {
		return "postgres"
	}
	// Certificates are read when the mode asks for them; a description needs none.
	base, query, _ := strings.Cut(text, "?")
	given, err := url.ParseQuery(query)
	if err != nil {
		return "postgres"
	}
	parsed, err := pgconn.ParseConfig(base + "?" + hostSettings(given).Encode())
	if err != nil {
		return "postgres"
	}
	return fmt.Sprintf("postgres %s:%d/%s", parsed.Host, parsed.Port, parsed.Database)
}
