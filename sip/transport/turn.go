package transport

import "time"

// turn is one connection's leave to have what may wait served (Options.Later). As many
// connections have it at a time as half the processors, each for a slice, in the order in
// which they asked: a storm of such requests over many connections leaves room for all
// else, and TCP keeps the rest where it is. It belongs to the connection's reader.
type turn struct {
	c      *conn
	corked bool // what is sent gathers until the reader drains it
	held   bool
	until  time.Time
}

// await returns when it is this connection's turn. Before it waits, what has gathered is
// sent.
func (t *turn) await() {
	if t.held && time.Now().Before(t.until) {
		return
	}
	t.end()
	turns := t.c.t.turns
	select {
	case turns <- struct{}{}:
	default:
		if t.corked {
			t.c.drain()
		}
		turns <- struct{}{}
		t.corked = t.c.cork()
	}
	t.held, t.until = true, time.Now().Add(slice)
}

// end lets another connection have it.
func (t *turn) end() {
	if t.held {
		<-t.c.t.turns
		t.held = false
	}
}
