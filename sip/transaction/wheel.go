package transaction

import "time"

const (
	tick  = 100 * time.Millisecond
	slots = 512 // 51.2 s: longer than any timer here
)

// timed is what can hang in a wheel.
type timed interface {
	node() *timer
	expired(now time.Time)
}

// timer is the place of one transaction in its shard's wheel. The shard's lock
// guards it.
type timer struct {
	prev, next timed
	at         int64
	set        bool
	lent       bool // somebody may refer to the transaction without the lock: its memory is not used again
}

// wheel holds the timers of a shard in slots of one tick. Ticks count from base
// by the monotonic clock: a step of the wall clock moves no timer.
type wheel struct {
	slot [slots]timed
	base time.Time
	now  int64
	n    int
}

// tickOf returns the last tick at t.
func (w *wheel) tickOf(t time.Time) int64 { return int64(t.Sub(w.base) / tick) }

// add hangs x to expire in d, rounded up to a tick.
func (w *wheel) add(x timed, now time.Time, d time.Duration) {
	t := x.node()
	if t.set {
		w.remove(x)
	}
	at := w.tickOf(now.Add(d + tick - 1))
	at = min(max(at, w.now+1), w.now+slots-1)
	t.at, t.set, t.prev = at, true, nil
	i := at % slots
	t.next = w.slot[i]
	if t.next != nil {
		t.next.node().prev = x
	}
	w.slot[i] = x
	w.n++
}

// remove takes x off; it may not be there.
func (w *wheel) remove(x timed) {
	t := x.node()
	if !t.set {
		return
	}
	if t.prev != nil {
		t.prev.node().next = t.next
	} else {
		w.slot[t.at%slots] = t.next
	}
	if t.next != nil {
		t.next.node().prev = t.prev
	}
	t.prev, t.next, t.set = nil, nil, false
	w.n--
}

// advance moves the wheel to now and appends what expired to due.
func (w *wheel) advance(now int64, due []timed) []timed {
	if w.n == 0 {
		w.now = max(w.now, now)
		return due
	}
	for w.now < now {
		w.now++
		i := w.now % slots
		for x := w.slot[i]; x != nil; {
			t := x.node()
			next := t.next
			if t.at <= w.now {
				w.remove(x)
				t.lent = true
				due = append(due, x)
			}
			x = next
		}
	}
	return due
}
