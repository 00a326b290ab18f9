package e2e

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rowferry/rowferry/e2e/daemon"
	"github.com/rowferry/rowferry/e2e/load"
	"github.com/rowferry/rowferry/e2e/oracle"
	"github.com/rowferry/rowferry/e2e/servers"
	"github.com/rowferry/rowferry/e2e/trial"
)

// TestPlantedBugsAreFound builds the binary with bugs that break each promise, and without, and wants the oracles to
// tell one from the other.
func TestPlantedBugsAreFound(t *testing.T) {
	server := servers.StartForTest(t, servers.Major(t))
	tests := []struct {
		bug    string
		tags   []string // of both builds
		target trial.Target
		play   func(ctx context.Context, t *testing.T, tr *trial.Trial, target string)
		want   []oracle.Class // one of them with the bug, none without
	}{
		{bug: "bug_ack_early", target: trial.Postgres, play: holdUp, want: []oracle.Class{oracle.Acked}},
		{bug: "bug_no_cas", target: trial.Postgres, play: fence, want: []oracle.Class{oracle.Doubled}},
		{
			bug: "bug_file_not_cut", tags: []string{"failpoints"}, target: trial.File, play: killBeforeTheFrame,
			want: []oracle.Class{oracle.Doubled, oracle.Torn, oracle.Wrong}, // as the cut falls
		},
		{
			bug: "bug_kafka_apart", tags: []string{"failpoints"}, target: trial.Kafka, play: killBeforeThePosition,
			want: []oracle.Class{oracle.Doubled},
		},
	}
	for _, test := range tests {
		for _, planted := range []bool{true, false} {
			name, tags := test.bug+"/without", test.tags
			if planted {
				name, tags = test.bug+"/planted", append([]string{test.bug}, test.tags...)
			}
			t.Run(name, func(t *testing.T) {
				binary, err := daemon.Build(t.Context(), tags...)
				if err != nil {
					t.Fatal(err)
				}
				source, target := server.NewDatabase(t), server.NewDatabase(t)
				tr := plantedTrial(t, trial.Options{Binary: binary, Source: source, Target: target, Targets: []trial.Target{test.target}})
				ctx, cancel := context.WithTimeout(t.Context(), limit)
				defer cancel()
				test.play(ctx, t, tr, target)
				found := 0
				for _, class := range test.want {
					found += tr.Report.Count(class)
				}
				if planted && found == 0 {
					t.Errorf("the bug was not found: want one of %v, got:\n%s", test.want, tr.Report)
				}
				if !planted && !tr.Report.Clean() {
					t.Errorf("without the bug, got:\n%s", tr.Report)
				}
			})
		}
	}
}

func plantedTrial(t *testing.T, o trial.Options) *trial.Trial {
	t.Helper()
	o.Folder, o.Old, o.Args = t.TempDir(), 500, []string{"--grace", "1s"}
	inKafka(t, &o)
	o.Load = &load.Runner{Profile: load.Full(), Seed: 1, Workers: 2, Rate: 120}
	tr, err := trial.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tr.End() }) // what it watched may have gone wrong, as planted
	return tr
}

// begin brings a trial into the stream.
func begin(ctx context.Context, t *testing.T, tr *trial.Trial, env ...string) {
	t.Helper()
	start(t, tr, env...)
	tr.Begin(ctx)
	if err := tr.AwaitFollowing(ctx); err != nil {
		t.Fatal(err)
	}
}

// holdUp keeps the target from committing for a while: what the source is told meanwhile is not durable.
func holdUp(ctx context.Context, t *testing.T, tr *trial.Trial, target string) {
	begin(ctx, t, tr)
	conn, err := pgx.Connect(ctx, target)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, `BEGIN; LOCK TABLE txn_a IN EXCLUSIVE MODE`); err != nil {
		t.Fatal(err)
	}
	pause(ctx, 1500*time.Millisecond)
	if tr.Report.Looks("ack") == 0 {
		t.Error("nobody looked at the acknowledgements")
	}
}

// fence shuts the writer out as a newer one would.
func fence(ctx context.Context, t *testing.T, tr *trial.Trial, target string) {
	begin(ctx, t, tr)
	if err := oracle.Fence(ctx, tr.Report, target, string(trial.Postgres), time.Second); err != nil {
		t.Fatal(err)
	}
}

// killBeforeTheFrame leaves bytes in the file that no commit counts.
func killBeforeTheFrame(ctx context.Context, t *testing.T, tr *trial.Trial, _ string) {
	killedAt(ctx, t, tr, "apply.before_commit=kill@40")
}

// killBeforeThePosition leaves records in topics that the ledger knows nothing of.
func killBeforeThePosition(ctx context.Context, t *testing.T, tr *trial.Trial, _ string) {
	killedAt(ctx, t, tr, "kafka.before_offsets=kill@40")
}

// killedAt lets the daemon be killed there, and the next one finish.
func killedAt(ctx context.Context, t *testing.T, tr *trial.Trial, failpoint string) {
	start(t, tr, "ROWFERRY_FAILPOINTS="+failpoint)
	tr.Begin(ctx)
	select {
	case <-tr.Daemon.Ended():
	case <-ctx.Done():
		t.Fatal("the daemon was not killed")
	}
	start(t, tr)
	if err := tr.AwaitFollowing(ctx); err != nil {
		t.Fatal(err)
	}
	if err := tr.Finish(ctx); err != nil {
		t.Fatal(err)
	}
}
