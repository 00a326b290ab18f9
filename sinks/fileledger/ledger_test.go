package fileledger

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/sinks"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var claim = sinks.Claim{Pipeline: "shop", Source: "postgres:1/shop/s", Fingerprint: "f1", Holder: "host 1"}

// take opens a ledger as its writer.
func take(t testing.TB, path string) *Ledger {
	t.Helper()
	l, err := Open(t.Context(), path, claim)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Take(t.Context(), claim, l.State.Data); err != nil {
		t.Fatal(err)
	}
	return l
}

// commit writes one frame.
func commit(t testing.TB, l *Ledger, u Update) {
	t.Helper()
	if err := l.Verify(); err != nil {
		t.Fatal(err)
	}
	if err := l.Write(t.Context(), &u); err != nil {
		t.Fatal(err)
	}
	if err := l.Sync(); err != nil {
		t.Fatal(err)
	}
}

func at(token string) schema.Position { return schema.Position{Format: "postgres/1", Token: token} }

func TestRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.ledger")
	l := take(t, path)
	commit(t, l, Update{
		Seq: 1, Position: at("a"), Phase: schema.PhaseCreating, Made: []string{"slot:s"},
		Data: Extent{File: 1}, Undo: &Extent{File: 1},
	})
	commit(t, l, Update{Data: Extent{File: 1, Length: 10, CRC: 7}, Counts: map[string]Tally{"t": {Rows: 1, Sum: 1 << 63}}})
	commit(t, l, Update{
		Seq: 2, Position: at("b"), Phase: schema.PhaseStream, Made: []string{"slot:s", "publication:p"},
		Data:  Extent{File: 1, Length: 30, From: 10, CRC: 8},
		State: []schema.State{{Key: "k", Value: []byte("\x00\xff")}, {Key: "e", Value: []byte{}}, {Key: "gone"}},
	})
	want := State{
		Claim: claim, Epoch: 1, Seq: 2, Position: at("b"), Phase: schema.PhaseStream,
		Data: Extent{File: 1, Length: 30, From: 10, CRC: 8}, Made: []string{"slot:s", "publication:p"},
		Records: map[string][]byte{"k": []byte("\x00\xff"), "e": {}}, Counts: map[string]Tally{"t": {Rows: 1, Sum: 1 << 63}},
	}
	read, err := Read(path, "shop")
	if diff := cmp.Diff(want, read); diff != "" || err != nil {
		t.Errorf("Read beside the writer: %v (-want +got):\n%s", err, diff)
	}
	l.Close()
	l = take(t, path)
	defer l.Close()
	want.Epoch = 2
	if diff := cmp.Diff(want, l.State); diff != "" {
		t.Errorf("reopened (-want +got):\n%s", diff)
	}
	if other, err := Read(path, "another"); err != nil || other.Epoch != 0 {
		t.Errorf("Read for another pipeline: got %+v, %v; want nothing", other, err)
	}
}

// TestDamage cuts and flips a ledger everywhere: a shorter one is an earlier truth, a changed one is refused.
func TestDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.ledger")
	l := take(t, path)
	for i := range 3 {
		commit(t, l, Update{Seq: int64(i + 1), Position: at("p"), Phase: schema.PhaseStream})
	}
	l.Close()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	first := bytes.IndexByte(text, '\n') + 1
	first += bytes.IndexByte(text[first:], '\n') + 1
	for n := range text {
		s, whole, err := decode(text[:n])
		switch {
		case n < first && err == nil:
			t.Fatalf("cut to %d bytes: got seq %d, want damage: the first frame is never torn", n, s.Seq)
		case n >= first && (err != nil || whole > n || s.Seq != int64(bytes.Count(text[:n], []byte{'\n'}))-2):
			t.Fatalf("cut to %d bytes: got seq %d, %v; want the frames that are whole", n, s.Seq, err)
		}
		if n >= first {
			holes := append(bytes.Clone(text[:n]), make([]byte, 40)...)
			if s, _, err := decode(holes); err != nil || s.Seq != int64(bytes.Count(text[:n], []byte{'\n'}))-2 {
				t.Fatalf("cut to %d bytes with a hole behind: got seq %d, %v; want the frames that are whole", n, s.Seq, err)
			}
		}
		for _, bit := range []byte{1, 0x80} {
			flipped := bytes.Clone(text)
			flipped[n] ^= bit
			s, _, err := decode(flipped)
			if err == nil && s.Seq == 3 {
				// The digits of a length or checksum may change case and stay the same number.
				if !strings.EqualFold(string(flipped), string(text)) {
					t.Fatalf("byte %d changed: got seq %d, want damage", n, s.Seq)
				}
			}
			var d *damage
			var v *versionError
			if err != nil && !errors.As(err, &d) && !errors.As(err, &v) {
				t.Fatalf("byte %d changed: got %v, want damage", n, err)
			}
		}
	}
}

