package e2e

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rowferry/rowferry/e2e/daemon"
	"github.com/rowferry/rowferry/e2e/load"
	"github.com/rowferry/rowferry/e2e/servers"
	"github.com/rowferry/rowferry/e2e/trial"
	"github.com/rowferry/rowferry/replicator/progress"
)

// A failpoint is a boundary at which the daemon may be stopped.
type failpoint struct {
	name    string
	nth     int // it acts when it is reached for the nth time
	target  trial.Target
	restart bool // it is armed for the second start: the first has left something to take up
}

// failpoints are all boundaries that exist between reading the source and telling it that a change is durable. The
// numbers put those that every group passes into the stream, beyond the groups of the copy.
var failpoints = []failpoint{
	{name: "src.connect", nth: 1, target: trial.Postgres},
	{name: "src.after_start", nth: 1, target: trial.Postgres},
	{name: "src.msg", nth: 300, target: trial.Postgres},
	{name: "src.mid_txn", nth: 40, target: trial.Postgres},
	{name: "src.before_commit_msg", nth: 20, target: trial.Postgres},
	{name: "spill.write", nth: 5, target: trial.Postgres},
	{name: "spill.replay", nth: 1, target: trial.Postgres},
	{name: "snap.before_slot", nth: 1, target: trial.Postgres},
	{name: "snap.after_slot", nth: 1, target: trial.Postgres},
	{name: "snap.after_export", nth: 1, target: trial.Postgres},
	{name: "snap.table.done", nth: 3, target: trial.Postgres},
	{name: "apply.before_cas", nth: 40, target: trial.Postgres},
	{name: "apply.after_cas", nth: 40, target: trial.Postgres},
	{name: "apply.mid", nth: 25, target: trial.Postgres},
	{name: "apply.before_commit", nth: 40, target: trial.Postgres},
	{name: "apply.commit_sent_no_reply", nth: 40, target: trial.Postgres},
	{name: "apply.after_commit", nth: 40, target: trial.Postgres},
	{name: "apply.before_cas", nth: 40, target: trial.File},
	{name: "apply.after_cas", nth: 40, target: trial.File},
	{name: "apply.mid", nth: 25, target: trial.File},
	{name: "apply.before_commit", nth: 40, target: trial.File},
	{name: "apply.commit_sent_no_reply", nth: 40, target: trial.File},
	{name: "apply.after_commit", nth: 40, target: trial.File},
	{name: "ack.before", nth: 4, target: trial.Postgres},
	{name: "ack.after", nth: 4, target: trial.Postgres},
	{name: "state.tmp_written", nth: 1, target: trial.File, restart: true},
	{name: "state.before_rename", nth: 1, target: trial.File, restart: true},
	{name: "state.after_rename", nth: 1, target: trial.File, restart: true},
	{name: "src.after_start", nth: 1, target: trial.Kafka},
	{name: "src.mid_txn", nth: 40, target: trial.Kafka},
	{name: "src.before_commit_msg", nth: 20, target: trial.Kafka},
	{name: "spill.replay", nth: 1, target: trial.Kafka},
	{name: "snap.after_slot", nth: 1, target: trial.Kafka},
	{name: "snap.table.done", nth: 9, target: trial.Kafka}, // readers are told to forget what was copied
	{name: "kafka.begin", nth: 25, target: trial.Kafka},
	{name: "kafka.mid", nth: 60, target: trial.Kafka},
	{name: "kafka.before_offsets", nth: 40, target: trial.Kafka},
	{name: "kafka.before_end", nth: 3, target: trial.Kafka}, // in the copy
	{name: "kafka.before_end", nth: 40, target: trial.Kafka},
	{name: "kafka.end_sent_no_reply", nth: 1, target: trial.Kafka}, // of the ledger's first record
	{name: "kafka.end_sent_no_reply", nth: 40, target: trial.Kafka},
	{name: "kafka.after_end", nth: 40, target: trial.Kafka},
	{name: "ack.before", nth: 4, target: trial.Kafka},
	{name: "ack.after", nth: 4, target: trial.Kafka},
}

// TestFailpoints stops the real binary at every boundary in every way, under load, and wants every oracle silent.
func TestFailpoints(t *testing.T) {
	binary, err := daemon.Build(t.Context(), "failpoints")
	if err != nil {
		t.Fatal(err)
	}
	server := servers.StartForTest(t, servers.Major(t), "wal_sender_timeout=2s", "logical_decoding_work_mem=64kB")
	for i, point := range failpoints {
		for j, action := range []string{"kill", "error", "hang"} {
			t.Run(fmt.Sprintf("%s@%d/%s/%s", point.name, point.nth, point.target, action), func(t *testing.T) {
				t.Parallel()
				f := failure{failpoint: point, action: action}
				f.play(t, newTrial(t, server, trial.Options{
					Binary: binary, Targets: []trial.Target{point.target}, Besides: f.settings(),
				}, uint64(100*i+j)))
			})
		}
	}
}

