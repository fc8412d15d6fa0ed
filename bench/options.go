package bench

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"
)

// Options says which load to put on which server. [DefaultOptions] returns a
// value to start from; only Server has to be filled in then.
type Options struct {
	// Server is host:port of the server.
	Server string
	// Transport is "udp" (default) or "tcp".
	Transport string
	// Domain is the domain of the users and of the Request-URI. Default: the
	// host of Server.
	Domain string

	// Users is the number of accounts, default 1000. In a message load each
	// of them receives and sends.
	Users int
	// First is the number of the first user. Default 0.
	First int
	// UserFormat makes a user name of a number, default "u%06d".
	UserFormat string
	// Password returns the password of a user name. Nil: the user name is
	// the password.
	Password func(user string) string

	// Window is the number of operations under way at once in the closed
	// loop, default 128. It is never more than Users: a user waits for its
	// answer before it asks again.
	Window int
	// Rate, if above 0, makes the loop open: so many operations a second
	// begin, whatever the server does; latency counts from the moment an
	// operation was due. Operations that find every user busy wait, and the
	// waiting counts.
	Rate float64
	// Duration is how long the measured part lasts, default 10 s. Zero with
	// Count: until Count operations ended.
	Duration time.Duration
	// Count, if above 0, ends the measured part after so many operations.
	Count int
	// Warmup is load before the measured part, default 1 s.
	Warmup time.Duration
	// SetupOnly ends the run when every user is registered, and reports that
	// part alone.
	SetupOnly bool
	// Keep leaves the registrations in place at the end. Otherwise each user
	// removes its own.
	Keep bool

	// Connections is the number of TCP connections, default 32. Users share
	// them evenly.
	Connections int
	// Sockets is the number of UDP sockets, default 8. Servers that spread
	// load over sockets of their own do it by the peer's address, so one
	// socket would reach one of their workers only.
	Sockets int

	// Presentities is the number of users that publish in a presence load, the
	// first ones; default Users. Watchers is how many of the other users watch
	// each of them, default 5.
	Presentities int
	Watchers     int
	// Hold, if above 0, has a presence load make so many subscriptions and end.
	// They are shared out evenly, so Presentities and Watchers are not asked;
	// Rate is that of the subscriptions.
	Hold int
	// Storm, if above 0, has a presence load end with so many subscriptions
	// refreshed at once, while StormRate (default 1000) registrations a second
	// are refreshed beside. A user refreshes one subscription after the other.
	Storm     int
	StormRate float64

	// BodySize is the size of a MESSAGE body in bytes, default 64, at least
	// 24: it begins with the number by which deliveries are counted.
	BodySize int
	// Expires is the lifetime asked for in REGISTER, default one hour.
	Expires time.Duration

	// Algorithm is the digest algorithm to answer with: "MD5", "SHA-256",
	// "SHA-512-256", or "auto" (default), the first one offered that is
	// among these (RFC 8760 §2.4).
	Algorithm string
	// Challenge begins every operation without credentials, so that each is
	// challenged anew: no nonce is used twice.
	Challenge bool

	// T1 is the round-trip estimate of RFC 3261 §17.1.1.1: the first
	// retransmission follows after T1, the operation is given up after 64
	// T1. Default 500 ms.
	T1 time.Duration
	// Seed makes the choice of users repeatable. Zero: taken from the clock.
	Seed uint64

	// ServerPID names the server's processes on this machine. If given, the
	// report has their CPU time and memory, all their descendants included.
	ServerPID []int
	// Progress, if not nil, gets a line each second.
	Progress io.Writer
}

// DefaultOptions returns the options of a load on the server at the given
// address (host:port), every default written out.
func DefaultOptions(server string) Options {
	return Options{
		Server:      server,
		Transport:   "udp",
		Users:       1000,
		UserFormat:  "u%06d",
		Window:      128,
		Duration:    10 * time.Second,
		Warmup:      time.Second,
		Connections: 32,
		Sockets:     8,
		BodySize:    64,
		Expires:     time.Hour,
		Algorithm:   "auto",
		T1:          500 * time.Millisecond,
	}
}

const (
	minBody   = 24
	maxBody   = 60 << 10
	maxUsers  = 10_000_000
	maxWindow = 1 << 16
)

