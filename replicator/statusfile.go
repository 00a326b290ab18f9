package replicator

import (
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"github.com/rowferry/rowferry/replicator/progress"
)

// statusFile is a pipeline's status in its state folder. A standby on the same machine may share the folder: only
// the holder of a file lock writes, and who stands by gives it up.
type statusFile struct {
	dir     string
	version string
	started time.Time
	log     zerolog.Logger

	mu      sync.Mutex // guards what follows
	address string     // where the daemon answers
	lock    *os.File   // nil while another process writes
	failed  bool       // the last write failed: said once
}

// listening notes where the daemon answers, for the next write.
func (s *statusFile) listening(address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.address = address
}

// write replaces the status. An error is logged once and does not disturb the pipeline: the file is information.
func (s *statusFile) write(p progress.Pipeline) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.State == progress.Standby {
		s.unlock()
		return
	}
	if s.own() {
		s.note(progress.Write(s.dir, progress.StatusFile, progress.Report{
			Version: s.version, Started: s.started, Address: s.address, Pipelines: []progress.Pipeline{p},
		}))
	}
}

// halt keeps the reason of the last halt.
func (s *statusFile) halt(h progress.Halt) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.own() {
		s.note(progress.Write(s.dir, progress.HaltFile, h))
	}
}

// close gives the folder up.
func (s *statusFile) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unlock()
}

func (s *statusFile) note(err error) {
	if err != nil && !s.failed {
		s.log.Warn().Err(err).Msg("the status file cannot be written")
	}
	s.failed = err != nil
}

// own tells whether this process may write, trying to become the one if it is not.
func (s *statusFile) own() bool {
	if s.dir == "" || s.lock != nil {
		return s.lock != nil
	}
	f, err := os.OpenFile(filepath.Join(s.dir, "status.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		s.note(err)
		return false
	}
	if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		_ = f.Close()
		return false
	}
	s.lock = f
	return true
}

func (s *statusFile) unlock() {
	if s.lock != nil {
		_ = s.lock.Close()
		s.lock = nil
	}
}
