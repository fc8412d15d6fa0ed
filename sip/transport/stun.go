package transport

import (
	"net/netip"
	"strings"

	"github.com/pion/stun/v3"
)

// stunAnswer answers a STUN Binding request on the SIP port with the address
// that it came from (RFC 5626 §4.4.2, RFC 8489 §6.3). Everything else that
// begins like STUN gets nil: it is dropped.
func stunAnswer(b []byte, from netip.AddrPort) []byte {
	if !stun.IsMessage(b) { // no magic cookie: RFC 3489 clients get no answer
		return nil
	}
	req := &stun.Message{Raw: b}
	if req.Decode() != nil || req.Type != stun.BindingRequest {
		return nil
	}
	mapped := &stun.XORMappedAddress{IP: from.Addr().AsSlice(), Port: int(from.Port())}
	setters := []stun.Setter{stun.NewTransactionIDSetter(req.TransactionID), stun.BindingSuccess, mapped}
	if unknown := unknownRequired(req); len(unknown) > 0 { // RFC 8489 §6.3.1
		setters = []stun.Setter{stun.NewTransactionIDSetter(req.TransactionID), stun.BindingError, stun.CodeUnknownAttribute, unknown}
	}
	answer, err := stun.Build(setters...)
	if err != nil {
		return nil
	}
	return answer.Raw
}

// unknownRequired lists attributes that must be understood and are not. For a
// keep-alive without authentication (RFC 5626 §8) the server needs none.
func unknownRequired(m *stun.Message) stun.UnknownAttributes {
	var unknown stun.UnknownAttributes
	for _, a := range m.Attributes {
		if a.Type.Required() && strings.HasPrefix(a.Type.String(), "0x") { // no name: not known
			unknown = append(unknown, a.Type)
		}
	}
	return unknown
}
