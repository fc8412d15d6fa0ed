package registrar

import (
	"strings"
	"time"

	"rollcall/sip"
	"rollcall/sip/transport"
)

// Binding is one place where an address of record is reached (RFC 3261 §10).
// Its strings share memory with the stored value, which never changes, so a
// Binding may be kept and read by many goroutines.
type Binding struct {
	ID  string // stable while the binding is refreshed, unique within the AOR
	AOR sip.AOR

	// Contact is the URI as registered, byte for byte, without angle brackets.
	Contact string

	// Params are the header parameters of the contact as registered, without q,
	// expires, tag and what only a registrar writes.
	Params sip.Params

	// Q is the preference in thousandths, 0 to 1000. A contact without q has 1000.
	Q    uint16
	QSet bool // the contact had a q

	Expires time.Time // UTC, in milliseconds
	CallID  string
	CSeq    uint32

	// Instance is the value of +sip.instance without quotes and brackets:
	// "urn:uuid:…", or "" (RFC 5626 §4.1).
	Instance string

	// RegID tells the flows of one instance apart. It is 0 when there is none, or
	// when RFC 5626 §6 says to ignore it.
	RegID uint32

	// Path is the route to the device, first hop first: each value as received,
	// with its angle brackets, fit for a Route header (RFC 3327 §5.3).
	Path []string

	// Flow is the way the REGISTER came; Flow.Remote is where it came from. It
	// leads to the device only if Direct.
	Flow transport.Flow

	// Direct reports that no proxy stood between the device and this server, so
	// requests go over Flow, whatever the contact says (RFC 5626 §7). If not, they
	// follow Path and Contact.
	Direct bool

	Outbound bool // RFC 5626 applies, and the device supports it
	GRUU     bool // the device supports GRUUs (RFC 5627)

	UserAgent  string // cut at MaxUserAgent
	Registered time.Time
	Updated    time.Time
}

// Device names the device that the binding leads to: its +sip.instance, else its
// contact.
func (b *Binding) Device() string {
	if b.Instance != "" {
		return b.Instance
	}
	return b.Contact
}

// Tied reports that the binding lives no longer than the connection of its Flow.
func (b *Binding) Tied() bool { return tied(b.Flow, b.Direct, len(b.Path) > 0) }

func tied(f transport.Flow, direct, path bool) bool { return f.Proto.Stream() && direct && !path }

// TakesMethod reports whether the device takes requests of the method: true when
// it registered no methods feature tag (RFC 3840 §10.14).
func (b *Binding) TakesMethod(method string) bool {
	v, found := b.Params.Get("methods")
	if !found {
		return true
	}
	listed, positive := false, false
	for list := strings.Trim(v, `"`); list != ""; {
		var item string
		item, list, _ = strings.Cut(list, ",")
		item = strings.TrimSpace(item)
		if not, ok := strings.CutPrefix(item, "!"); ok { // RFC 3840 §9: a value that is not supported
			if strings.EqualFold(not, method) {
				return false
			}
			continue
		}
		positive = positive || item != ""
		listed = listed || strings.EqualFold(item, method)
	}
	return listed || !positive
}
