// The demo shows Rowferry's main job in about a minute: a shop's database is copied and followed into a second
// database and into a file of JSON lines, while customers keep ordering. In the middle the daemon is killed the
// hard way and started again; at the end both targets are compared with the shop, row by row and value by value.
// With -kafka there is a third target, topics of Kafka, read for the comparison by another client library.
// It needs build/rowferry and installs Postgres, and Kafka, when there is none. Nothing is left behind but what it
// printed; after a failure the folder with configuration, logs and the file stays.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rowferry/rowferry/e2e/servers"
)

// limit ends a demo that hangs.
const limit = 3 * time.Minute

const major = 15

func main() {
	withKafka := flag.Bool("kafka", false, "add a pipeline into Kafka")
	flag.Parse()
	// The daemon ends with the thread that started it, see start.
	runtime.LockOSThread()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("it took longer than %s", limit))
	defer cancel()
	if err := run(ctx, *withKafka); err != nil {
		if ctx.Err() != nil {
			err = errors.Join(context.Cause(ctx), err)
		}
		fmt.Fprintf(os.Stderr, "\nThe demo failed: %v\n", err)
		os.Exit(1)
	}
}

// demo is what the steps share.
type demo struct {
	folder string         // configuration, state, log, and the file that is a target
	shop   string         // URL of the source
	copied string         // URL of the database that is a target
	events string         // path of the file
	kafka  *servers.Kafka // nil without topics
	daemon *daemon
	began  time.Time
}

// targets is "both targets", or how many there are.
func (d *demo) targets() string {
	if d.kafka != nil {
		return "all three targets"
	}
	return "both targets"
}

// say prints a step of the story, with the time since its beginning.
func (d *demo) say(format string, args ...any) {
	fmt.Printf("%5.1fs  %s\n", time.Since(d.began).Seconds(), fmt.Sprintf(format, args...))
}

// more prints what belongs to the line before.
func (d *demo) more(format string, args ...any) {
	fmt.Printf("        %s\n", fmt.Sprintf(format, args...))
}

func run(ctx context.Context, withKafka bool) (err error) {
	d := &demo{began: time.Now()}
	if d.folder, err = os.MkdirTemp("", "rowferry-demo-"); err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	d.events = filepath.Join(d.folder, "events.jsonl")
	defer func() {
		if d.daemon != nil {
			d.daemon.kill()
		}
		if err == nil {
			err = os.RemoveAll(d.folder)
			return
		}
		err = fmt.Errorf("%w\n%s\nConfiguration, log and file are in %s", err, logEnd(d.folder), d.folder)
	}()
	server, err := servers.Start(ctx, major, "")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Remove()) }()
	d.say("A throw-away Postgres %d server runs on port %d.", major, server.Port)
	if withKafka {
		if d.kafka, err = servers.StartKafka(ctx, servers.KafkaOptions{}); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, d.kafka.Remove()) }()
		d.say("A throw-away Kafka %s broker listens at %s.", d.kafka.Version, d.kafka.Addr())
	}
	if err := d.prepare(ctx, server); err != nil {
		return err
	}
	counts, err := d.replicate(ctx, server)
	if err != nil {
		return err
	}
	return d.prove(ctx, counts)
}

// prepare makes the databases and opens the shop.
func (d *demo) prepare(ctx context.Context, server *servers.Server) error {
	conn, err := pgx.Connect(ctx, server.URL("postgres"))
	if err != nil {
		return fmt.Errorf("connecting to the server: %w", err)
	}
	defer conn.Close(ctx)
	for _, statement := range []string{`CREATE DATABASE shop`, `CREATE DATABASE warehouse`} {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return fmt.Errorf("making the databases: %w", err)
		}
	}
	d.shop, d.copied = server.URL("shop"), server.URL("warehouse")
	rows, err := fill(ctx, d.shop)
	if err != nil {
		return err
	}
	d.say("The database shop has %s rows in %d tables; the database warehouse is empty.", thousands(rows), len(tables))
	return nil
}

