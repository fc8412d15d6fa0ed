package bench

import (
	"bytes"
	"hash/maphash"
)

// bodyMark begins every MESSAGE body; eight digits of the run and eight of
// the message follow.
const bodyMark = "rcbench "

// inbox keeps account of messages: which were sent, with which status they
// were answered, and how often each arrived.
type inbox struct {
	seed    maphash.Seed
	entries []delivery // by number
	// counts of arrivals
	delivered, duplicates, retransmissions, strays uint64
}

// delivery is one message. seen is a hash of the branch it came with, so that
// the server's retransmission (same branch) is not taken for a second
// delivery; 0 means that it has not come.
type delivery struct {
	seen   uint32
	status uint16
}

func newInbox() *inbox { return &inbox{seed: maphash.MakeSeed()} }

// open gives out the next number.
func (b *inbox) open() uint32 {
	b.entries = append(b.entries, delivery{})
	return uint32(len(b.entries) - 1)
}

func (b *inbox) answered(number uint32, status int) { b.entries[number].status = uint16(status) }

// arrived notes a delivery of the message with the number by a request with
// the branch.
func (b *inbox) arrived(number uint32, branch []byte) {
	if number >= uint32(len(b.entries)) {
		b.strays++
		return
	}
	h := uint32(maphash.Bytes(b.seed, branch)) | 1
	switch d := &b.entries[number]; d.seen {
	case 0:
		d.seen = h
		b.delivered++
	case h:
		b.retransmissions++
	default:
		b.duplicates++
	}
}

// lost counts messages that were answered with 200 but did
// not arrive. A 202 promises a later delivery (RFC 3428 §7), so it is not
// counted.
func (b *inbox) lost() (n uint64) {
	for _, d := range b.entries {
		if d.status == 200 && d.seen == 0 {
			n++
		}
	}
	return n
}

// arrive takes a request from the server: a relayed MESSAGE, or whatever else
// it sends. Each is answered with 200 (RFC 3261 §8.2.6: Via, From, To, Call-ID
// and CSeq are copied, To gets a tag).
func (e *engine) arrive(socket int, msg []byte) {
	if bytes.HasPrefix(msg, []byte("ACK ")) || bytes.IndexByte(msg, '\n') < 0 {
		return
	}
	at := len(e.arena)
	b := append(e.arena, "SIP/2.0 200 OK\r\n"...)
	var branch, cseq []byte
	terminated := false
	bodyAt := eachHeader(msg, func(name, value []byte) bool {
		switch len(name) {
		case 1, 2, 3, 4, 5, 7, len("subscription-state"):
		default:
			return true
		}
		switch {
		case equalFold(name, "via") || equalFold(name, "v"):
			if branch == nil {
				branch = value
				if i := bytes.IndexByte(value, ','); i >= 0 {
					branch = value[:i]
				}
			}
			b = appendField(b, "Via: ", value)
		case equalFold(name, "from") || equalFold(name, "f"):
			b = appendField(b, "From: ", value)
		case equalFold(name, "to") || equalFold(name, "t"):
			b = appendField(b, "To: ", value)
			if !bytes.Contains(value, []byte(";tag=")) {
				b = append(b[:len(b)-2], ";tag="...)
				b = append(b, e.tag...)
				b = append(b, "\r\n"...)
			}
		case equalFold(name, "call-id") || equalFold(name, "i"):
			b = appendField(b, "Call-ID: ", value)
		case equalFold(name, "cseq"):
			cseq = value
			b = appendField(b, "CSeq: ", value)
		case equalFold(name, "subscription-state"):
			terminated = bytes.HasPrefix(value, []byte("terminated"))
		}
		return true
	})
	b = append(b, "Content-Length: 0\r\n\r\n"...)
	e.arena = b
	e.w.send(socket, b[at:])
	if e.presence != nil {
		e.notified(msg, cseq, terminated, msg[bodyAt:])
		return
	}
	if !bytes.HasPrefix(msg, []byte("MESSAGE ")) {
		return
	}
	body := msg[bodyAt:]
	if len(body) < minBody || string(body[:len(bodyMark)]) != bodyMark || string(body[len(bodyMark):len(bodyMark)+8]) != e.tag {
		e.inbox.strays++
		return
	}
	number, ok := readHex32(body[len(bodyMark)+8:])
	if !ok {
		e.inbox.strays++
		return
	}
	e.inbox.arrived(number, branch)
}

func appendField(b []byte, name string, value []byte) []byte {
	b = append(b, name...)
	b = append(b, value...)
	return append(b, "\r\n"...)
}
