package event

import (
	"strconv"
	"strings"
	"time"

	"rollcall/sip"
)

// leastSilence bounds how often a watcher may have this server tell it that nothing
// changed.
const leastSilence = time.Second

// rates reads the rates that a watcher asks for (RFC 6446 §9.1), in NOTIFYs a second.
// Its subscription lasts until s.expires. The resource's lock is held, if others know
// the subscription.
func (s *subscription) rates(event string, interval time.Duration, now time.Time) {
	_, params, _ := strings.Cut(event, ";")
	read := func(name string) time.Duration {
		v, ok := sip.Params(";" + params).Get(name)
		if !ok {
			return 0
		}
		rate, err := strconv.ParseFloat(v, 64)
		if err != nil || !(rate > 0) || rate > 1000 {
			return 0
		}
		return time.Duration(min(float64(time.Second)/rate, float64(24*time.Hour)))
	}
	s.minGap, s.maxGap = max(read("max-rate"), interval), read("min-rate")
	if life := s.expires.Sub(now); life > 0 { // §5.3: there is a NOTIFY before it ends
		s.minGap = min(s.minGap, life)
	}
	if s.maxGap > 0 {
		s.maxGap = max(s.maxGap, leastSilence, s.minGap)
	}
	gap := read("adaptive-min-rate")
	if gap == 0 {
		s.pace = nil
		return
	}
	gap = max(gap, leastSilence, s.minGap) // §8
	if s.maxGap <= gap {                   // §8: then it does not count
		s.maxGap = 0
	}
	if s.pace == nil {
		s.pace = newPace(gap, now)
	}
	s.pace.gap = gap
}

// longest is how long a watcher is left without a NOTIFY, 0 for any time. The
// resource's lock is held.
func (s *subscription) longest() time.Duration {
	if s.match != "" || s.sentAt.IsZero() { // what it knows is not told again (RFC 5839 §6.3)
		return 0
	}
	gap := s.maxGap
	if p := s.pace; p != nil {
		if d := max(p.timeout(s.sentAt), leastSilence, s.minGap); gap == 0 || d < gap {
			gap = d
		}
	}
	return gap
}

// silent reports that a NOTIFY is due though nothing changed. The resource's lock is
// held.
func (s *subscription) silent(now time.Time) bool {
	gap := s.longest()
	return gap > 0 && now.Sub(s.sentAt) >= gap
}

// pace keeps an adaptive minimum rate (RFC 6446 §7.2): over a period of some NOTIFYs
// the rate is at least the one asked for, and after a burst there is more time to the
// next. A nil one keeps none. The resource's lock guards it.
type pace struct {
	gap  time.Duration // the reciprocal of the rate
	sent []time.Time   // the last NOTIFYs, at most paceMost
}

// The period over which NOTIFYs are counted is pacePeriod times the gap.
const (
	pacePeriod = 8
	paceMost   = 64
)

// newPace begins with a history of NOTIFYs at the rate that is asked for.
func newPace(gap time.Duration, now time.Time) *pace {
	p := &pace{gap: gap}
	for i := pacePeriod - 1; i > 0; i-- {
		p.sent = append(p.sent, now.Add(-time.Duration(i)*gap))
	}
	return p
}

func (p *pace) rate() time.Duration {
	if p == nil {
		return 0
	}
	return p.gap
}

// count notes a NOTIFY, and forgets those before the period.
func (p *pace) count(now time.Time) {
	if p == nil {
		return
	}
	from := now.Add(-pacePeriod * p.gap)
	kept := p.sent[:0]
	for _, at := range p.sent {
		if at.After(from) {
			kept = append(kept, at)
		}
	}
	if len(kept) == paceMost {
		kept = append(kept[:0], kept[1:]...)
	}
	p.sent = append(kept, now)
}

// timeout is the time to the next NOTIFY after the last: the number of those in the
// period before it, divided by the square of the rate times the period (RFC 6446 §7.4).
func (p *pace) timeout(last time.Time) time.Duration {
	from := last.Add(-pacePeriod * p.gap)
	n := 0
	for _, at := range p.sent {
		if at.After(from) {
			n++
		}
	}
	return time.Duration(n) * p.gap / pacePeriod
}

// appendRates confirms the rates that are kept (RFC 6446 §5.2, §6.2, §7.2).
func appendRates(b []byte, minGap, maxGap, adaptive time.Duration) []byte {
	rate := func(name string, gap time.Duration) {
		if gap > 0 {
			b = append(append(append(b, ';'), name...), '=')
			b = strconv.AppendFloat(b, 1/gap.Seconds(), 'f', 3, 64)
		}
	}
	rate("max-rate", minGap)
	rate("min-rate", maxGap)
	rate("adaptive-min-rate", adaptive)
	return b
}
