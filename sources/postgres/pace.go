package postgres

import "time"

// The pace of reading. Measured on Postgres 15: pauses under 2 ms do nothing, 5 to 20 ms more than halve the
// walsender's time per row.
const (
	pauseLength  = 10 * time.Millisecond
	pauseEnough  = 32 << 10               // a read, or what a pause brought, is worth its pause from here on
	rushBytes    = 64 << 10               // what reads must have brought before a first pause
	rushWindow   = 100 * time.Millisecond // and in how long
	rushGap      = 50 * time.Millisecond  // a read that waited longer ends the rush: the server has nothing to send
	behindStart  = 500 * time.Millisecond // the walsender's distance from the present at which catching up begins
	behindEnd    = 100 * time.Millisecond // and at which it is over
	lingerLength = 20 * time.Millisecond  // how long a batch may wait for more while catching up
)

// pace decides when to pause before a read, so that the walsender finds a full pipe and sends in large pieces
// instead of waking the reader for each message. It pauses only while the log is read from the past, where nobody
// waits for one transaction, and only as long as it pays. It is pure: times come from the caller.
type pace struct {
	off      bool
	behind   bool          // catching up
	since    time.Time     // when the rush began; zero when there is none
	rushed   int           // bytes since then
	brought  int           // bytes since the last pause
	paused   bool          // whether there was a pause that brought has to justify
	lastRead time.Time     //
	pauses   int64         // how many there were
	total    time.Duration // and how long in all
}

// lag tells how far behind the present the walsender was when it sent the last message, by the server's clock
// alone: its time of sending less the transaction's time of commit. A transaction in progress counts as the past.
func (p *pace) lag(d time.Duration) {
	switch {
	case d >= behindStart:
		p.behind = true
	case d < behindEnd:
		p.behind = false
	}
}

// read notes a read that brought n bytes at now after waiting for wait.
func (p *pace) read(n int, wait time.Duration, now time.Time) {
	if p.off {
		return
	}
	p.lastRead = now
	if wait > rushGap {
		p.calm()
		return
	}
	if p.since.IsZero() || !p.paused && p.rushed < rushBytes && now.Sub(p.since) > rushWindow {
		p.since, p.rushed = now, 0
	}
	p.rushed += n
	p.brought += n
}

// calm ends the rush: another has to last before the next pause.
func (p *pace) calm() {
	p.since, p.rushed, p.brought, p.paused = time.Time{}, 0, 0, false
}

// before says how long to pause before the next read, given what the last one brought. The pause counts from the
// last read: time spent on its rows is part of it.
func (p *pace) before(last int, now time.Time) time.Duration {
	if p.off || !p.behind || last >= pauseEnough || p.since.IsZero() {
		return 0
	}
	if p.paused && p.brought < pauseEnough {
		p.calm()
		return 0
	}
	if !p.paused && p.rushed < rushBytes {
		return 0
	}
	p.paused, p.brought = true, 0
	rest := pauseLength - now.Sub(p.lastRead)
	if rest <= 0 {
		return 0
	}
	p.pauses++
	p.total += rest
	return rest
}

// lingers tells whether a batch may wait a little for more: while catching up, when reads bring little. Between
// pauses they bring much.
func (p *pace) lingers() bool { return p.behind && !p.paused }
