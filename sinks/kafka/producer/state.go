package producer

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/rowferry/rowferry/sinks/kafka/batch"
)

// Session identifies a producer at the brokers.
type Session struct {
	ProducerID int64
	Epoch      int16
}

// none is the session of a producer the brokers do not know.
var none = Session{ProducerID: -1, Epoch: -1}

// partition names a partition.
type partition struct {
	topic  string
	number int32
}

// String is how messages name a partition.
func (p partition) String() string { return fmt.Sprintf("%s/%d", p.topic, p.number) }

// phase is where a producer stands.
type phase uint8

const (
	fresh   phase = iota // not known to the brokers
	ready                // known, no transaction
	open                 // in a transaction, everything sent is acknowledged
	inDoubt              // something sent is not acknowledged, or was refused: only a new producer goes on
)

// state is what a producer has to remember, and the rules for it. It has no clock and does no I/O.
type state struct {
	session   Session
	phase     phase
	sequences map[partition]int32     // of the next record; absent: 0
	known     map[partition]time.Time // when a batch of this session was acknowledged last
	added     map[partition]bool      // confirmed parts of the open transaction
	opened    time.Time               // before the broker was asked to open the transaction
}

// errNotReady is a mistake of the caller.
var errNotReady = errors.New("the producer is not initialised")

// errInDoubt is a mistake of the caller.
var errInDoubt = errors.New("the transaction failed and can only be aborted")

// initialised takes over the session a broker gave. Whatever was open is aborted, and sequences begin at 0 with each
// epoch.
func (s *state) initialised(session Session) {
	*s = state{
		session: session, phase: ready, sequences: map[partition]int32{}, known: map[partition]time.Time{}, added: map[partition]bool{},
	}
}

// begin notes that the broker is about to be asked to open a transaction, unless one is open.
func (s *state) begin(now time.Time) {
	if s.phase == ready {
		s.phase, s.opened = open, now
	}
}

// ended notes that the transaction is over. Sequences go on: they belong to the epoch.
func (s *state) ended() {
	s.phase = ready
	clear(s.added)
}

// writable tells whether batches may be produced.
func (s *state) writable() error {
	switch s.phase {
	case fresh:
		return errNotReady
	case inDoubt:
		return errInDoubt
	}
	return nil
}

// missing are the partitions of batches that are not part of the transaction yet, each once.
func (s *state) missing(batches []Batch) []partition {
	var out []partition
	seen := map[partition]bool{}
	for i := range batches {
		p := batches[i].partition()
		if !s.added[p] && !seen[p] {
			seen[p] = true
			out = append(out, p)
		}
	}
	return out
}

// stamp gives batches their place in the order of their partitions.
func (s *state) stamp(batches []Batch, transactional bool) {
	for i := range batches {
		b := &batches[i]
		p := b.partition()
		sequence := s.sequences[p]
		b.Batch.Stamp(batch.Stamp{
			ProducerID: s.session.ProducerID, Epoch: s.session.Epoch,
			Sequence: sequence, Transactional: transactional,
		})
		s.sequences[p] = next(sequence, b.Batch.Count())
	}
}

// next is the sequence number n records on. Behind the largest comes 0.
func next(sequence int32, n int) int32 {
	return int32((int64(sequence) + int64(n)) & math.MaxInt32)
}
