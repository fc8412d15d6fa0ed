package agent

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"encoding/xml"
	"fmt"
	"io"
	"mime"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	// maxBody bounds what a compressed body may grow to: as much as an
	// uncompressed one could be.
	maxBody = 64 << 10
	// maxWraps bounds CPIM in CPIM.
	maxWraps = 4
)

// part is a body with its MIME headers, by lower-case name.
type part struct {
	header map[string]string
	body   []byte
}

// fill reads the part into e, through CPIM wrappers.
func (p part) fill(e *Event, depth int) {
	body, ok := p.decoded()
	e.ContentType, e.Body = p.header["content-type"], body
	media, params, err := mime.ParseMediaType(e.ContentType)
	if err != nil {
		// RFC 3428 §5 wants a type; without one the body is most likely text.
		media = "text/plain"
		if e.ContentType != "" {
			media = strings.ToLower(strings.TrimSpace(strings.SplitN(e.ContentType, ";", 2)[0]))
		}
	}
	switch {
	case !ok:
		e.Text = fmt.Sprintf("[%s, %d bytes, in an encoding this agent does not know]", media, len(body))
	case media == "message/cpim" && depth < maxWraps:
		if inner, ok := unwrap(body, e); ok {
			inner.fill(e, depth+1)
			return
		}
		e.Text = text(body, params["charset"])
	case media == "application/im-iscomposing+xml":
		var doc struct {
			State string `xml:"state"`
		}
		e.Kind, e.Text = Typing, "idle"
		if err := xml.Unmarshal(body, &doc); err == nil && strings.TrimSpace(doc.State) == "active" {
			e.Text = "active"
		}
	case media == "message/imdn+xml":
		e.Kind = Receipt
		e.MessageID, e.Text = disposition(body, e.MessageID)
	case strings.HasPrefix(media, "text/"):
		e.Text = text(body, params["charset"])
	default:
		e.Text = fmt.Sprintf("[%s, %d bytes]", media, len(body))
	}
}

// decoded undoes Content-Encoding; false means that it could not. SIP's deflate
// is zlib (RFC 3261 §20.12 by way of RFC 2616 §3.5); raw deflate is seen too.
func (p part) decoded() ([]byte, bool) {
	var (
		r   io.Reader
		err error
	)
	switch strings.ToLower(strings.TrimSpace(p.header["content-encoding"])) {
	case "", "identity":
		return p.body, true
	case "deflate":
		if r, err = zlib.NewReader(bytes.NewReader(p.body)); err != nil {
			r, err = flate.NewReader(bytes.NewReader(p.body)), nil
		}
	case "gzip":
		r, err = gzip.NewReader(bytes.NewReader(p.body))
	default:
		return p.body, false
	}
	if err != nil {
		return p.body, false
	}
	out, err := io.ReadAll(io.LimitReader(r, maxBody+1))
	if err != nil || len(out) > maxBody {
		return p.body, false
	}
	return out, true
}

// unwrap splits a message/cpim body (RFC 3862 §2): message headers, an empty
// line, the content's MIME headers, an empty line, the content. The sender and
// the time of the wrapper go into e.
func unwrap(body []byte, e *Event) (part, bool) {
	outer, rest, ok := headers(body)
	if !ok {
		return part{}, false
	}
	mimeHeaders, content, ok := headers(rest)
	if !ok {
		return part{}, false
	}
	if name, uri, ok := cpimAddress(outer["from"]); ok {
		e.Display, e.From = name, uri
	}
	if _, uri, ok := cpimAddress(outer["to"]); ok {
		e.To = uri
	}
	if t, err := time.Parse(time.RFC3339, outer["datetime"]); err == nil {
		e.Sent = t
	}
	for name, value := range outer {
		// The prefix of the IMDN namespace is the sender's choice.
		if strings.HasSuffix(name, ".message-id") {
			e.MessageID = value
		}
	}
	return part{header: mimeHeaders, body: content}, true
}

// headers reads header lines up to the first empty line, by lower-case name;
// the first of equal names counts.
func headers(b []byte) (map[string]string, []byte, bool) {
	m := make(map[string]string)
	for {
		line, rest, ok := bytes.Cut(b, []byte("\n"))
		if !ok {
			return nil, nil, false
		}
		b = rest
		line = bytes.TrimSuffix(line, []byte("\r"))
		if len(line) == 0 {
			return m, b, true
		}
		name, value, ok := strings.Cut(string(line), ":")
		if !ok {
			return nil, nil, false
		}
		name = strings.ToLower(strings.TrimSpace(name))
		if _, twice := m[name]; !twice {
			m[name] = strings.TrimSpace(value)
		}
	}
}

// cpimAddress reads `Display <uri>` (RFC 3862 §4.1).
func cpimAddress(s string) (name, uri string, ok bool) {
	i, j := strings.LastIndexByte(s, '<'), strings.LastIndexByte(s, '>')
	if i < 0 || j < i {
		return "", "", false
	}
	return strings.Trim(strings.TrimSpace(s[:i]), `"`), s[i+1 : j], true
}

// disposition reads an IMDN document (RFC 5438 §11): which message, and what
// became of it.
func disposition(body []byte, known string) (id, status string) {
	type notification struct {
		Status struct {
			Any []struct {
				XMLName xml.Name
			} `xml:",any"`
		} `xml:"status"`
	}
	var doc struct {
		MessageID  string       `xml:"message-id"`
		Delivery   notification `xml:"delivery-notification"`
		Display    notification `xml:"display-notification"`
		Processing notification `xml:"processing-notification"`
	}
	if err := xml.Unmarshal(body, &doc); err != nil {
		return known, "with an unreadable notice"
	}
	if id = strings.TrimSpace(doc.MessageID); id == "" {
		id = known
	}
	for _, n := range []notification{doc.Display, doc.Delivery, doc.Processing} {
		if len(n.Status.Any) > 0 {
			return id, n.Status.Any[0].XMLName.Local
		}
	}
	return id, "without a status"
}

// text turns a text body into UTF-8. Only UTF-8, ASCII and Latin-1 are known;
// bytes that are not valid show as the replacement character.
func text(body []byte, charset string) string {
	if strings.EqualFold(charset, "iso-8859-1") || strings.EqualFold(charset, "latin1") {
		out := make([]rune, len(body))
		for i, b := range body {
			out[i] = rune(b)
		}
		return string(out)
	}
	return strings.ToValidUTF8(string(body), string(utf8.RuneError))
}