func TestRefusals(t *testing.T) {
	with := func(f func(*sinks.Claim)) sinks.Claim {
		c := claim
		f(&c)
		return c
	}
	tests := []struct {
		name  string
		write string // instead of a good ledger
		claim sinks.Claim
		code  string
		says  string
	}{
		{name: "other source", claim: with(func(c *sinks.Claim) { c.Source = "z" }), code: "target.other_source"},
		{name: "other scope", claim: with(func(c *sinks.Claim) { c.Fingerprint = "z" }), code: "target.scope_changed"},
		{name: "other pipeline", claim: with(func(c *sinks.Claim) { c.Pipeline = "z" }), code: "target.other_pipeline"},
		{name: "empty", write: " ", claim: claim, code: "target.ledger_corrupt", says: "damaged at byte 0"},
		{name: "no frame", write: magic + "1\n", claim: claim, code: "target.ledger_corrupt", says: "no frame"},
		{name: "newer", write: magic + "2\nwhat may come", claim: claim, code: "target.ledger_version", says: "format 2"},
		{name: "older", write: magic + "0\n", claim: claim, code: "target.ledger_version", says: "format 0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.ledger")
			take(t, path).Close()
			if tt.write != "" {
				if err := os.WriteFile(path, []byte(strings.TrimSpace(tt.write)+tail(tt.write)), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			before, _ := os.ReadFile(path)
			_, err := Open(t.Context(), path, tt.claim)
			e := fault.Of(err)
			if e.Class != fault.Terminal || e.Code != tt.code || !strings.Contains(e.Error(), tt.says) {
				t.Errorf("got %v, want a halt %s with %q", err, tt.code, tt.says)
			}
			if !strings.Contains(e.Error(), path) || !strings.Contains(e.Remedy, "rowferry teardown") {
				t.Errorf("got %q with remedy %q, want the file and `rowferry teardown` named", e.Error(), e.Remedy)
			}
			after, _ := os.ReadFile(path)
			if diff := cmp.Diff(before, after, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("the refusal changed the ledger:\n%s", diff)
			}
			if _, err := os.Stat(path + ".lock"); err == nil {
				t.Error("the refusal left its lock file")
			}
		})
	}
}

// tail is the newline that TrimSpace took, if there was one.
func tail(s string) string {
	if strings.HasSuffix(s, "\n") {
		return "\n"
	}
	return ""
}

func TestFencing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.ledger")
	old := take(t, path)
	defer old.Close()
	if _, err := Open(t.Context(), path, claim); fault.ClassOf(err) != fault.Busy || !strings.Contains(err.Error(), claim.Holder) {
		t.Fatalf("second Open: got %v, want busy, naming %q", err, claim.Holder)
	}
	if err := os.Remove(path + ".lock"); err != nil {
		t.Fatal(err)
	}
	newer := take(t, path)
	defer newer.Close()
	if err := old.Verify(); fault.ClassOf(err) != fault.Fenced {
		t.Errorf("the older writer: got %v, want fenced", err)
	}
	old.Close()
	if _, err := Open(t.Context(), path, claim); fault.ClassOf(err) != fault.Busy {
		t.Errorf("after the older writer closed: got %v, want busy: its lock file is not the newer one's", err)
	}
	if err := newer.Verify(); err != nil {
		t.Errorf("the newer writer: got %v, want nil", err)
	}
}

