// Package progress holds what a daemon says of itself: the types behind `rowferry status`, the API and the status
// file each pipeline keeps in its state folder. A status is information only; the truth about a position is in the
// target's ledger and nowhere else.
package progress

import "time"

// State is what a pipeline is doing.
type State string

// The states.
const (
	Starting   State = "starting"    // connecting, checking, opening the target
	Standby    State = "standby"     // another process holds the source's lock
	Copying    State = "copying"     // existing rows are on their way
	CatchingUp State = "catching_up" // changes are on their way, and behind
	Streaming  State = "streaming"   // changes arrive as they are committed
	Retrying   State = "retrying"    // something passing went wrong; Waiting says what
	Halted     State = "halted"      // an operator has to act; Halt says why
	Stopped    State = "stopped"     // the daemon was asked to stop
)

// States lists every state, in the order of a pipeline's life.
var States = []State{Starting, Standby, Copying, CatchingUp, Streaming, Retrying, Halted, Stopped}

// Report is the status of a daemon and of every pipeline it runs.
type Report struct {
	Version   string     `json:"version"`
	Started   time.Time  `json:"started"`
	Address   string     `json:"address,omitempty"` // where the daemon answers, once it does
	Pipelines []Pipeline `json:"pipelines"`
}

// Pipeline is the status of one pipeline.
type Pipeline struct {
	Name   string    `json:"name"`
	Source string    `json:"source"` // "postgres db1:5432/shop", never with secrets
	Target string    `json:"target"`
	State  State     `json:"state"`
	Since  time.Time `json:"since"` // when the state began
	At     time.Time `json:"at"`    // when this was observed
	// Position is the last one durable at the target, "none" before the first.
	Position string `json:"position"`
	// PositionTime is the commit time of the last transaction durable at the target; zero when there was none yet.
	PositionTime time.Time `json:"position_time,omitzero"`
	// LagSeconds is the age of the oldest change read from the source and not yet durable; 0 when there is none.
	// While the source cannot be read it grows from what it was, as changes may be waiting there.
	LagSeconds    float64 `json:"lag_seconds"`
	RowsPerSecond float64 `json:"rows_per_second"` // over the last few seconds
	Rows          int64   `json:"rows"`            // durable since the daemon started, copied rows included
	Transactions  int64   `json:"transactions"`    // durable since the daemon started
	Bytes         int64   `json:"bytes"`           // of both, as the target took them
	// RetainedBytes is the log the source's server keeps for this pipeline, RetentionLimit where it stops doing so
	// (0 for never).
	RetainedBytes  int64 `json:"retained_bytes"`
	RetentionLimit int64 `json:"retention_limit_bytes"`
	SpilledBytes   int64 `json:"spilled_bytes"` // of transactions in progress, on disk
	QueueBytes     int64 `json:"queue_bytes"`   // read and not yet durable, in memory
	Retries        int64 `json:"retries"`       // since the daemon started
	// Waiting is why the pipeline retries, or who holds the source while it stands by; empty otherwise.
	Waiting string `json:"waiting,omitempty"`
	// Copy is the first copy: present while it runs, and after it until the daemon ends.
	Copy *Copy `json:"copy,omitempty"`
	Halt *Halt `json:"halt,omitempty"`
}

// Copy is the progress of a first copy.
type Copy struct {
	Started time.Time `json:"started"`
	// Finished is when the last row became durable; zero while the copy runs.
	Finished       time.Time `json:"finished,omitzero"`
	Rows           int64     `json:"rows"`
	Bytes          int64     `json:"bytes"`
	ExpectedRows   int64     `json:"expected_rows"`  // an estimate, -1 when not known
	ExpectedBytes  int64     `json:"expected_bytes"` // an estimate, -1 when not known
	RowsPerSecond  float64   `json:"rows_per_second"`
	BytesPerSecond float64   `json:"bytes_per_second"`
	// Ratio is how much is done, 0 to 1; below 1 until every table is done, whatever the estimates say.
	Ratio float64 `json:"ratio"`
	// ETASeconds is how long the rest takes at the present rate; -1 below 1 % done, where nobody can know.
	ETASeconds float64     `json:"eta_seconds"`
	Tables     []CopyTable `json:"tables"`
}

// CopyTable is the progress of one table of a copy.
type CopyTable struct {
	Name          string `json:"name"`
	Rows          int64  `json:"rows"`
	Bytes         int64  `json:"bytes"`
	ExpectedRows  int64  `json:"expected_rows"`  // an estimate, -1 when not known
	ExpectedBytes int64  `json:"expected_bytes"` // an estimate, -1 when not known
	Done          bool   `json:"done"`
}

// Halt says why a pipeline stopped and what its operator can do. It never holds row values other than keys.
type Halt struct {
	Code     string    `json:"code"`     // "source.slot_lost"; `rowferry explain CODE` tells more
	Happened string    `json:"happened"` // what happened
	Lost     string    `json:"lost"`     // the honest answer to "is data lost?"
	Did      string    `json:"did"`      // what Rowferry did
	Remedy   []string  `json:"remedy"`   // what the operator can do, one step each
	At       time.Time `json:"at"`
	Position string    `json:"position"` // where the target stands
}