// check fills in what was left empty and refuses what cannot be run.
func (o *Options) check() error {
	if o.Server == "" {
		return errors.New("bench: no server given")
	}
	if o.Domain == "" {
		host := o.Server
		if i := strings.LastIndexByte(host, ':'); i >= 0 {
			host = host[:i]
		}
		o.Domain = host
		if a, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil && a.Is6() {
			o.Domain = "[" + a.String() + "]"
		}
	}
	d := DefaultOptions("")
	setDefault(&o.Transport, d.Transport)
	setDefault(&o.Users, d.Users)
	setDefault(&o.UserFormat, d.UserFormat)
	setDefault(&o.Window, d.Window)
	setDefault(&o.Connections, d.Connections)
	setDefault(&o.Sockets, d.Sockets)
	setDefault(&o.BodySize, d.BodySize)
	setDefault(&o.Expires, d.Expires)
	setDefault(&o.Algorithm, d.Algorithm)
	setDefault(&o.T1, d.T1)
	if o.Count == 0 {
		setDefault(&o.Duration, d.Duration)
	}
	if o.Seed == 0 {
		o.Seed = uint64(time.Now().UnixNano())
	}
	if o.Password == nil {
		o.Password = func(user string) string { return user }
	}

	o.Transport = strings.ToLower(o.Transport)
	if o.Transport != "udp" && o.Transport != "tcp" {
		return fmt.Errorf("bench: transport %q is neither udp nor tcp", o.Transport)
	}
	if o.Users < 1 || o.Users > maxUsers {
		return fmt.Errorf("bench: %d users, want 1 to %d", o.Users, maxUsers)
	}
	if o.Window < 1 || o.Window > maxWindow {
		return fmt.Errorf("bench: window %d, want 1 to %d", o.Window, maxWindow)
	}
	if o.First < 0 || o.Rate < 0 || o.Count < 0 || o.Duration < 0 || o.Warmup < 0 || o.Expires < 0 {
		return errors.New("bench: a negative number, rate or duration")
	}
	if o.T1 < time.Millisecond {
		return fmt.Errorf("bench: T1 %v is below a millisecond", o.T1)
	}
	if o.BodySize < minBody || o.BodySize > maxBody {
		return fmt.Errorf("bench: body of %d bytes, want %d to %d", o.BodySize, minBody, maxBody)
	}
	if o.Sockets < 1 || o.Connections < 1 {
		return errors.New("bench: sockets and connections are at least one")
	}
	if name := fmt.Sprintf(o.UserFormat, o.First); strings.Contains(name, "%!") || strings.ContainsAny(name, " \r\n\"<>@:;") {
		return fmt.Errorf("bench: user format %q makes %q, which is not a user name", o.UserFormat, name)
	}
	if !strings.EqualFold(o.Algorithm, "auto") {
		if _, ok := parseAlgorithm(o.Algorithm); !ok {
			return fmt.Errorf("bench: algorithm %q is none of MD5, SHA-256, SHA-512-256, auto", o.Algorithm)
		}
	}
	// More sockets than users would leave some silent.
	o.Sockets = min(o.Sockets, o.Users)
	o.Connections = min(o.Connections, o.Users)
	return nil
}

// checkPresence does for the options of a presence load what check does for
// all.
func (o *Options) checkPresence() error {
	if o.Presentities < 0 || o.Watchers < 0 || o.Hold < 0 || o.Storm < 0 || o.StormRate < 0 {
		return errors.New("bench: a negative number of presentities, watchers or subscriptions, or a negative rate")
	}
	if o.Users < 2 {
		return errors.New("bench: a presence load needs two users")
	}
	setDefault(&o.Watchers, min(defaultWatchers, o.Users-1))
	setDefault(&o.Presentities, o.Users)
	setDefault(&o.StormRate, defaultStormRate)
	if o.Hold > 0 {
		o.Presentities = min(o.Users, o.Hold)
		o.Watchers = (o.Hold + o.Presentities - 1) / o.Presentities
	}
	if o.Presentities > o.Users {
		return fmt.Errorf("bench: %d presentities of %d users", o.Presentities, o.Users)
	}
	if o.Watchers >= o.Users {
		return fmt.Errorf("bench: %d watchers of one user need %d users, not %d", o.Watchers, o.Watchers+1, o.Users)
	}
	if n := o.Presentities * o.Watchers; n > maxUsers {
		return fmt.Errorf("bench: %d subscriptions, want at most %d", n, maxUsers)
	} else if o.Storm > min(n, maxStorm) {
		return fmt.Errorf("bench: a storm of %d of %d subscriptions, want at most %d", o.Storm, n, min(n, maxStorm))
	}
	return nil
}

// holdRate is the rate at which subscriptions to hold are made: if none is
// given, as fast as the window allows.
func (o *Options) holdRate() float64 {
	if o.Hold > 0 {
		return o.Rate
	}
	return 0
}

const (
	defaultWatchers  = 5
	defaultStormRate = 1000
	maxStorm         = 1 << 20
)

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
