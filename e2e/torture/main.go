// Torture runs the shipped binary under a load and kills it at random, again and again, in every phase of its life,
// while the oracles watch; then it says what was lost, doubled, reordered or torn.
//
//	make torture DURATION=10m SEED=7
//	make torture KILLS=300 TARGET=postgres
//	make torture KILLS=300 TARGET=kafka
//	make torture DUEL=10m TARGET=kafka
//	make torture DURATION=10m RACE=1
//	make torture SIZES=1
//	make torture CONSUMERS=1
//
// Each round is a fresh source with a Postgres database, a file, topics of Kafka, or several of them as targets of one
// daemon. A broker is killed now and then, too; rounds take turns with the newest and the oldest Kafka. A seed gives the
// same load and the same plan of kills again; where exactly a kill falls is the scheduler's doing. A round takes 2 to 3
// seconds a kill on two cores that have nothing else to do. With sizes there are no kills, but transactions, tables and
// values as large as they get. In a duel two daemons of one configuration fight for its pipelines, each under a
// supervisor that starts it again. With consumers it is one round into topics, which Debezium's JDBC sink reads into a
// database that is compared with the source.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/rowferry/rowferry/e2e/daemon"
	"github.com/rowferry/rowferry/e2e/oracle"
	"github.com/rowferry/rowferry/e2e/servers"
	"github.com/rowferry/rowferry/e2e/trial"
)

// options are the flags.
type options struct {
	duration time.Duration
	kills    int
	seed     uint64
	binary   string
	targets  []trial.Target
	major    int
	steps    int
	rate     float64
	old      int
	sizes    float64
	duel     bool
	sinks    bool
	verbose  bool
	inKafka  daemon.Settings // further settings of a target in Kafka
	prefix   string          // of names in Kafka; one of the round's own when empty
}

func main() {
	var o options
	var targets string
	flag.DurationVar(&o.duration, "duration", 2*time.Minute, "how long to go on; the round at hand is finished")
	flag.IntVar(&o.kills, "kills", 0, "go on until so many kills, however long that takes, in place of -duration")
	flag.Uint64Var(&o.seed, "seed", 0, "of the load and the plan of kills; 0 takes one from the clock")
	flag.StringVar(&o.binary, "binary", "build/rowferry", "what to torture")
	flag.StringVar(&targets, "targets", "postgres,file", "kinds of targets, all in one daemon")
	flag.IntVar(&o.major, "postgres", 15, "major version of the servers")
	flag.IntVar(&o.steps, "steps", 45, "kills and the like in each round, after the copy")
	flag.Float64Var(&o.rate, "rate", 250, "transactions a second")
	flag.IntVar(&o.old, "rows", 60_000, "rows that the first copy finds")
	flag.Float64Var(&o.sizes, "sizes", 0, "play large transactions, tables and values instead: 1 for their full size")
	flag.BoolVar(&o.duel, "duel", false, "let two daemons fight for the pipelines, for -duration")
	flag.BoolVar(&o.sinks, "consumers", false, "let Debezium's JDBC sink read the topics, and compare what it wrote")
	flag.BoolVar(&o.verbose, "v", false, "say every step")
	flag.Parse()
	if o.seed == 0 {
		o.seed = uint64(time.Now().UnixNano()) % 1_000_000
	}
	for _, t := range strings.Split(targets, ",") {
		o.targets = append(o.targets, trial.Target(t))
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	code := 0
	if play := o.other(); play == nil {
		code = run(ctx, o)
	} else if err := play(ctx, o); err != nil {
		fmt.Printf("FAILED: %v\n", err)
		code = 1
	}
	stop()
	os.Exit(code)
}

// other is what is to be played in place of rounds of kills; nil for those.
func (o options) other() func(context.Context, options) error {
	switch {
	case o.sizes > 0:
		return runSizes
	case o.sinks:
		return runConsumers
	}
	return nil
}

func run(ctx context.Context, o options) int {
	total := newTally()
	began := time.Now()
	s, err := o.stage(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, "torture:", errors.Join(err, s.remove()))
		return 1
	}
	fmt.Printf("torture: seed %d, Postgres %d, %s, targets %v\n", o.seed, o.major, o.length(), o.targets)
	if o.duel {
		err = duel(ctx, o, s)
	} else {
		for n := 0; n == 0 || o.goesOn(total.killed(), time.Since(began)); n++ {
			if err = round(ctx, o, s, n, total); err != nil {
				break
			}
		}
	}
	if removeErr := s.remove(); err == nil {
		err = removeErr
	}
	if !o.duel {
		total.print(os.Stdout, time.Since(began))
		if err == nil {
			err = total.complete()
		}
	}
	if err != nil {
		fmt.Printf("FAILED: %v\n", err)
		fmt.Printf("again with: make torture %s SEED=%d TARGET=%s\n", o.length(), o.seed, join(o.targets))
		return 1
	}
	fmt.Println("nothing lost, nothing doubled, nothing reordered, nothing torn")
	return 0
}

// length is how long to go on, as make takes it.
func (o options) length() string {
	switch {
	case o.duel:
		return fmt.Sprintf("DUEL=%v", o.duration)
	case o.kills > 0:
		return fmt.Sprintf("KILLS=%d", o.kills)
	}
	return fmt.Sprintf("DURATION=%v", o.duration)
}