// newTrial is a small source under a load that reaches everything soon.
func newTrial(t *testing.T, server *servers.Server, o trial.Options, seed uint64) *trial.Trial {
	t.Helper()
	profile := load.Full()
	profile.Weights[load.Big] = 240
	profile.WipeFrom = 120
	profile.BigRows = 1500
	folder, err := os.MkdirTemp("", "trial-*") // not the test's own: a server's user may have to read along
	if err != nil {
		t.Fatal(err)
	}
	o.Folder, o.Source, o.Target = folder, server.NewDatabase(t), server.NewDatabase(t)
	o.Old, o.Args = 1000, []string{"--grace", "1s"}
	inKafka(t, &o)
	o.Load = &load.Runner{Profile: profile, Seed: seed, Workers: 2, Rate: 120}
	if slices.Contains(o.Targets, trial.Kafka) {
		o.Load.Rate = 60 // the oracle reads everything in the end
		profile.Weights[load.Big] = 120
	}
	tr, err := trial.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		end := tr.End
		if t.Failed() {
			end = tr.Stuck
		}
		if err := end(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("what it wrote is in %s; the end of its log:\n%s", folder, tr.Daemon.LogEnd())
			return
		}
		if err := tr.Remove(); err != nil {
			t.Error(err)
		}
	})
	return tr
}

// inKafka gives a trial that needs it a place in the Kafka that tests share.
func inKafka(t *testing.T, o *trial.Options) {
	t.Helper()
	if slices.Contains(o.Targets, trial.Kafka) {
		kafka := servers.KafkaForTest(t, servers.KafkaNewest)
		o.Kafka, o.Prefix = kafka.Addr(), kafka.Prefix(t)
	}
}

// failure is one failpoint and what it does.
type failure struct {
	failpoint
	action string
}

// settings are those of the pipeline: where a call is to hang, the limit of such calls is short. (The server's is, for
// the goroutine that acknowledges.) Where the machine is busy, other calls run into it, too: they are repeated soon.
func (f failure) settings() daemon.Settings {
	if f.action != "hang" {
		return nil
	}
	call, limit := "read", "2s"
	switch kind, _, _ := strings.Cut(f.name, "."); kind {
	case "apply":
		call = "commit"
	case "kafka":
		call, limit = "commit", "4s" // a commit takes several requests
	case "state":
		call = "open"
	}
	return daemon.Settings{
		"timeouts": daemon.Settings{call: limit},
		"on_error": daemon.Settings{"retries": daemon.Settings{"backoff": "100ms..1s"}},
	}
}

// limit bounds the wait for anything in one of these tests. It is long, for machines that do much else: only what is stuck
// waits that long.
const limit = 90 * time.Second

func (f failure) play(t *testing.T, tr *trial.Trial) {
	ctx, cancel := context.WithTimeout(t.Context(), 4*limit)
	defer cancel()
	tr.Begin(ctx)
	if f.restart {
		start(t, tr)
		if err := tr.AwaitFollowing(ctx); err != nil {
			t.Fatal(err)
		}
		tr.Daemon.Kill()
	}
	start(t, tr, "ROWFERRY_FAILPOINTS="+f.name+"="+f.action+"@"+strconv.Itoa(f.nth))
	f.await(ctx, t, tr)
	switch f.action {
	case "kill":
		<-tr.Daemon.Ended()
		start(t, tr)
	case "hang":
		// A limit ends the call, and the pipeline begins again by itself.
		if err := tr.Daemon.Await(ctx, func(p progress.Pipeline) bool { return p.Retries > 0 }); err != nil {
			t.Fatalf("hanging at %s: %v", f.name, err)
		}
	}
	if err := tr.AwaitFollowing(ctx); err != nil {
		t.Fatal(err)
	}
	pause(ctx, 300*time.Millisecond) // the load goes on over what happened
	if err := tr.Finish(ctx); err != nil {
		t.Fatal(err)
	}
	if !tr.Report.Clean() {
		t.Errorf("after %s at %s:\n%s", f.action, f.name, tr.Report)
	}
}

// await waits until the failpoint has acted.
func (f failure) await(ctx context.Context, t *testing.T, tr *trial.Trial) {
	t.Helper()
	want := "failpoint " + f.name + ": " + f.action
	for !strings.Contains(tr.Daemon.Log(), want) {
		select {
		case <-tr.Daemon.Ended():
			if !strings.Contains(tr.Daemon.Log(), want) {
				t.Fatalf("the daemon ended before it came to %s", f.name)
			}
			return
		case <-ctx.Done():
			t.Fatalf("the daemon did not come to %s", f.name)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func start(t *testing.T, tr *trial.Trial, env ...string) {
	t.Helper()
	if err := tr.Start(env...); err != nil {
		t.Fatal(err)
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
