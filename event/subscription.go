package event

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"time"
	"unsafe"

	"rollcall/sip"
	"rollcall/sip/dialog"
	"rollcall/sip/transport"
	"rollcall/store"
)

// kindSubscription holds the subscriptions: the owner is the local tag, with one
// item. Its resource's index is in memory, at the server that holds the flow.
var kindSubscription = store.NewKind("subscription", store.Soft, store.Hot)

// subscription is one subscription (RFC 6665 §4.2). Its resource's lock guards
// all that changes.
type subscription struct {
	r       *resource
	dialog  dialog.Dialog
	flow    transport.Flow // that the last SUBSCRIBE came over
	watcher sip.AOR
	device  string // what tells the watcher's devices apart
	event   string // Event of NOTIFY: as the watcher wrote it, with its id
	view    View
	partial string // the partial body type that is sent once a full one was

	standing Standing
	approved bool // it was pending before
	rule     string
	review   time.Time // when the verdict may change by itself
	since    time.Time
	expires  time.Time
	minGap   time.Duration // RFC 6446 max-rate
	maxGap   time.Duration // RFC 6446 min-rate
	pace     *pace         // RFC 6446 adaptive-min-rate, nil for none

	number uint32 // CSeq of the last NOTIFY, and the version of its document
	bound  uint32 // number is stored no further than here: a restart goes on from it

	inFlight  bool   // a NOTIFY has no final response yet
	waiting   bool   // the state may have changed since the last NOTIFY
	force     bool   // a NOTIFY goes out whatever it says
	suspended bool   // its connection is gone; the next SUBSCRIBE brings another
	ended     bool   // the next NOTIFY is the last
	final     bool   // that one is under way
	reason    string // of the end
	sentAt    time.Time
	retryAt   time.Time
	tag       string // entity-tag of the last body (RFC 5839)
	match     string // Suppress-If-Match, as long as the condition may hold
	last      *made  // last full body; kept for partial ones only

	unfiltered *made // what a filter's last body was made of

	list   *list         // of a subscription to many resources
	parent *subscription // of a member of a list: who is told instead
	entry  *member
}

// numbers are reserved in blocks, so that no NOTIFY writes. At most half a block is
// used before the next is reserved: a kill that loses the last second's writes
// steps back into the other half, never below what was sent.
const numberBlock = 4096

// id names a subscription for operators and watcher information.
func (s *subscription) id() string { return s.dialog.LocalTag }

const subscriptionVersion = 1

var errStored = errors.New("malformed stored subscription")

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendTime(b []byte, t time.Time) []byte { return binary.AppendVarint(b, t.UnixMilli()) }

// Bits of a stored list.
const (
	listBare   = 1
	listInBody = 2
)

// item is the stored form.
func (s *subscription) item() store.Item {
	d := &s.dialog
	var space [1024]byte
	b := append(space[:0], subscriptionVersion, byte(s.standing))
	for _, t := range [...]string{s.r.pack.spec.Name, s.r.aor.String(), s.watcher.String()} {
		b = appendText(b, t)
	}
	for _, t := range s.texts() {
		b = appendText(b, *t)
	}
	b = binary.AppendUvarint(b, uint64(len(d.Routes)))
	for _, r := range d.Routes {
		b = appendText(b, r)
	}
	b = binary.AppendUvarint(b, uint64(d.PeerCSeq))
	b = binary.AppendUvarint(b, uint64(s.bound))
	b = binary.AppendUvarint(b, uint64(s.minGap))
	b = binary.AppendUvarint(b, uint64(s.maxGap))
	b = binary.AppendUvarint(b, uint64(s.pace.rate()))
	b = appendTime(b, s.since)
	flow, _ := s.flow.AppendBinary(nil) // never fails
	b = appendText(b, string(flow))
	if s.list != nil {
		kind := uint64(0)
		if s.list.bare {
			kind |= listBare
		}
		if s.list.inBody {
			kind |= listInBody
		}
		b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(len(s.list.members))), kind)
		for _, e := range s.list.members {
			b = appendText(appendText(b, e.aor.String()), e.name)
		}
	}
	return store.Item{Value: bytes.Clone(b), Expires: s.expires} // of its own size, for the store keeps it
}