func TestRewriteKeepsEverything(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.ledger")
	l := take(t, path)
	big := bytes.Repeat([]byte{1}, 100_000)
	for i := range 40 {
		commit(t, l, Update{
			Seq: int64(i + 1), Position: at("p"), Phase: schema.PhaseStream, State: []schema.State{{Key: "k", Value: big}},
		})
	}
	l.Close()
	info, err := os.Stat(path)
	if err != nil || info.Size() > 2*compactAt {
		t.Errorf("size: got %d, %v; want it rewritten before %d", info.Size(), err, 2*compactAt)
	}
	s, err := Read(path, "shop")
	if err != nil || s.Seq != 40 || !bytes.Equal(s.Records["k"], big) {
		t.Errorf("got seq %d, %v; want 40 and the record", s.Seq, err)
	}
}

func TestRemove(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.ledger")
	l := take(t, path)
	if err := Remove(path, "shop"); fault.ClassOf(err) != fault.Busy {
		t.Errorf("beside a writer: got %v, want busy", err)
	}
	l.Close()
	if err := Remove(path, "another"); err != nil {
		t.Error(err)
	}
	if s, err := Read(path, "shop"); err != nil || s.Epoch != 1 {
		t.Errorf("after another pipeline's removal: got %+v, %v; want the ledger untouched", s, err)
	}
	if err := os.WriteFile(path, []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := Remove(path, "shop"); err != nil {
			t.Error(err)
		}
	}
	if names, _ := filepath.Glob(path + "*"); len(names) != 0 {
		t.Errorf("left behind: %q", names)
	}
}

// TestFramesFoldAlike plays random updates into a ledger that is closed and opened at random, and into one that
// is not.
func TestFramesFoldAlike(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		path := filepath.Join(dir, "x.ledger")
		defer os.Remove(path)
		l := take(t, path)
		defer func() { l.Close() }()
		for i := range rapid.IntRange(1, 12).Draw(rt, "commits") {
			u := Update{Data: Extent{File: 1, Length: int64(i)}}
			if rapid.Bool().Draw(rt, "positioned") {
				u.Seq, u.Position, u.Phase = l.State.Seq+1, at(rapid.String().Draw(rt, "token")), schema.PhaseStream
				for _, k := range rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c"}), 0, 3).Draw(rt, "keys") {
					u.State = append(u.State, schema.State{Key: k, Value: rapid.SampledFrom([][]byte{nil, {}, {0}}).Draw(rt, "value")})
				}
				u.Made = rapid.SliceOfN(rapid.SampledFrom([]string{"x", "y"}), 0, 2).Draw(rt, "made")
			}
			commit(t, l, u)
			want := l.State
			if rapid.Bool().Draw(rt, "reopen") {
				l.Close()
				l = take(t, path)
			}
			if diff := cmp.Diff(want, l.State, cmpopts.IgnoreFields(State{}, "Epoch"), cmpopts.EquateEmpty()); diff != "" {
				rt.Fatalf("(-want +got):\n%s", diff)
			}
		}
	})
}

func FuzzDecode(f *testing.F) {
	s := State{Claim: claim, Epoch: 1}
	good, err := appendFrame([]byte(magic+"1\n"), s.full())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(magic + "1\nffffffff 00000000 {}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, whole, err := decode(text)
		if err == nil && (whole > len(text) || s.Epoch < 1) {
			t.Errorf("got epoch %d and %d of %d bytes", s.Epoch, whole, len(text))
		}
	})
}
