package im

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
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
	sum := r.hash(via.Branch, via.Host, string(binary.BigEndian.AppendUint16(nil, via.Port)),
		m.CallID(), string(binary.BigEndian.AppendUint32(nil, n)), m.Get(sip.HeaderFrom))
	return requestKey(sum[:16])
}

// branch is what the request is sent under to a device: the same after a crash,
// so that the device takes a repeat for a retransmission, and another one after
// each answer it gave, so that a new try is not taken for one. Its tail
// recognises a request that comes back.
func (r *Relay) branch(k requestKey, device string, answers uint64, loop string) string {
	sum := r.hash(string(k[:]), device, string(binary.AppendUvarint(nil, answers)))
	buf := make([]byte, 0, len(sip.MagicCookie)+32+len(loop))
	buf = append(buf, sip.MagicCookie...)
	buf = hex.AppendEncode(buf, sum[:16])
	return string(append(buf, loop...))
}

// loopMark is the tail of the branches of a request for a target: when it stands
// in a Via of a request that comes in, the request has been here before and
// would go the same way again (RFC 3261 §16.6 item 8, RFC 5393 §4.2).
func (r *Relay) loopMark(m *sip.Message, to sip.AOR) string {
	n, _ := m.CSeq()
	sum := r.hash("loop", to.String(), m.Get(sip.HeaderFrom), m.CallID(), string(binary.BigEndian.AppendUint32(nil, n)))
	return "-" + hex.EncodeToString(sum[:6])
}

// looped reports a request that passed here before on its way to the same target.
func looped(m *sip.Message, mark string) bool {
	found := false
	m.Each(sip.HeaderVia, func(v string) bool {
		found = strings.Contains(v, mark)
		return !found
	})
	return found
}

// hash mixes the key and the parts, each with its length.
func (r *Relay) hash(parts ...string) [32]byte {
	var space [512]byte
	b := append(space[:0], r.o.Key...)
	for _, p := range parts {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(p)))
		b = append(b, p...)
	}
	return sha256.Sum256(b)
}