// share makes texts of the subscription parts of its stored form, which the embedded
// store keeps in memory anyhow: all but those that are read without the resource's
// lock. That is held.
func (s *subscription) share(i store.Item) {
	r := reader{b: i.Value[2:]}
	for range 3 {
		_ = r.text()
	}
	for _, t := range s.texts() {
		if text := r.text(); t != &s.event && t != &s.dialog.LocalTag {
			*t = text
		}
	}
	for j := range r.number() {
		s.dialog.Routes[j] = r.text()
	}
}

// texts are the fields that the stored form has behind the names of package, resource
// and watcher, in its order.
func (s *subscription) texts() [14]*string {
	d := &s.dialog
	return [...]*string{&s.device, &s.event, &s.view.Class, &s.view.Type, &s.view.Filter, &s.view.Params, &s.partial, &s.rule,
		&d.CallID, &d.LocalTag, &d.RemoteTag, &d.Local, &d.Remote, &d.Target}
}

// reader takes a stored value apart; bad is set at the first fault. The texts that it
// gives are parts of the value, which nobody changes (store.Item).
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) number() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) text() string {
	n := r.number()
	if n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return ""
	}
	s := unsafe.String(unsafe.SliceData(r.b), n)
	r.b = r.b[n:]
	return s
}

func (r *reader) time() time.Time {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return time.Time{}
	}
	r.b = r.b[n:]
	return time.UnixMilli(v).UTC()
}

// aor reads an address of record; "" is the zero one.
func (r *reader) aor() sip.AOR {
	s := r.text()
	if s == "" {
		return sip.AOR{}
	}
	a, err := sip.ParseAORString(s)
	r.bad = r.bad || err != nil
	return a
}

// decodeSubscription reads the stored form. The resource is named, not set, and
// so are the members of a list.
func decodeSubscription(i store.Item) (s *subscription, pkg string, aor sip.AOR, members []Member, err error) {
	if len(i.Value) < 2 || i.Value[0] != subscriptionVersion || i.Value[1] > byte(Active) {
		return nil, "", aor, nil, errStored
	}
	r := reader{b: i.Value[2:]}
	s = &subscription{standing: Standing(i.Value[1]), expires: i.Expires}
	d := &s.dialog
	pkg, aor, s.watcher = r.text(), r.aor(), r.aor()
	for _, t := range s.texts() {
		*t = r.text()
	}
	n := r.number()
	if n > dialog.MaxRoutes {
		return nil, "", aor, nil, errStored
	}
	for range n {
		d.Routes = append(d.Routes, r.text())
	}
	d.PeerCSeq, s.bound = uint32(r.number()), uint32(r.number())
	s.minGap, s.maxGap = time.Duration(r.number()), time.Duration(r.number())
	if gap := time.Duration(r.number()); gap > 0 { // which NOTIFYs it counted is not kept
		s.pace = newPace(gap, time.Now())
	}
	s.since = r.time()
	flow := r.text()
	if r.bad || s.flow.UnmarshalBinary([]byte(flow)) != nil {
		return nil, "", aor, nil, errStored
	}
	s.number = s.bound
	if strings.HasSuffix(pkg, listSuffix) {
		n, kind := r.number(), r.number()
		if n > MaxMembers {
			return nil, "", aor, nil, errStored
		}
		for range n {
			members = append(members, Member{AOR: r.aor(), Name: r.text()})
		}
		if r.bad {
			return nil, "", aor, nil, errStored
		}
		s.list = &list{bare: kind&listBare != 0, inBody: kind&listInBody != 0, boundary: newTag()}
	}
	return s, pkg, aor, members, nil
}
