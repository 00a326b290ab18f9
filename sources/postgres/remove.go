package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/sources"
)

// Leftovers implements sources.Remover: the slots first, because a publication that goes first leaves a slot that
// cannot be read.
func (s *Source) Leftovers(ctx context.Context, made []string) ([]sources.Leftover, error) {
	conn, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	defer closeConn(conn.PgConn())
	var slots, publications []sources.Leftover
	for _, name := range made {
		kind, object, _ := strings.Cut(name, ":")
		sql, err := removal(kind, object)
		if err != nil {
			return nil, err
		}
		exists, err := s.objectExists(ctx, conn, kind, object)
		if err != nil {
			return nil, err
		}
		if !exists {
			continue
		}
		left := sources.Leftover{Name: name, SQL: sql}
		if kind == "slot" {
			slots = append(slots, left)
		} else {
			publications = append(publications, left)
		}
	}
	return append(slots, publications...), nil
}

// removal is the statement that drops an object.
func removal(kind, object string) (string, error) {
	switch kind {
	case "slot":
		return "SELECT pg_drop_replication_slot(" + quoteLiteral(object) + ")", nil
	case "publication":
		return "DROP PUBLICATION " + quoteName(object), nil
	}
	return "", fault.Halt("source.state", fmt.Errorf("the ledger lists %q, which this version does not make", kind+":"+object),
		"use the version that wrote the ledger, or drop the object by hand")
}

// objectExists tells whether a slot, or a publication that Rowferry made, is there. The ledger names what is about to be
// made: after a crash, somebody else may have made a publication of that name.
func (s *Source) objectExists(ctx context.Context, conn *pgx.Conn, kind, object string) (bool, error) {
	var exists bool
	var err error
	if kind == "publication" {
		var foreign bool
		err = conn.QueryRow(ctx, `SELECT count(*) > 0, count(*) FILTER (WHERE obj_description(oid, 'pg_publication') IS DISTINCT FROM $2) > 0
			FROM pg_publication WHERE pubname = $1`, object, s.cfg.madeMark()).Scan(&exists, &foreign)
		if err == nil && foreign {
			s.log.Info().Str("publication", object).Msg("the publication stays: it does not have the comment of one that Rowferry made")
			return false, nil
		}
	} else {
		err = conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = $1 AND database = current_database())`,
			object).Scan(&exists)
	}
	if err != nil {
		return false, classify(fmt.Errorf("looking for %s %s: %w", kind, object, err))
	}
	return exists, nil
}

// Remove implements sources.Remover. An object that is gone already is no error; a slot that is read is refused.
func (s *Source) Remove(ctx context.Context, l sources.Leftover) error {
	kind, object, _ := strings.Cut(l.Name, ":")
	sql, err := removal(kind, object)
	if err != nil {
		return err
	}
	conn, err := s.open(ctx)
	if err != nil {
		return err
	}
	defer closeConn(conn.PgConn())
	if kind == "slot" {
		slot, err := readSlot(ctx, conn, object)
		if err != nil || slot == nil {
			return err
		}
		if slot.active {
			return fault.Wait("source.slot_active", fmt.Errorf("slot %s is read by %s: stop it first", object, slot.reader()))
		}
	}
	exists, err := s.objectExists(ctx, conn, kind, object)
	if err != nil || !exists {
		return err
	}
	if _, err := conn.Exec(ctx, sql); err != nil {
		return classify(fmt.Errorf("removing %s %s: %w", kind, object, err))
	}
	return nil
}
