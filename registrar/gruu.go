package registrar

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"net/url"
	"strings"

	"rollcall/sip"
)

// GRUUs makes and reads globally routable URIs of user agents (RFC 5627) and keeps
// none: what a GRUU leads to stands in it.
//
// A public one is the address of record with the instance, which the device shows to
// everybody who is given it; it leads to the device whenever that is registered. A
// temporary one hides both. What it hides is encrypted with a key of this server: the
// address of record, and a mark of the registration that it was made for. With another
// Call-ID, or after a time without registration, the registration has another mark, and
// the GRUUs of before lead nowhere (§5.1, §5.3).
type GRUUs struct {
	aead cipher.AEAD
	key  []byte
}

// NewGRUUs uses key, which must be the same after a restart, and on all servers that share
// a store.
func NewGRUUs(key []byte) *GRUUs {
	g := &GRUUs{key: append([]byte(nil), key...)}
	sealing := g.sum("temporary GRUU")
	block, err := aes.NewCipher(sealing[:])
	if err == nil {
		g.aead, err = cipher.NewGCM(block)
	}
	if err != nil {
		panic("registrar: " + err.Error()) // 32 bytes are a key
	}
	return g
}

func (g *GRUUs) sum(parts ...string) (sum [sha256.Size]byte) {
	h := hmac.New(sha256.New, g.key)
	var length [4]byte
	for _, p := range parts {
		binary.BigEndian.PutUint32(length[:], uint32(len(p)))
		h.Write(length[:])
		h.Write([]byte(p))
	}
	h.Sum(sum[:0])
	return sum
}

// temporaryUser begins the user part of temporary GRUUs, as in Appendix A.2.
const temporaryUser = "tgruu."

// hiddenStep is the multiple of bytes that is hidden in a temporary GRUU, so that its length
// does not tell whose it is (RFC 5627 §5.1); maxHidden bounds the address of record, so that the user part is
// one of an address.
const (
	hiddenStep = 64
	maxHidden  = 3*hiddenStep - len(mark{})
)

// mark tells one registration of a device from the one before and after.
type mark [8]byte

func (g *GRUUs) mark(aor, instance, callID string, registered int64) (m mark) {
	sum := g.sum("registration", aor, strings.ToLower(instance), callID, number(registered))
	return mark(sum[:])
}

func number(n int64) string { return string(binary.BigEndian.AppendUint64(nil, uint64(n))) }

// appendPublic appends the public GRUU of an instance (RFC 5627 §5.4, Appendix A.1).
func appendPublic(dst []byte, aor sip.AOR, instance string) []byte {
	dst = append(append(dst, aor.String()...), ";gr="...)
	for i := range len(instance) {
		if c := instance[i]; paramChar(c) {
			dst = append(dst, c)
		} else {
			const hex = "0123456789ABCDEF"
			dst = append(dst, '%', hex[c>>4], hex[c&15])
		}
	}
	return dst
}

// paramChar are the characters that stand in a URI parameter without escape (RFC 3261 §25.1).
func paramChar(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-_.!~*'()[]/:&+$", c) >= 0
}

// appendTemporary appends the temporary GRUU that a REGISTER made: each makes another, but
// the same again whenever it is asked for. Nothing is appended for an address of record that is
// too long.
func (g *GRUUs) appendTemporary(dst []byte, aor sip.AOR, rec *record) []byte {
	s := aor.String()
	if len(s) > maxHidden {
		return dst
	}
	m := g.mark(s, rec.instance, rec.callID, rec.registered)
	// The nonce is made of all that tells one REGISTER from another, so it comes with one text only.
	nonce := g.sum("nonce", s, string(m[:]), number(int64(rec.cseq)), number(rec.updated))
	b := append(make([]byte, 0, 512), nonce[:g.aead.NonceSize()]...)
	text := append(m[:], s...)
	text = append(text, make([]byte, (hiddenStep-len(text)%hiddenStep)%hiddenStep)...)
	b = g.aead.Seal(b, b, text, nil)
	dst = append(append(dst, "sip:"...), temporaryUser...)
	dst = base64.RawURLEncoding.AppendEncode(dst, b)
	return append(append(append(dst, '@'), aor.Domain()...), ";gr"...)
}

// appendParams appends what a REGISTER with Supported: gruu is told of a contact (RFC 5627 §5.2).
func (g *GRUUs) appendParams(dst []byte, aor sip.AOR, rec *record) []byte {
	if g == nil || rec.instance == "" || rec.flags&flagGRUU == 0 {
		return dst
	}
	dst = append(appendPublic(append(dst, `;pub-gruu="`...), aor, rec.instance), '"')
	begun := len(dst)
	dst = append(dst, `;temp-gruu="`...)
	empty := len(dst)
	if dst = g.appendTemporary(dst, aor, rec); len(dst) == empty {
		return dst[:begun]
	}
	return append(dst, '"')
}

// Of returns the GRUUs of a binding, the most recent temporary one; both are empty if the
// device did not ask for them.
func (g *GRUUs) Of(b *Binding) (public, temporary string) {
	if g == nil || b.Instance == "" || !b.GRUU {
		return "", ""
	}
	rec := record{instance: b.Instance, callID: b.CallID, cseq: b.CSeq, registered: b.Registered.UnixMilli(), updated: b.Updated.UnixMilli()}
	return string(appendPublic(nil, b.AOR, b.Instance)), string(g.appendTemporary(nil, b.AOR, &rec))
}

// GRUU is a URI that names one device of an address of record. The zero GRUU names none.
type GRUU struct {
	AOR       sip.AOR
	Temporary bool

	instance string // of a public one
	mark     mark   // of a temporary one
	g        *GRUUs
}

// IsZero reports that it names no device.
func (x *GRUU) IsZero() bool { return x.g == nil }

// Parse reads the GRUU that a URI of our domains is. Found is false if it is no GRUU at all: it
// has no parameter gr. With found, the zero GRUU is one that is not valid, and never was.
func (g *GRUUs) Parse(u sip.URI) (x GRUU, found bool) {
	if u.Params == "" || g == nil {
		return GRUU{}, false
	}
	value, found := u.Param("gr")
	if !found {
		return GRUU{}, false
	}
	aor, err := sip.ParseAOR(u)
	if err != nil {
		return GRUU{}, true
	}
	if value != "" {
		instance, err := url.PathUnescape(value)
		if err != nil {
			return GRUU{}, true
		}
		return GRUU{AOR: aor, instance: instance, g: g}, true
	}
	hidden, ours := strings.CutPrefix(u.User, temporaryUser)
	b, err := base64.RawURLEncoding.DecodeString(hidden)
	if n := g.aead.NonceSize(); ours && err == nil && len(b) > n {
		text, err := g.aead.Open(nil, b[:n], b[n:], nil)
		if err != nil || len(text) < len(x.mark) {
			return GRUU{}, true
		}
		of, err := sip.ParseAORString(strings.TrimRight(string(text[len(x.mark):]), "\x00"))
		if err != nil || of.Domain() != aor.Domain() {
			return GRUU{}, true
		}
		return GRUU{AOR: of, Temporary: true, mark: mark(text), g: g}, true
	}
	return GRUU{}, true
}

// Leads reports whether the GRUU leads to the device of a binding.
func (x *GRUU) Leads(b *Binding) bool {
	switch {
	case b.Instance == "" || !b.GRUU:
		return false
	case x.Temporary:
		return x.mark == x.g.mark(x.AOR.String(), b.Instance, b.CallID, b.Registered.UnixMilli())
	}
	return strings.EqualFold(x.instance, b.Instance)
}
