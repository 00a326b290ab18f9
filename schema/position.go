package schema

// Position is a place in a source's log. Only the source that made it can read its token. Everyone else stores
// it, prints it and compares it for equality, never for order: some logs have no total order.
type Position struct {
	Format string // "postgres/1": who can read the token, and which version of its grammar it follows
	Token  string
}

// IsZero tells whether this is no position at all: a pipeline that has not begun, a batch that moves nothing.
func (p Position) IsZero() bool { return p == Position{} }

// String is the form for logs and messages.
func (p Position) String() string {
	if p.IsZero() {
		return "none"
	}
	return p.Format + ":" + p.Token
}

// SourceID names the server, database and log reader a pipeline's position belongs to. A target refuses to
// continue one source's position with another's changes.
type SourceID string

// Phase is how far a pipeline is with its first copy. The target's ledger holds it beside the position.
type Phase string

// The phases, in the order a pipeline passes through them.
const (
	// PhaseCreating: the source's slot is about to be made, or to be made again. Committing it undoes a copy
	// that was under way: tables the copy filled are emptied, files are cut back.
	PhaseCreating Phase = "creating"
	// PhaseCopy: the slot exists; existing rows are being copied.
	PhaseCopy Phase = "copy"
	// PhaseStream: every existing row is at the target; changes follow.
	PhaseStream Phase = "stream"
)
