package fileledger

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"strconv"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
)

const (
	magic   = "rowferry-ledger "
	version = 1

	headLength = 18 // two numbers of eight digits, each followed by a space
	maxFrame   = 256 << 20
	maxLedger  = 1 << 30
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Extent says how much of the data counts.
type Extent struct {
	File   int    `json:"file"`   // number the file gets when it is rotated, from 1
	Length int64  `json:"length"` // bytes of it that count
	From   int64  `json:"from"`   // where the bytes begin that CRC covers
	CRC    uint32 `json:"crc"`    // CRC-32C of the bytes from From to Length
	Since  int64  `json:"since"`  // when its first line was written, in seconds since 1970
}

// Move is a change of files that is under way: it is noted before and after, so that a crash between the two is
// finished when the ledger is opened again.
type Move string

// The moves.
const (
	Rotating Move = "rotating" // the data file is given its number and a new one begun
	Undoing  Move = "undoing"  // the data is cut back to where the copy began
)

// Tally counts rows and sums their hashes.
type Tally struct {
	Rows int64  `json:"rows"`
	Sum  uint64 `json:"sum"`
}

// position is a [schema.Position] as a frame spells it.
type position struct {
	Format string `json:"format"`
	Token  string `json:"token"`
}

// frame is one line of the ledger. The fields up to Moving are the whole truth, those after it are added to what
// came before.
type frame struct {
	Pipeline    string           `json:"pipeline,omitempty"` // the first frame only, like the three after it
	Source      string           `json:"source,omitempty"`
	Fingerprint string           `json:"fingerprint,omitempty"`
	Holder      string           `json:"holder,omitempty"`
	Epoch       int64            `json:"epoch"`
	Seq         int64            `json:"seq"`
	Phase       schema.Phase     `json:"phase,omitempty"`
	Position    *position        `json:"position,omitempty"`
	Data        Extent           `json:"data"`
	Undo        *Extent          `json:"undo,omitempty"`
	Moving      Move             `json:"moving,omitempty"`
	Made        []string         `json:"made,omitempty"`
	State       []record         `json:"state,omitempty"`
	Counts      map[string]Tally `json:"counts,omitempty"`
}

// record is one record of source state; no value deletes the key.
type record struct {
	Key   string  `json:"key"`
	Value *[]byte `json:"value,omitempty"`
}

// appendFrame appends f as a line.
func appendFrame(dst []byte, f *frame) ([]byte, error) {
	body, err := json.Marshal(f)
	if err != nil {
		return nil, fmt.Errorf("encoding a frame of the ledger: %w", err)
	}
	if len(body) > maxFrame {
		return nil, fmt.Errorf("encoding a frame of the ledger: %d bytes are more than %d", len(body), maxFrame)
	}
	dst = fmt.Appendf(dst, "%08x %08x ", len(body), crc32.Checksum(body, castagnoli))
	return append(append(dst, body...), '\n'), nil
}

// errTorn is a last frame that was never finished.
var errTorn = errors.New("torn")

// damage is a ledger that is not what was written.
type damage struct {
	offset int
	reason string
}

func (d *damage) Error() string { return fmt.Sprintf("damaged at byte %d: %s", d.offset, d.reason) }

// versionError is a ledger of another format.
type versionError struct{ found int }

func (v *versionError) Error() string {
	return fmt.Sprintf("written in format %d; this program reads format %d", v.found, version)
}

// decode plays all frames of a ledger. whole is the length of what is whole: a torn last frame begins there.
func decode(text []byte) (s State, whole int, err error) {
	line, rest, ended := bytes.Cut(text, []byte{'\n'})
	number, ours := bytes.CutPrefix(line, []byte(magic))
	if !ours || !ended {
		return State{}, 0, &damage{0, "it does not begin like a ledger"}
	}
	found, err := strconv.Atoi(string(number))
	if err != nil {
		return State{}, 0, &damage{len(magic), "it names no version"}
	}
	if found != version {
		return State{}, 0, &versionError{found}
	}
	whole = len(text) - len(rest)
	for frames := 0; whole < len(text); frames++ {
		f, n, err := cutFrame(text[whole:])
		if errors.Is(err, errTorn) && frames > 0 {
			break
		}
		if err == nil {
			err = s.apply(f, frames == 0)
		}
		if err != nil {
			return State{}, 0, &damage{whole, err.Error()}
		}
		whole += n
	}
	if s.Epoch == 0 {
		return State{}, 0, &damage{whole, "it holds no frame"}
	}
	return s, whole, nil
}

// cutFrame reads the frame text begins with and tells its length. A frame that ends early, or has holes where its
// bytes never reached the disk, is torn if nothing follows it.
func cutFrame(text []byte) (*frame, int, error) {
	torn := func(reason string) (*frame, int, error) {
		newline := bytes.IndexByte(text, '\n')
		if newline < 0 || newline == len(text)-1 && bytes.IndexByte(text, 0) >= 0 {
			return nil, 0, errTorn
		}
		return nil, 0, errors.New(reason)
	}
	if len(text) < headLength {
		return torn("a frame has no head")
	}
	size, err1 := strconv.ParseUint(string(text[:8]), 16, 32)
	sum, err2 := strconv.ParseUint(string(text[9:17]), 16, 32)
	if err1 != nil || err2 != nil || text[8] != ' ' || text[17] != ' ' || size > maxFrame {
		return torn("a frame has no head")
	}
	end := headLength + int(size)
	if end >= len(text) {
		return torn("a frame is longer than the file")
	}
	body := text[headLength:end]
	if text[end] != '\n' || crc32.Checksum(body, castagnoli) != uint32(sum) {
		return torn("a frame does not match its checksum")
	}
	f := &frame{}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(f); err != nil {
		return nil, 0, errors.New("a frame is no JSON object of this format")
	}
	return f, end + 1, nil
}

// load reads a ledger; the error says what an operator can do.
func load(path string) (State, int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return State{}, 0, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxLedger+1))
	if err != nil {
		return State{}, 0, fmt.Errorf("reading the ledger %s: %w", path, err)
	}
	if len(text) > maxLedger {
		return State{}, 0, corrupt(path, &damage{maxLedger, "it is longer than a ledger can be"})
	}
	s, whole, err := decode(text)
	var other *versionError
	switch {
	case errors.As(err, &other):
		age := "an older"
		if other.found > version {
			age = "a newer"
		}
		return State{}, 0, fault.Halt("target.ledger_version", fmt.Errorf("the ledger %s was %w", path, err),
			"run the release that wrote it: "+age+" one than this\n"+teardown(path))
	case err != nil:
		return State{}, 0, corrupt(path, err)
	}
	return s, int64(whole), nil
}

// corrupt is the halt for a ledger that cannot be believed.
func corrupt(path string, err error) error {
	return fault.Halt("target.ledger_corrupt", fmt.Errorf("the ledger %s is %w", path, err),
		"put the ledger back from a backup made together with the data\n"+teardown(path))
}

// teardown says how to begin anew.
func teardown(path string) string {
	return "or run `rowferry teardown PIPELINE`, which removes " + path + ", move the data away, and copy again"
}
