package replicator

// gate decides what may be on its way at the same time. It is pure.
type gate struct {
	lanes   int  // groups that move the position
	moving  int  // of them on their way
	copying int  // groups of copied rows on their way, or waiting for their lane
	alone   bool // something that runs alone is on its way
}

// admits tells whether the unit may start now. All units before it have started.
func (g *gate) admits(u *unit) bool {
	switch {
	case g.alone:
		return false
	case u.kind == copyUnit:
		return g.moving == 0
	case u.alone:
		return g.moving == 0 && g.copying == 0
	default:
		return g.copying == 0 && g.moving < g.lanes
	}
}

// start notes a unit on its way.
func (g *gate) start(u *unit) {
	if u.kind == copyUnit {
		g.copying++
	} else {
		g.moving++
	}
	g.alone = u.alone
}

// end notes that a unit is done.
func (g *gate) end(u *unit) {
	if u.kind == copyUnit {
		g.copying--
	} else {
		g.moving--
	}
	if u.alone {
		g.alone = false
	}
}

// idle tells whether nothing is on its way.
func (g *gate) idle() bool { return g.moving == 0 && g.copying == 0 }
