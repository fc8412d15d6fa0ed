package auth

import "sync/atomic"

// Stats counts what an Authenticator decided since it was made. Each request is in
// one count but for Legacy and Slowed.
type Stats struct {
	Accepted   uint64
	Challenged uint64 // no credentials for us
	Malformed  uint64
	Wrong      uint64 // wrong passwords and unknown users
	Slowed     uint64 // of Wrong: answered 503
	Stale      uint64 // nonce too old, forgotten, or of another process
	Replayed   uint64 // nonce count used before
	Disabled   uint64
	Forged     uint64 // From, To or P-Preferred-Identity of another account
	Legacy     uint64 // right ones in the form of RFC 2069
}

type counters struct {
	accepted, challenged, malformed, wrong, slowed, stale, replayed, disabled, forged, legacy atomic.Uint64
}

// Stats returns the counts.
func (a *Authenticator) Stats() Stats {
	c := &a.stats
	return Stats{
		Accepted: c.accepted.Load(), Challenged: c.challenged.Load(), Malformed: c.malformed.Load(),
		Wrong: c.wrong.Load(), Slowed: c.slowed.Load(), Stale: c.stale.Load(), Replayed: c.replayed.Load(),
		Disabled: c.disabled.Load(), Forged: c.forged.Load(), Legacy: c.legacy.Load(),
	}
}
