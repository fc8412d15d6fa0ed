package registrar

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	"rollcall/sip"
	"rollcall/sip/transport"
)

// contact is one value of a REGISTER's Contact, checked. It is a view of the
// message.
type contact struct {
	uri      sip.URI
	params   sip.Params
	instance string
	regID    uint32
	q        uint16
	qSet     bool
	expires  uint32 // seconds, as granted
}

// malformedExpiry is what an expiry that is no number counts as (RFC 3261
// §20.10: "Malformed values SHOULD be treated as equivalent to 3600").
const malformedExpiry = 3600

func badRequest(reason string) *sip.Error { return sip.NewError(sip.StatusBadRequest, reason) }

// parse reads and checks one Contact value. expires is the Expires header's, or
// the default.
func (c *contact) parse(value string, expires uint32) *sip.Error {
	a, err := sip.ParseAddress(value)
	if err != nil {
		return badRequest("Malformed Contact")
	}
	if len(a.URI) > MaxContactURI {
		return badRequest("Contact URI is longer than " + strconv.Itoa(MaxContactURI) + " bytes")
	}
	if len(a.Params) > MaxParams {
		return badRequest("Contact parameters are longer than " + strconv.Itoa(MaxParams) + " bytes")
	}
	*c = contact{params: a.Params, q: 1000, expires: expires}
	if c.uri, err = sip.ParseURI(a.URI); err != nil {
		return badRequest("Malformed Contact URI")
	}
	for p := a.Params; ; {
		name, v, rest, done, _ := p.Next() // ParseAddress has checked them
		if done {
			return nil
		}
		p = rest
		switch {
		case len(name) == len("q") && name[0]|0x20 == 'q':
			var ok bool
			if c.q, ok = parseQ(v); !ok {
				return badRequest("Malformed q in Contact") // RFC 3261 §25.1 qvalue
			}
			c.qSet = true
		case strings.EqualFold(name, "expires"):
			c.expires = parseExpires(v)
		case strings.EqualFold(name, "reg-id"):
			var ok bool
			if c.regID, ok = sip.ParseUint(v); !ok || c.regID == 0 || c.regID > 1<<31-1 { // RFC 5626 §4.2: 1 to 2^31-1
				return badRequest("Malformed reg-id in Contact")
			}
		case strings.EqualFold(name, "+sip.instance"):
			c.instance = instance(v)
			if len(c.instance) > MaxInstance {
				return badRequest("+sip.instance is longer than " + strconv.Itoa(MaxInstance) + " bytes")
			}
		}
	}
}

// instance strips the quotes and brackets of +sip.instance (RFC 5626 §4.1). The
// rest is compared byte by byte.
func instance(v string) string {
	v = sip.Unquote(v)
	if len(v) >= 2 && v[0] == '<' && v[len(v)-1] == '>' {
		v = v[1 : len(v)-1]
	}
	return v
}

func parseExpires(v string) uint32 {
	n, ok := sip.ParseUint(v)
	if !ok {
		return malformedExpiry
	}
	return n
}

// parseQ reads a qvalue in thousandths (RFC 3261 §25.1).
func parseQ(v string) (q uint16, ok bool) {
	if v == "" || v[0] != '0' && v[0] != '1' || len(v) > len("0.000") || len(v) > 1 && v[1] != '.' {
		return 0, false
	}
	q = uint16(v[0]-'0') * 1000
	unit := uint16(100)
	for i := 2; i < len(v); i++ {
		if v[i] < '0' || v[i] > '9' {
			return 0, false
		}
		q += uint16(v[i]-'0') * unit
		unit /= 10
	}
	return q, q <= 1000
}

func appendQ(dst []byte, q uint16) []byte {
	if q >= 1000 {
		return append(dst, '1')
	}
	if q == 0 {
		return append(dst, '0')
	}
	dst = append(dst, '0', '.', byte('0'+q/100), byte('0'+q/10%10), byte('0'+q%10))
	for dst[len(dst)-1] == '0' {
		dst = dst[:len(dst)-1]
	}
	return dst
}

// grant turns the requested expiry into the granted one (RFC 3261 §10.3 item 7:
// "The registrar MAY choose an expiration less than the requested"; it may be
// refused "If and only if the requested expiration interval is greater than zero
// AND smaller than one hour AND less than a registrar-configured minimum").
func (c *contact) grant(o *Options) *sip.Error {
	least := seconds(o.Min)
	if c.expires > 0 && c.expires < 3600 && c.expires < least {
		// A minimum over an hour can be asked for only from those under an hour.
		return sip.NewError(sip.StatusIntervalTooBrief, "", sip.Field{Name: "Min-Expires", Value: strconv.FormatUint(uint64(min(least, 3600)), 10)})
	}
	c.expires = min(c.expires, seconds(o.Max))
	return nil
}

// seconds rounds up: an option of half a second is not zero.
func seconds(d time.Duration) uint32 {
	return uint32(min((d+time.Second-1)/time.Second, 1<<32-1))
}

// refuse says why nothing can be relayed to the contact.
func (c *contact) refuse(o *Options, flow transport.Flow) *sip.Error {
	u := &c.uri
	if !u.IsSIP() {
		return sip.NewError(sip.StatusForbidden, "Only sip and sips Contacts are taken")
	}
	if u.Headers != "" {
		// RFC 3261 §19.1.1 allows them, but a Request-URI must not have them: the
		// sender would be made to write headers that the contact's owner chose.
		return sip.NewError(sip.StatusForbidden, "Contact with URI headers is not taken")
	}
	a, isAddr := address(u)
	if isAddr && (a.IsMulticast() || a == broadcast) { // one request in, a network full of answers
		return sip.NewError(sip.StatusForbidden, "Contact is the address of many hosts")
	}
	// A contact that is an address of record of ours, or this very socket, makes
	// a loop, and with several of them a storm (RFC 5393 §3).
	loop := false
	if o.serves(u.Host) {
		loop = u.Port == 0 || u.Port == flow.Local.Port()
	} else if isAddr && flow.Local.IsValid() {
		at := netip.AddrPortFrom(a, u.Port)
		if u.Port == 0 {
			at = netip.AddrPortFrom(a, 5060)
		}
		loop = at == flow.Local || o.Here != nil && o.Here(at)
	}
	if loop {
		return sip.NewError(sip.StatusForbidden, "Contact leads back to this server")
	}
	return nil
}

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// address returns the host when it is no name.
func address(u *sip.URI) (netip.Addr, bool) {
	if h := u.Host; h == "" || h[0] > '9' && strings.IndexByte(h, ':') < 0 {
		return netip.Addr{}, false
	}
	return u.Addr()
}
