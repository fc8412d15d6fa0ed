package archive

import (
	"bytes"
	"strconv"
	"time"
)

// Type says what kind of fact a record states.
type Type uint8

// The types in use. All other numbers up to typeMax are free for later kinds
// of records (acts of people, checkpoints, gaps); FORMAT.md lists the reserved ones.
const (
	// TypeMessage is a request that was received, stated before it was acted on.
	TypeMessage Type = 1
	// TypeOutcome says what became of an earlier record, the one it cites.
	TypeOutcome Type = 2
	// TypeAct says what a person or the server did to or with the record: a
	// search, an export, a hold, a purge, a review, a change of the policy.
	TypeAct Type = 3
)

var typeNames = []string{1: "message", 2: "outcome", 3: "act"}

// String returns the name of the type, or type-N for one this reader does not know.
func (t Type) String() string { return nameOf(typeNames, uint8(t), "type-") }

// Direction says on which side of the house the parties are.
type Direction uint8

// The directions. The zero value means not known.
const (
	Internal  Direction = 1 // both parties are ours
	In        Direction = 2 // from outside to one of ours
	Out       Direction = 3 // from one of ours to the outside
	Federated Direction = 4 // to or from a peer domain by agreement
)

var directionNames = []string{1: "internal", 2: "in", 3: "out", 4: "federated"}

// String returns the name of the direction; the zero value gives "".
func (d Direction) String() string { return nameOf(directionNames, uint8(d), "direction-") }

// Disposition says how an outcome ended.
type Disposition uint8

// The dispositions. The zero value stands in records that are no outcome.
const (
	Delivered   Disposition = 1 // a device answered 2xx
	Stored      Disposition = 2 // kept for a device that will come
	Refused     Disposition = 3 // not allowed, or not possible; the sender was told
	Expired     Disposition = 4 // its time ran out before a device took it
	Failed      Disposition = 5 // every try to deliver it failed
	Interrupted Disposition = 6 // the server stopped before it knew
	Dropped     Disposition = 7 // ended with neither delivery nor answer
)

var dispositionNames = []string{
	1: "delivered", 2: "stored", 3: "refused", 4: "expired", 5: "failed", 6: "interrupted", 7: "dropped",
}

// String returns the name of the disposition; the zero value gives "".
func (d Disposition) String() string { return nameOf(dispositionNames, uint8(d), "disposition-") }

func nameOf(names []string, n uint8, prefix string) string {
	if int(n) < len(names) {
		return names[n]
	}
	return prefix + strconv.Itoa(int(n))
}

// Content says what a reader found of a record's content.
type Content uint8

// The states of a content.
const (
	Present Content = 0 // it is there, or the record never had any
	Sealed  Content = 1 // it is there, and the reader has no key to it
	Erased  Content = 2 // only the commitment to it is left, or its key was destroyed
)

var contentNames = []string{0: "", 1: "sealed", 2: "erased"}

// String returns the name of the state; that of a content that is there is "".
func (c Content) String() string { return nameOf(contentNames, uint8(c), "content-") }

// Record is one fact. It is never changed once it is in the journal: what
// happens later is a further record that cites it. Times are kept in
// microseconds, UTC. A field that does not apply is zero and takes no room.
type Record struct {
	Type Type
	// ID is set by the journal when it is zero.
	ID ID
	// Seq counts the records of a journal from 1, without a gap. The journal sets it.
	Seq uint64
	// Node names the server that wrote the record; the journal's when empty.
	Node string
	// Received is when the first byte of the request was seen. It may jump
	// as the clock does.
	Received time.Time
	// Archived is when the record was written. The journal sets it, and it
	// never goes back from one record to the next.
	Archived time.Time
	// Salt is random, of this record alone, so that the commitment to its
	// content tells nothing about a guessable body. It is part of the content,
	// and goes with it. The journal sets it.
	Salt [16]byte

	// Cites is the record that this one is about; of an outcome always set.
	Cites ID

	Direction Direction
	Channel   string // "sip-message" …

	From, To string // AORs, "sip:alice@example.com"
	Alias    string // the address that was asked for, where it is not To but an alias of that account
	FromName string // display name
	Subject  string

	CallID     string
	CSeq       uint32
	Branch     string
	Method     string
	RequestURI string

	Source    string // "udp 192.0.2.1:5060"
	Flow      string
	Device    string // +sip.instance, else the contact
	UserAgent string

	ContentType string
	MessageID   string // of IMDN, RFC 5438 §6.3
	Date        string // as the sender wrote it

	Decision string // "allow" or "refuse"
	Rule     string // that decided
	Policy   string // version of the rules that decided
	Flags    string // rules that want a review, parted by spaces

	// Size is the number of bytes of the body, whether it is kept or not.
	Size uint64

	// Class is the retention class of the content; empty means the default one.
	Class string
	// FromUnit and ToUnit are the business units of the parties at that time.
	FromUnit, ToUnit string
	// FromGroups and ToGroups are the groups of the parties at that time, parted by semicolons.
	FromGroups, ToGroups string

	Actor  string // of an act: who, "officer@example.com" or "server"
	Action string // of an act: "search", "export", "hold", "purge" …
	Object string // of an act: what it was done to

	// Raw is the request as received, byte for byte. When BodyOmitted is set
	// it ends after the empty line behind the headers. Of an act it is what
	// else is known of it, as JSON.
	Raw         []byte
	BodyOmitted bool
	// Content says whether a reader found the content. While it is Sealed or
	// Erased, Raw and the fields that stand with it are empty, and Commitment
	// is the SHA-256 of what was there.
	Content    Content
	Commitment [32]byte

	Disposition Disposition // of an outcome
	Status      uint16      // SIP status that ended it; 0 when there was none
	Reason      string
	Target      string // URI of the binding, or what else it went to

	// RequestKey identifies the SIP request of a message, so that a
	// retransmission is known after a restart. It is a keyed hash made by the
	// caller; zero means none.
	RequestKey [16]byte
}

// Body returns the part of Raw behind the empty line that ends the headers
// (RFC 3261 §7), as a part of Raw, or nil when there is none.
func (r *Record) Body() []byte {
	i := bytes.Index(r.Raw, []byte("\r\n\r\n"))
	if i < 0 || i+4 == len(r.Raw) {
		return nil
	}
	return r.Raw[i+4:]
}

// Time is when the request came or, of a record without one, when it was archived.
func (r *Record) Time() time.Time {
	if r.Received.IsZero() {
		return r.Archived
	}
	return r.Received
}

// Conversation names the two parties in an order that does not depend on who
// wrote: the sorted pair of AORs, parted by a space. It is empty when the
// record names no party.
func (r *Record) Conversation() string {
	switch {
	case r.From == "" && r.To == "":
		return ""
	case r.From <= r.To:
		return r.From + " " + r.To
	default:
		return r.To + " " + r.From
	}
}

// Receipt is the proof that a record is durable. Only a Journal makes valid
// ones; the zero Receipt is invalid.
type Receipt struct {
	id  ID
	seq uint64
}

// Valid reports whether a journal gave this receipt.
func (r Receipt) Valid() bool { return r.seq != 0 }

// ID returns the ID of the record.
func (r Receipt) ID() ID { return r.id }

// Seq returns the number of the record in its journal.
func (r Receipt) Seq() uint64 { return r.seq }
