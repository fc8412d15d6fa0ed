package im

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash/fnv"
	"math/bits"
	"strings"

	"rollcall/sip"
)

// requestKey names a SIP request in the record, so that a retransmission is
// known after a restart: a keyed hash of its top Via's branch and sent-by,
// Call-ID, CSeq and From (RFC 3261 §17.2.3, §16.11).
type requestKey [16]byte

func (r *Relay) keyOf(m *sip.Message) requestKey {
	via := m.Via()
	n, _ := m.CSeq()
	var space [512]byte
	b := append(space[:0], r.o.Key...)
	for _, part := range [...]string{via.Branch, via.Host, m.CallID(), m.Get(sip.HeaderFrom)} {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(part)))
		b = append(b, part...)
	}
	b = binary.LittleEndian.AppendUint16(b, via.Port)
	b = binary.LittleEndian.AppendUint32(b, n)
	sum := sha256.Sum256(b)
	return requestKey(sum[:16])
}

// appendBranch appends what the request is sent under to a device: the same after a crash,
// so that the device takes a repeat for a retransmission, and another one after
// each answer it gave, so that a new try is not taken for one. The key makes it
// unguessable, the device unique, and the loop mark tells of a request that
// comes back.
func appendBranch(b []byte, k requestKey, device string, answers uint64, loop string) []byte {
	h := fnv.New64a()
	_, _ = h.Write([]byte(device)) // never fails
	b = append(b, sip.MagicCookie...)
	b = hex.AppendEncode(b, k[:])
	b = hex.AppendEncode(b, binary.BigEndian.AppendUint64(nil, h.Sum64()+answers))
	return append(b, loop...)
}

// loopMark is the tail of the branches of a request for a target: when it stands
// in a Via of a request that comes in, the request has been here before and
// would go the same way again (RFC 3261 §16.6 item 8, RFC 5393 §4.2). As a part of
// the branch it must be the same after a restart.
func (r *Relay) loopMark(m *sip.Message, to sip.AOR) string {
	n, _ := m.CSeq()
	h := r.loopSeed
	for _, part := range [...]string{to.User(), to.Domain(), m.Get(sip.HeaderFrom), m.CallID()} {
		h = mix(h, uint64(len(part))) // parts the strings
		for ; len(part) >= 8; part = part[8:] {
			h = mix(h, uint64(part[0])|uint64(part[1])<<8|uint64(part[2])<<16|uint64(part[3])<<24|
				uint64(part[4])<<32|uint64(part[5])<<40|uint64(part[6])<<48|uint64(part[7])<<56)
		}
		var rest uint64
		for i := range len(part) {
			rest |= uint64(part[i]) << (8 * i)
		}
		h = mix(h, rest)
	}
	h = mix(h, uint64(n))
	var sum [8]byte
	binary.BigEndian.PutUint64(sum[:], h)
	mark := [1 + 2*len(sum)]byte{'-'}
	hex.Encode(mark[1:], sum[:])
	return string(mark[:])
}

// mix takes eight bytes into a hash: both halves of a product, so that each bit of the
// one and of the other has its part in all of the sum.
func mix(h, x uint64) uint64 {
	high, low := bits.Mul64(h^x, mixPrime)
	return high ^ low
}

// mixPrime is that of Knuth's multiplicative hash, 2^64 by the golden ratio, made odd.
const mixPrime = 0x9e3779b97f4a7c15

// newLoopSeed makes the start value of loop marks.
func newLoopSeed(key []byte) uint64 {
	sum := sha256.Sum256(append([]byte("loop mark "), key...))
	return binary.BigEndian.Uint64(sum[:8])
}

// looped reports a request that passed here before on its way to the same target.
func looped(m *sip.Message, mark string) bool {
	if m.Count(sip.HeaderVia) == 1 && !strings.Contains(m.Get(sip.HeaderVia), ",") {
		return false // the sender's own
	}
	found := false
	m.Each(sip.HeaderVia, func(v string) bool {
		found = strings.Contains(v, mark)
		return !found
	})
	return found
}
