// The conformance program plays other systems' replication tests against the binary of make build. The cases and
// their driver lie beside the repository, in ../shared/conformance or where CONFORMANCE says; without them it
// does nothing, but under CI it fails.
//
// Each mode runs on a pair of throw-away servers of its own, side by side: once plain, and for two seeds with
// kills in every case. The mode pg-kafka plays the cases of pg-events by way of a broker that all of them share, and
// the mode pg-types a list of values of every type, in the copy and in the stream. How many
// cases pass is compared with expected.json: more is a difference too, so that the number never says less than is
// known. Logs, reports and the work folders of cases stay in build/conformance.
package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rowferry/rowferry/e2e/servers"
)

// limit ends a run that hangs. The whole takes no more than 18 minutes on two quiet cores; a machine that others use as
// well needs longer.
const limit = 40 * time.Minute

//go:embed expected.json
var expected []byte

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("the time limit of %s was reached", limit))
	defer cancel()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(1)
	}
}

// harness is what all runs share.
type harness struct {
	driver string // the folder of run.py and its cases
	bin    string // Postgres' programs
	logs   string // build/conformance
	start  string // the committed start
	skip   string // tags
}

// A round is one way to run a mode's cases.
type round struct {
	name string
	args []string
}

func run(ctx context.Context) error {
	driver := os.Getenv("CONFORMANCE")
	if driver == "" {
		driver = filepath.Join("..", "shared", "conformance")
	}
	if _, err := os.Stat(filepath.Join(driver, "run.py")); err != nil {
		if os.Getenv("CI") != "" {
			return fmt.Errorf("there are no cases in %s", driver)
		}
		fmt.Printf("conformance: skipped, there are no cases in %s\n", driver)
		return nil
	}
	var want map[string]int
	if err := json.Unmarshal(expected, &want); err != nil {
		return fmt.Errorf("reading expected.json: %w", err)
	}
	modes, err := modes()
	if err != nil {
		return err
	}
	h, err := newHarness(ctx, driver)
	if err != nil {
		return err
	}
	endKafka, err := h.giveKafka(ctx, modes)
	if err != nil {
		return errors.Join(err, endKafka())
	}
	var (
		wg   sync.WaitGroup
		errs = make([]error, len(modes))
	)
	for i, m := range modes {
		wg.Go(func() {
			switch {
			case m.name == "pg-debezium":
				errs[i] = h.debezium(ctx, want[m.name])
			case m.driver == "":
				errs[i] = h.types(ctx, want[m.name])
			default:
				errs[i] = h.mode(ctx, m, want[m.name])
			}
		})
	}
	wg.Wait()
	return errors.Join(append(errs, endKafka())...)
}

func newHarness(ctx context.Context, driver string) (*harness, error) {
	root, err := os.Getwd()
	if err != nil {
		return nil, fmt.Errorf("finding the repository: %w", err)
	}
	h := &harness{logs: filepath.Join(root, "build", "conformance"), start: filepath.Join(root, "e2e/conformance/start")}
	if h.driver, err = filepath.Abs(driver); err != nil {
		return nil, fmt.Errorf("finding the driver: %w", err)
	}
	if h.skip, err = skippedTags(h.driver); err != nil {
		return nil, err
	}
	install := filepath.Join(root, "e2e/install/postgres.sh")
	if out, err := exec.CommandContext(ctx, install, "user").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("making a user for servers: %w: %s", err, out)
	}
	out, err := exec.CommandContext(ctx, install, "all", "15").Output()
	if err != nil {
		return nil, fmt.Errorf("installing Postgres: %w", err)
	}
	h.bin = strings.TrimSpace(string(out))
	if err := os.RemoveAll(h.logs); err != nil {
		return nil, fmt.Errorf("clearing old logs: %w", err)
	}
	return h, os.MkdirAll(h.logs, 0o755)
}

// skippedTags takes from the driver's own page which cases only Postgres' subscription has to pass.
func skippedTags(driver string) (string, error) {
	page, err := os.ReadFile(filepath.Join(driver, "README.md"))
	if err != nil {
		return "", fmt.Errorf("reading the driver's page: %w", err)
	}
	_, rest, found := strings.Cut(string(page), "`--skip-tags ")
	tags, _, closed := strings.Cut(rest, "`")
	if !found || !closed {
		return "", errors.New("the driver's page does not say which tags to skip")
	}
	return tags, nil
}

