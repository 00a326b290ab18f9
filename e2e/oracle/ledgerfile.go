package oracle

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// FileLedger is what the ledger beside a file of changes says, as any reader may read it: the last line, after its
// length and checksum.
type FileLedger struct {
	Phase    string `json:"phase"`
	Position struct {
		Token string `json:"token"`
	} `json:"position"`
	Data struct {
		File   int   `json:"file"`
		Length int64 `json:"length"`
	} `json:"data"`
}

// ReadFileLedger reads the ledger of the file of changes at path. There is none before the first commit.
func ReadFileLedger(path string) (FileLedger, bool, error) {
	var l FileLedger
	text, err := os.ReadFile(path + ".ledger")
	if errors.Is(err, fs.ErrNotExist) {
		return l, false, nil
	}
	if err != nil {
		return l, false, fmt.Errorf("reading the ledger: %w", err)
	}
	whole := text[:bytes.LastIndexByte(text, '\n')+1] // what is being appended does not count
	lines := bytes.Split(bytes.TrimSuffix(whole, []byte("\n")), []byte("\n"))
	last := lines[len(lines)-1]
	const head = 18
	if len(lines) < 2 || len(last) < head {
		return l, false, nil
	}
	if err := json.Unmarshal(last[head:], &l); err != nil {
		return l, false, fmt.Errorf("reading the ledger: %w", err)
	}
	return l, true, nil
}

// LedgerOfFile is the [Ledger] beside the file of changes at a path.
type LedgerOfFile string

// Token implements [Ledger].
func (f LedgerOfFile) Token(context.Context) (string, error) {
	l, _, err := ReadFileLedger(string(f))
	return l.Position.Token, err
}

// Close implements [Ledger].
func (LedgerOfFile) Close() {}

// Settled compares a file of changes with its ledger after a clean stop: every byte counts.
func Settled(r *Report, path string) error {
	l, _, err := ReadFileLedger(path)
	if err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("looking at the file of changes: %w", err)
	}
	r.Looked("file length", 1)
	if info.Size() != l.Data.Length {
		r.Add(Torn, "the file has %d bytes, its ledger counts %d", info.Size(), l.Data.Length)
	}
	return nil
}
