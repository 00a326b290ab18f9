package debezium

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/rowferry/rowferry/e2e/daemon"
	"github.com/rowferry/rowferry/e2e/oracle"
	"github.com/rowferry/rowferry/e2e/servers"
	"github.com/rowferry/rowferry/replicator/progress"
)

// publication is what both sides read by.
const publication = "dbz_publication"

// Stage plays recordings on a server and a broker.
type Stage struct {
	Server  *servers.Server
	Brokers string
	Connect *servers.Connect // nil to compare with what was recorded
	Binary  string           // Rowferry
	Psql    string
	Folder  string // for configurations, logs, and what was written

	client *kgo.Client
}

// Played is one recording that was played: what Debezium wrote, now or when it was recorded, and what Rowferry wrote.
type Played struct {
	*Recording
	Theirs, Ours []Record
	Failure      error  // of the connector, after which it wrote nothing more
	prefix, name string // of topics: Debezium's, and Rowferry's
}

// Play plays recordings of a group at once, each by a pipeline of its own.
func (s *Stage) Play(ctx context.Context, group []*Recording) (_ []*Played, err error) {
	if s.client, err = kgo.NewClient(kgo.SeedBrokers(strings.Split(s.Brokers, ",")...)); err != nil {
		return nil, fmt.Errorf("connecting to Kafka: %w", err)
	}
	defer s.client.Close()
	var id [4]byte
	_, _ = rand.Read(id[:]) // it never fails
	run := "r" + hex.EncodeToString(id[:])
	script, all := group[0].Script, group[0].everythingBefore()
	source, err := s.prepare(ctx, run, script)
	if err == nil && all {
		err = s.psql(ctx, source, script.After)
	}
	if err != nil {
		return nil, err
	}
	played := make([]*Played, len(group))
	for i, r := range group {
		played[i] = &Played{Recording: r, prefix: r.Config["topic.prefix"], name: run + "x" + strconv.Itoa(i)} // letters and digits: names are adjusted
		if s.Connect == nil {
			if played[i].Theirs, err = r.Records(); err != nil {
				return nil, err
			}
		}
	}
	if s.Connect != nil {
		end, err := s.connectors(ctx, run, played)
		defer end()
		if err != nil {
			return nil, err
		}
	}
	d, err := s.start(source, run, played)
	if err != nil {
		return nil, err
	}
	defer d.Kill()
	if err := d.Await(ctx, func(p progress.Pipeline) bool { return p.State == progress.Streaming }); err != nil {
		return nil, fmt.Errorf("%w; see %s", err, filepath.Join(s.Folder, run))
	}
	if !all {
		if err := s.psql(ctx, source, script.After); err != nil {
			return nil, err
		}
	}
	if err := s.collect(ctx, played); err != nil {
		return nil, err
	}
	if s.Connect != nil {
		for _, p := range played {
			if _, err := s.Connect.Running(ctx, p.prefix); err != nil {
				p.Failure = err
			}
		}
	}
	return played, s.keep(filepath.Join(s.Folder, run), played)
}

// prepare makes a database with what the script has before, and a publication.
func (s *Stage) prepare(ctx context.Context, run string, script Script) (string, error) {
	if err := execute(ctx, s.Server.URL("postgres"), "CREATE DATABASE "+run); err != nil {
		return "", err
	}
	source := s.Server.URL(run)
	if err := execute(ctx, source, "CREATE PUBLICATION "+publication+" FOR ALL TABLES"); err != nil {
		return "", err
	}
	return source, s.psql(ctx, source, script.Before)
}

// psql runs sessions one after the other.
func (s *Stage) psql(ctx context.Context, url string, sessions []string) error {
	for _, text := range sessions {
		cmd := exec.CommandContext(ctx, s.Psql, "-X", "-q", "-o", "/dev/null", "-v", "ON_ERROR_STOP=1", "-d", url, "-f", "-")
		cmd.Env = append(os.Environ(), "PGOPTIONS=-c timezone=UTC")
		cmd.Stdin = strings.NewReader(text)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("running the script: %w: %s", err, out)
		}
	}
	return nil
}

// start starts Rowferry.
func (s *Stage) start(source, run string, played []*Played) (*daemon.Daemon, error) {
	o := daemon.Options{Binary: s.Binary, Folder: filepath.Join(s.Folder, run)}
	for _, p := range played {
		from, to, err := p.settings()
		if err != nil {
			return nil, err
		}
		o.Pipelines = append(o.Pipelines, daemon.Pipeline{
			Name: p.name, Source: source, Target: "kafka://" + s.Brokers, Include: []string{"*.*"},
			InSource: from, InTarget: to, Snapshot: daemon.Settings{"workers": 1},
		})
	}
	return daemon.Start(o)
}