// replicate runs the daemon beside customers, kills it on the way, and stops it when all has arrived.
func (d *demo) replicate(ctx context.Context, server *servers.Server) (counts, error) {
	writer := startWriter(ctx, d.shop)
	defer writer.close()
	d.say("Customers begin to order: %d of them write at the same time from now on.", customersAtOnce)

	if err := d.configure(); err != nil {
		return counts{}, err
	}
	if err := d.startDaemon(); err != nil {
		return counts{}, err
	}
	if d.kafka == nil {
		d.say("Rowferry starts: one daemon, two pipelines, shop to warehouse and shop to a JSON-lines file.")
	} else {
		d.say("Rowferry starts: one daemon, three pipelines, shop to warehouse, to a JSON-lines file and to Kafka topics.")
	}
	if err := d.awaitStreaming(ctx); err != nil {
		return counts{}, err
	}
	d.say("Every existing row is copied, and changes are followed as they happen.")
	if err := pause(ctx, 5*time.Second); err != nil {
		return counts{}, err
	}

	before := writer.counts()
	d.daemon.kill()
	d.say("Killed! SIGKILL in the middle of its work, after %s transactions. The shop stays open.", thousands(before.transactions))
	if err := pause(ctx, 2*time.Second); err != nil {
		return counts{}, err
	}
	if err := d.startDaemon(); err != nil {
		return counts{}, err
	}
	d.say("Started again, with nothing but the same command. Meanwhile there were %s more transactions.",
		thousands(writer.counts().transactions-before.transactions))
	if err := d.awaitStreaming(ctx); err != nil {
		return counts{}, err
	}
	d.say("It found its place in %s and follows again.", d.targets())
	if err := pause(ctx, 4*time.Second); err != nil {
		return counts{}, err
	}

	total, err := writer.stop()
	if err != nil {
		return counts{}, fmt.Errorf("writing to the shop: %w", err)
	}
	d.say("The shop closes after %s transactions with %s changed rows.", thousands(total.transactions), thousands(total.rows))
	if err := d.awaitLast(ctx, server); err != nil {
		return counts{}, err
	}
	d.say("The last change has arrived in %s.", d.targets())
	return total, d.daemon.stop(ctx)
}

// prove compares the targets with the source.
func (d *demo) prove(ctx context.Context, total counts) error {
	rows, err := compareDatabases(ctx, d.shop, d.copied)
	if err != nil {
		return fmt.Errorf("comparing the databases: %w", err)
	}
	d.say("Compared: all %s rows of warehouse equal those of shop, column by column.", thousands(rows))
	lines, rows, err := compareFile(ctx, d.shop, d.events)
	if err != nil {
		return fmt.Errorf("comparing the file: %w", err)
	}
	d.say("Compared: the file's %s lines, replayed, give the same %s rows;", thousands(lines), thousands(rows))
	d.more("no line repeats another, none is missing, and every key's changes are in order.")
	if d.kafka != nil {
		records, rows, err := d.compareTopics(ctx)
		if err != nil {
			return fmt.Errorf("comparing the topics: %w", err)
		}
		d.say("Compared: the topics' %s records, read with isolation.level=read_committed, give the same %s rows;", thousands(records), thousands(rows))
		d.more("the reader is another client library's, and finds nothing twice, missing or out of order.")
	}
	fmt.Printf(`
Nothing was lost, doubled or reordered, although the daemon was killed in the middle of it.

What happened: Rowferry copied the shop from a snapshot and followed the database's log from exactly there.
Each target keeps the position it has reached beside its own data, and both change together or not at all. So
the second start asked the targets where they were, cut from the file what was not yet confirmed, and read
the log from there: %s transactions, each of them once.

The server, the databases and the file are gone again. Look at README.md to set it up for databases of your own.
`, thousands(total.transactions))
	return nil
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// thousands writes 1234567 as 1,234,567.
func thousands(n int64) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
