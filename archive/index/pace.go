package index

import (
	"runtime"
	"time"
)

// Load is what else the machine has to do.
type Load int

// Loads.
const (
	Quiet  Load = iota // the index may work as fast as it can
	Loaded             // it takes at most half of one processor, unless that leaves it more than a batch behind
	Busy               // it takes a hundredth of one: less than one message in a hundred then meets it at work
)

// rests is how long the follower rests after a piece of work, in times of what the piece took.
var rests = [...]int{Quiet: 0, Loaded: 1, Busy: 127}

// pieceRecords is how many records are read, or written, in one piece of work: that takes less than a millisecond.
const pieceRecords = 32

// pacer parts the follower's work into pieces, with rests between them: what else runs meets a short piece and not a
// batch. It belongs to the goroutine of Run.
type pacer struct {
	x     *Index
	ended <-chan struct{} // closed when the follower should end: it does not rest then
	load  Load            // when the last piece ended
	began time.Time
}

// begin begins a piece of work.
func (p *pacer) begin() { p.began = time.Now() }

// end ends a piece of work, rests as the load asks unless somebody waits, and begins the next.
func (p *pacer) end() {
	if p.load = Quiet; p.x.o.Load != nil {
		p.load = p.x.o.Load()
	}
	if p.load == Loaded && p.x.Lag().Records > batchRecords {
		p.load = Quiet
	}
	runtime.Gosched()
	for rest := time.Duration(rests[p.load]) * time.Since(p.began); rest > 0 && !p.x.waited(); rest -= poll {
		select {
		case <-p.ended:
			rest = 0
		case <-time.After(min(rest, poll)):
		}
	}
	p.begin()
}