// connectors starts one for each recording, and waits until those that stream have their slots. end deletes them.
func (s *Stage) connectors(ctx context.Context, run string, played []*Played) (end func(), err error) {
	var names []string
	end = func() {
		for _, name := range names {
			_ = s.Connect.Delete(context.WithoutCancel(ctx), name) // the worker ends soon in any case
		}
	}
	for i, p := range played {
		p.prefix = "d" + p.name
		config := map[string]string{
			"connector.class": "io.debezium.connector.postgresql.PostgresConnector", "tasks.max": "1",
			"database.hostname": "127.0.0.1", "database.port": strconv.Itoa(s.Server.Port), "database.user": "postgres",
			"database.password": "none", "exactly.once.support": "required", "transaction.boundary": "poll",
			"topic.creation.default.replication.factor": "1", "topic.creation.default.partitions": "1",
		}
		maps.Copy(config, p.Config)
		slot := fmt.Sprintf("debezium_%s_%d", run, i)
		maps.Copy(config, map[string]string{
			"database.dbname": run, "topic.prefix": p.prefix, "slot.name": slot, "publication.name": publication,
		})
		if err := s.Connect.Create(ctx, p.prefix, config); err != nil {
			return end, err
		}
		names = append(names, p.prefix)
		if !p.everythingBefore() {
			if err := s.awaitSlot(ctx, slot); err != nil {
				return end, fmt.Errorf("connector of %s: %w\n%s", p.Name, err, s.Connect.Log())
			}
		}
	}
	return end, nil
}

// slotLimit is how long a connector may take until it streams.
const slotLimit = time.Minute

// awaitSlot waits until a slot is being read.
func (s *Stage) awaitSlot(ctx context.Context, slot string) error {
	ctx, cancel := context.WithTimeout(ctx, slotLimit)
	defer cancel()
	for active := false; !active; {
		conn, err := pgx.Connect(ctx, s.Server.URL("postgres"))
		if err != nil {
			return fmt.Errorf("connecting: %w", err)
		}
		err = conn.QueryRow(ctx, `SELECT count(*) > 0 FROM pg_replication_slots WHERE slot_name = $1 AND active`, slot).Scan(&active)
		if err = errors.Join(err, conn.Close(ctx)); err != nil {
			return fmt.Errorf("waiting for slot %s to be read: %w", slot, err)
		}
		if err := pause(ctx); err != nil {
			return fmt.Errorf("waiting for slot %s to be read: %w", slot, err)
		}
	}
	return nil
}

func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(between):
		return nil
	}
}

const (
	between = 500 * time.Millisecond // looks at topics
	// looks is how often nothing new is seen before what is there is taken for all: few where both sides have as many
	// records, which they may not have for good.
	looks, looksUnequal = 2, 20
)

// collect reads the topics of both sides until nothing comes any more.
func (s *Stage) collect(ctx context.Context, played []*Played) error {
	for quiet, last := 0, -1; ; quiet++ {
		there, unequal := 0, false
		for _, p := range played {
			var err error
			if p.Ours, err = s.read(ctx, p.name); err != nil {
				return err
			}
			if s.Connect != nil {
				if p.Theirs, err = s.read(ctx, p.prefix); err != nil {
					return err
				}
			}
			there += len(p.Ours) + len(p.Theirs)
			unequal = unequal || len(p.Ours) != len(p.Theirs)
		}
		if there != last {
			quiet, last = 0, there
		}
		if quiet >= looks && !unequal || quiet >= looksUnequal {
			return nil
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
}

// read reads the topics with a prefix, but for the ledger, by topic and offset.
func (s *Stage) read(ctx context.Context, prefix string) ([]Record, error) {
	topics, err := servers.KafkaTopics(ctx, s.client, prefix+".")
	if err != nil {
		return nil, err
	}
	topics = slices.DeleteFunc(topics, func(name string) bool { return strings.HasSuffix(name, ".rowferry.ledger") })
	if len(topics) == 0 {
		return nil, nil
	}
	var out []Record
	for r, err := range (oracle.KafkaReader{Client: s.client, Topics: topics}).Records(ctx) {
		if err != nil {
			return nil, fmt.Errorf("reading the topics: %w", err)
		}
		one := Record{Topic: r.Topic, Offset: r.Offset, Key: r.Key, Value: r.Value}
		for _, h := range r.Headers {
			if one.Headers == nil {
				one.Headers = map[string]string{}
			}
			one.Headers[h.Key] = string(h.Value)
		}
		out = append(out, one)
	}
	return out, nil
}

// keep leaves what Rowferry wrote in the form of a recording, to be looked at.
func (s *Stage) keep(folder string, played []*Played) error {
	for _, p := range played {
		f, err := os.Create(filepath.Join(folder, p.Name+".ours.jsonl"))
		if err != nil {
			return fmt.Errorf("keeping the records: %w", err)
		}
		if err := errors.Join(Write(f, p.Ours), f.Close()); err != nil {
			return err
		}
	}
	return nil
}

// Compare compares the two sides. allowed is what is accepted.
func (p *Played) Compare(allowed *Allowed) *Comparison {
	c := &Comparison{allowed: allowed}
	c.all(byTopic(p.Theirs, p.prefix), byTopic(p.Ours, p.name))
	return c
}

// execute runs statements, each on its own.
func execute(ctx context.Context, url string, statements ...string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	defer conn.Close(ctx)
	for _, statement := range statements {
		if _, err := conn.PgConn().Exec(ctx, statement).ReadAll(); err != nil {
			return fmt.Errorf("running a statement: %w", err)
		}
	}
	return nil
}
