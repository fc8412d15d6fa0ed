package registrar

import (
	"strconv"
	"time"

	"rollcall/sip"
)

// appendContact writes the Contact line of a binding: "Each Contact value MUST
// feature an "expires" parameter" (RFC 3261 §10.3 item 8).
func (p *place) appendContact(dst []byte, now time.Time, aor sip.AOR, g *GRUUs) []byte {
	dst = append(dst, "Contact: <"...)
	dst = append(dst, p.rec.contact...)
	dst = append(dst, ">;expires="...)
	left := (p.item.Expires.Sub(now) + time.Second - 1) / time.Second // never 0: it is live
	dst = strconv.AppendInt(dst, int64(left), 10)
	if p.rec.flags&flagQ != 0 {
		dst = append(dst, ";q="...)
		dst = appendQ(dst, p.rec.q)
	}
	dst = append(dst, p.rec.params...)
	dst = g.appendParams(dst, aor, &p.rec)
	return append(dst, "\r\n"...)
}

// dateLine is the Date line of one second.
type dateLine struct {
	second int64
	line   string
}

// appendDate writes Date (RFC 3261 §20.17: always GMT).
func (r *Registrar) appendDate(dst []byte, now time.Time) []byte {
	second := now.Unix()
	d := r.date.Load()
	if d == nil || d.second != second {
		d = &dateLine{second, now.UTC().Format("Date: Mon, 02 Jan 2006 15:04:05 GMT\r\n")}
		r.date.Store(d)
	}
	return append(dst, d.line...)
}
