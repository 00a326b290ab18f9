package servers

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

var (
	mu     sync.Mutex // guards shared
	shared = map[int]*Server{}
)

// ForTest returns the server of the major version, 14 to 18, that the tests of this binary share. It is
// started by the first call and ends with the test process.
func ForTest(tb testing.TB, major int) *Server {
	tb.Helper()
	mu.Lock()
	defer mu.Unlock()
	if s := shared[major]; s != nil {
		return s
	}
	s, err := givenServer(major)
	if err == nil && s == nil {
		s, err = Start(tb.Context(), major, "")
	}
	if err != nil {
		tb.Fatal(err)
	}
	shared[major] = s
	return s
}

// StartForTest starts a server that is this test's own, to be restarted, killed or misconfigured. It is
// removed at the test's end.
func StartForTest(tb testing.TB, major int, options ...string) *Server {
	tb.Helper()
	s, err := Start(tb.Context(), major, "", options...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Remove(); err != nil {
			tb.Errorf("removing the server: %v", err)
		}
	})
	return s
}

// givenServer returns the server that the environment names, or nil.
func givenServer(major int) (*Server, error) {
	name := "ROWFERRY_TEST_PG" + strconv.Itoa(major)
	text := os.Getenv(name)
	if text == "" {
		return nil, nil
	}
	u, err := url.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	port := 5432
	if p := u.Port(); p != "" {
		if port, err = strconv.Atoi(p); err != nil {
			return nil, fmt.Errorf("reading %s: %w", name, err)
		}
	}
	return &Server{Major: major, Port: port, given: u}, nil
}

// NewDatabase makes an empty database and returns its URL. At the test's end it is dropped together with
// its replication slots, whoever is connected; the server must run then.
func (s *Server) NewDatabase(tb testing.TB) string {
	tb.Helper()
	name := fmt.Sprintf("%s_%08x", databaseName(tb.Name()), rand.Uint32())
	Exec(tb, s.URL("postgres"), `CREATE DATABASE `+pgx.Identifier{name}.Sanitize()+` TEMPLATE template0`)
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := s.dropDatabase(ctx, name); err != nil {
			tb.Errorf("dropping database %s: %v", name, err)
		}
	})
	return s.URL(name)
}

// databaseName is the test's name as far as it may stand in a URL and a database's name.
func databaseName(test string) string {
	name := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return '_'
	}, test)
	return name[:min(len(name), 40)]
}

func (s *Server) dropDatabase(ctx context.Context, name string) error {
	conn, err := pgx.Connect(ctx, s.URL("postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	// A slot can be dropped only when its walsender has gone, which takes a moment.
	for {
		_, err := conn.Exec(ctx, `SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots
			WHERE database = $1 AND active_pid IS NOT NULL`, name)
		if err != nil {
			return err
		}
		_, err = conn.Exec(ctx, `SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots
			WHERE database = $1 AND NOT active AND NOT temporary`, name)
		if err == nil {
			var left int
			if err = conn.QueryRow(ctx, `SELECT count(*) FROM pg_replication_slots WHERE database = $1`, name).
				Scan(&left); err == nil && left == 0 {
				break
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("dropping its slots: %w", context.Cause(ctx))
		case <-time.After(20 * time.Millisecond):
		}
	}
	_, err = conn.Exec(ctx, `DROP DATABASE IF EXISTS `+pgx.Identifier{name}.Sanitize()+` WITH (FORCE)`)
	return err
}

// Exec runs statements one after the other, each on its own and possibly many in one text, on a connection
// of their own to the database at url.
func Exec(tb testing.TB, url string, statements ...string) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		tb.Fatal(err)
	}
	defer conn.Close(ctx)
	for _, statement := range statements {
		if _, err := conn.PgConn().Exec(ctx, statement).ReadAll(); err != nil {
			tb.Fatalf("running %q: %v", statement, err)
		}
	}
}
