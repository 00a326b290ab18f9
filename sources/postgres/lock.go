package postgres

import (
	"context"
	_ "embed" // the query
	"errors"
	"fmt"
	"hash/fnv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rowferry/rowferry/schema/fault"
)

//go:embed queries/lock_holder.sql
var lockHolderSQL string

const (
	lockPing     = time.Second     // how often the holder makes sure that it still holds
	lockPatience = 5 * time.Second // without an answer for so long, the lock counts as lost
)

// lockKey is the advisory lock of a pipeline and its slot. Advisory locks live in one database, as slots do.
func (s *Source) lockKey() int64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "rowferry\x00%s\x00%s", s.rt.Pipeline, s.cfg.Slot.Name)
	return int64(h.Sum64())
}

// Lock takes a session advisory lock on a connection of its own. The server finds a dead holder by the short TCP
// keepalives of its session; the holder finds a dead server by asking every second.
func (s *Source) Lock(ctx context.Context) (<-chan struct{}, func(), error) {
	conn, err := s.open(ctx)
	if err != nil {
		return nil, nil, err
	}
	if err := s.takeLock(ctx, conn); err != nil {
		closeConn(conn.PgConn())
		return nil, nil, err
	}
	s.led.Store(true)
	recovering, err := inRecovery(ctx, conn)
	if err != nil {
		closeConn(conn.PgConn())
		return nil, nil, classify(fmt.Errorf("locking the source: %w", err))
	}
	watch, stop := context.WithCancel(context.Background())
	lost, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		watchLock(watch, conn, recovering, lost)
	}()
	release := func() {
		stop()
		<-done
		closeConn(conn.PgConn())
	}
	return lost, release, nil
}

// takeLock asks once, and once more after ending the holder when told to take over. Who has held the lock before does
// not take it over again: two that are both told to would end each other's sessions for ever.
func (s *Source) takeLock(ctx context.Context, conn *pgx.Conn) error {
	// Not every platform's server can do this, and the keepalives do without.
	_, _ = conn.Exec(ctx, "SET client_connection_check_interval = '2s'")
	key := s.lockKey()
	var held bool
	if err := conn.QueryRow(ctx, "SELECT pg_try_advisory_lock($1)", key).Scan(&held); err != nil {
		return classify(fmt.Errorf("locking the source: %w", err))
	}
	if held {
		return nil
	}
	pid, holder, err := lockHolder(ctx, conn, key)
	if err != nil {
		return err
	}
	if !s.rt.TakeOver || s.led.Load() || pid == 0 {
		return fault.InUse(holder)
	}
	s.log.Warn().Str("holder", holder).Msg("taking over: ending the session that holds the source")
	if _, err := conn.Exec(ctx, "SELECT pg_terminate_backend($1)", pid); err != nil {
		return classify(fmt.Errorf("ending the holder's session: %w", err))
	}
	// The lock is free when the other session has ended; waiting for it is bounded by lock_timeout.
	if _, err := conn.Exec(ctx, "SET lock_timeout = '5s'"); err != nil {
		return classify(fmt.Errorf("locking the source: %w", err))
	}
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock($1)", key); err != nil {
		return fault.InUse(holder)
	}
	return nil
}

// lockHolder names who holds the lock. pid is 0 when nobody does any more.
func lockHolder(ctx context.Context, conn *pgx.Conn, key int64) (pid int32, holder string, err error) {
	var application, client string
	var since time.Time
	err = conn.QueryRow(ctx, lockHolderSQL, uint32(uint64(key)>>32), uint32(uint64(key))).
		Scan(&pid, &application, &client, &since)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, "a session that has just ended", nil
	}
	if err != nil {
		return 0, "", classify(fmt.Errorf("asking who holds the source: %w", err))
	}
	return pid, fmt.Sprintf("%s from %s, server process %d, since %s",
		application, client, pid, since.UTC().Format(time.RFC3339)), nil
}

// inRecovery tells whether the server replays another one's log.
func inRecovery(ctx context.Context, conn *pgx.Conn) (recovering bool, err error) {
	err = conn.QueryRow(ctx, "SELECT pg_is_in_recovery()").Scan(&recovering)
	return recovering, err
}

// watchLock closes lost when the session that holds the lock is gone. A standby that is promoted counts as that,
// too: from then on its positions are of another timeline, which only a new start finds out.
func watchLock(ctx context.Context, conn *pgx.Conn, recovering bool, lost chan<- struct{}) {
	ticker := time.NewTicker(lockPing)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		ping, cancel := context.WithTimeout(ctx, lockPatience)
		now, err := inRecovery(ping, conn)
		cancel()
		if ctx.Err() != nil {
			return
		}
		if err != nil || now != recovering {
			close(lost)
			return
		}
	}
}