// goesOn tells whether there is to be another round.
func (o options) goesOn(kills int, took time.Duration) bool {
	if o.kills > 0 {
		return kills < o.kills
	}
	return took < o.duration
}

func join(targets []trial.Target) string {
	var names []string
	for _, t := range targets {
		names = append(names, string(t))
	}
	return strings.Join(names, ",")
}

var errFound = errors.New("the oracles found something")

// stage is the servers that rounds are played on.
type stage struct {
	server *servers.Server
	kafka  []*servers.Kafka // of both ends of the range of versions, which take turns; none when nothing goes there
}

// stage starts the servers that the targets need. After an error, too, the caller removes them.
func (o options) stage(ctx context.Context) (s stage, err error) {
	if s.server, err = servers.Start(ctx, o.major, ""); err != nil {
		return s, err
	}
	if !slices.Contains(o.targets, trial.Kafka) {
		return s, nil
	}
	for _, version := range []string{servers.KafkaNewest, servers.KafkaOldest} {
		k, err := servers.StartKafka(ctx, servers.KafkaOptions{Version: version})
		if err != nil {
			return s, err
		}
		s.kafka = append(s.kafka, k)
	}
	return s, nil
}

// broker is the Kafka of a round, nil when nothing goes there. The seed chooses, so that it replays.
func (s stage) broker(seed uint64) *servers.Kafka {
	if len(s.kafka) == 0 {
		return nil
	}
	return s.kafka[seed%uint64(len(s.kafka))]
}

func (s stage) remove() error {
	var err error
	for _, k := range s.kafka {
		err = errors.Join(err, k.Remove())
	}
	if s.server != nil {
		err = errors.Join(err, s.server.Remove())
	}
	return err
}

// staged is a trial on a stage.
type staged struct {
	*trial.Trial
	folder, source, target string
}

// newRound makes the trial of a round, and what drops its databases.
func newRound(ctx context.Context, o options, s stage, n int) (*staged, func(context.Context) error, error) {
	folder, err := os.MkdirTemp("", "torture-*")
	if err != nil {
		return nil, nil, fmt.Errorf("making a folder: %w", err)
	}
	source, target, drop, err := trial.Databases(ctx, s.server.URL("postgres"), fmt.Sprintf("torture_%d_%d", os.Getpid(), n))
	if err != nil {
		return nil, nil, err
	}
	options := trial.Options{
		Binary: o.binary, Folder: folder, Source: source, Target: target, Targets: o.targets,
		Load: o.load(o.seed + uint64(n)), Old: o.old, InKafka: o.inKafka, Prefix: o.prefix,
	}
	if k := s.broker(o.seed + uint64(n)); k != nil {
		options.Kafka = k.Addr()
		// What stalls while a broker is away is tried again soon.
		options.Besides = daemon.Settings{"on_error": daemon.Settings{"retries": daemon.Settings{"backoff": "100ms..2s"}}}
	}
	t, err := trial.New(ctx, options)
	return &staged{Trial: t, folder: folder, source: source, target: target}, drop, err
}

// round is one life of a pipeline, from the first copy on. What it leaves behind is kept when something was found.
func round(ctx context.Context, o options, s stage, n int, total *tally) (err error) {
	seed := o.seed + uint64(n)
	t, drop, err := newRound(ctx, o, s, n)
	if err != nil {
		return err
	}
	r := &rounder{staged: t, kafka: s.broker(seed), options: o, rand: rand.New(rand.NewPCG(seed, 1)), tally: total, began: time.Now()}
	err = r.play(ctx)
	_, changes, _ := t.Load().Log().Totals()
	total.add(t.Report, int64(o.old), changes)
	if err == nil && !t.Report.Clean() {
		err = errFound
	}
	if err != nil {
		end := t.End
		if errors.Is(err, context.DeadlineExceeded) {
			end = t.Stuck
		}
		err = errors.Join(fmt.Errorf("round %d (seed %d): %w", n, seed, err), end())
		return errors.Join(err, keep(t.folder, seed, t.Trial))
	}
	fmt.Printf("  round %d (seed %d): %s\n", n, seed, r.line())
	return errors.Join(t.Remove(), drop(ctx))
}

// keep moves what a failed round wrote to where it is found, and says what the oracles said.
func keep(folder string, seed uint64, t *trial.Trial) error {
	fmt.Print(t.Report)
	root, err := daemon.Root()
	if err != nil {
		return err
	}
	kept := filepath.Join(root, "build", "torture", fmt.Sprint(seed))
	if err := os.RemoveAll(kept); err != nil {
		return err
	}
	if err := os.CopyFS(kept, os.DirFS(folder)); err != nil {
		return fmt.Errorf("keeping what the round wrote: %w", err)
	}
	fmt.Printf("configuration, log, state and file of the round: %s\n", kept)
	return os.RemoveAll(folder)
}

// classes that the last line names, in its order.
var summary = []oracle.Class{oracle.Lost, oracle.Doubled, oracle.Reordered, oracle.Torn}