// mode runs all rounds of a mode on servers of its own.
func (h *harness) mode(ctx context.Context, m mode, want int) error {
	folder, err := os.MkdirTemp("", "rowferry-conformance-")
	if err != nil {
		return fmt.Errorf("making a folder for servers: %w", err)
	}
	defer os.RemoveAll(folder)
	if err := os.Chmod(folder, 0o755); err != nil { // servers run as another user
		return fmt.Errorf("opening the servers' folder: %w", err)
	}
	pair := filepath.Join(folder, "pair")
	port, err := servers.FreePorts(2)
	if err != nil {
		return fmt.Errorf("%s: %w", m.name, err)
	}
	up := h.python(ctx, "servers-up", "--dir", pair, "--pg", "--pg-port", fmt.Sprint(port))
	if out, err := up.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: starting servers: %w\n%s", m.name, err, out)
	}
	defer func() {
		// The servers end whatever became of the run.
		down := h.python(context.WithoutCancel(ctx), "servers-down", "--dir", pair)
		if out, err := down.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "%s: stopping servers: %v\n%s", m.name, err, out)
		}
	}()
	var errs []error
	for _, r := range []round{
		{name: "plain"},
		{name: "crash-seed-1", args: []string{"--crash", "3", "--seed", "1"}},
		{name: "crash-seed-2", args: []string{"--crash", "3", "--seed", "2"}},
	} {
		errs = append(errs, h.round(ctx, m, pair, r, want))
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(errs...)
}

// result is what the driver's report says of a case.
type result struct {
	Case   string `json:"case"`
	Status string `json:"status"`
	Error  string `json:"error"`
	Checks map[string]bool
}

// filterTags are those of cases whose publication leaves out rows or columns.
const filterTags = "row-filter,column-list"

// round plays a mode's cases in one way, and counts.
func (h *harness) round(ctx context.Context, m mode, pair string, r round, want int) error {
	began := time.Now()
	base := filepath.Join(h.logs, m.name+"-"+r.name)
	calls := [][]string{{"--skip-tags", h.skip}}
	if m.driver == "pg-events" {
		// The driver compares the file with whole tables, also where the publication it gives leaves out rows or
		// columns. Rowferry keeps to a publication that is there; so for those cases none is given, and it makes its own.
		calls = [][]string{
			{"--skip-tags", h.skip + "," + filterTags},
			{"--skip-tags", h.skip, "--only-tags", filterTags, "--no-publication"},
		}
	}
	passed, played := 0, 0
	for i, call := range calls {
		args := append([]string{"--mode", m.driver, "--servers", pair}, append(call, r.args...)...)
		results, err := h.play(ctx, m, fmt.Sprintf("%s-%d", base, i+1), args)
		if err != nil {
			return fmt.Errorf("%s %s: %w", m.name, r.name, err)
		}
		for _, c := range results {
			switch c.Status {
			case "skipped": // by its tags
			case "pass":
				played++
				passed++
			default:
				played++
				fmt.Printf("  %s %s: %s %s: %s\n", m.name, r.name, c.Status, c.Case, c.reason())
			}
		}
	}
	fmt.Printf("%-9s %-12s %d/%d passed, in %s\n", m.name, r.name, passed, want, time.Since(began).Round(time.Second))
	if passed != want {
		return fmt.Errorf("%s %s: %d of %d cases passed, expected are %d; see %s*", m.name, r.name, passed, played, want, base)
	}
	return nil
}

// play calls the driver once and reads its report. What it prints goes into a log beside the report.
func (h *harness) play(ctx context.Context, m mode, base string, args []string) ([]result, error) {
	log, err := os.Create(base + ".log")
	if err != nil {
		return nil, fmt.Errorf("making a log: %w", err)
	}
	defer log.Close()
	cmd := h.python(ctx, append([]string{"run", "--start", "exec " + h.start + " {ctx}", "--timeout", "30",
		"--workdir", base, "--report", base + ".json"}, args...)...)
	cmd.Env = append(cmd.Env, "VIA="+m.via)
	cmd.Stdout, cmd.Stderr = log, log
	failed := cmd.Run() // also when a case fails, which the report tells
	if ctx.Err() != nil {
		return nil, fmt.Errorf("%w; see %s.log", context.Cause(ctx), base)
	}
	text, err := os.ReadFile(base + ".json")
	if err != nil {
		return nil, fmt.Errorf("no report: %w; see %s.log", errors.Join(failed, err), base)
	}
	var report struct{ Results []result }
	if err := json.Unmarshal(text, &report); err != nil {
		return nil, fmt.Errorf("reading the report: %w", err)
	}
	return report.Results, nil
}

// reason is the failed checks, or the first line of the error.
func (r result) reason() string {
	var failed []string
	for check, ok := range r.Checks {
		if !ok {
			failed = append(failed, check)
		}
	}
	slices.Sort(failed)
	if len(failed) == 0 {
		line, _, _ := strings.Cut(r.Error, "\n")
		return line
	}
	return strings.Join(failed, ", ")
}
