package export

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"html"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"net/textproto"
	"strings"
	"time"
)

// csvFormat writes one file for each day, a line for each message.
type csvFormat struct{}

var csvHeader = []string{"id", "seq", "time_utc", "conversation", "from", "from_name", "from_email", "from_unit", "to", "to_name", "to_email", "to_unit",
	"direction", "subject", "content_type", "text", "decision", "rule", "flags", "class", "disposition"}

func (*csvFormat) day(e *exporter, list []*conversation) error {
	return e.add("messages-"+list[0].day+".csv", func(out io.Writer) error {
		w := csv.NewWriter(out)
		if err := w.Write(csvHeader); err != nil {
			return err
		}
		for _, c := range list {
			for _, m := range c.messages {
				from, to := e.person(m.From), e.person(m.To)
				row := []string{m.ID.String(), fmt.Sprint(m.Seq), m.at().UTC().Format(time.RFC3339Nano), c.id, m.From, from.Name, from.Email,
					or(m.FromUnit, from.Unit), m.To, to.Name, to.Email, or(m.ToUnit, to.Unit), m.Direction.String(), m.Subject, m.ContentType, m.text(),
					m.Decision, m.Rule, m.Flags, m.Class, m.fate()}
				for i := range row {
					row[i] = plainCell(row[i])
				}
				if err := w.Write(row); err != nil {
					return err
				}
			}
		}
		w.Flush()
		return w.Error()
	})
}

// plainCell keeps a spreadsheet from taking what somebody wrote for a formula.
func plainCell(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// emlFormat writes a mail for each message: an envelope report as journals of
// Exchange have it, and the message as the mail that it reports.
type emlFormat struct{}

func (emlFormat) day(e *exporter, list []*conversation) error {
	for _, c := range list {
		for _, m := range c.messages {
			if err := e.add("eml/"+c.day+"/"+m.ID.String()+".eml", func(w io.Writer) error { return e.journalMail(w, m) }); err != nil {
				return err
			}
		}
	}
	return nil
}

func address(p Person) string {
	if a, err := mail.ParseAddress(p.Email); err == nil {
		return (&mail.Address{Name: p.Name, Address: a.Address}).String()
	}
	return mime.QEncoding.Encode("utf-8", p.Name) + " <undisclosed@invalid>"
}

// writeHead writes the head of a mail. What users wrote is encoded, so that no line can be slipped in.
func writeHead(w io.Writer, lines ...[2]string) error {
	for _, l := range lines {
		value := l[1]
		if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' }) {
			value = mime.QEncoding.Encode("utf-8", value)
		}
		if _, err := fmt.Fprintf(w, "%s: %s\r\n", l[0], value); err != nil {
			return err
		}
	}
	return nil
}

func (e *exporter) subject(m *message) string {
	if m.Subject != "" {
		return m.Subject
	}
	return "Message of " + e.person(m.From).Name
}

func mailDate(t time.Time) string { return t.UTC().Format(time.RFC1123Z) }

func (e *exporter) messageID(m *message) string { return "<" + m.ID.String() + "@rollcall.invalid>" }

func (e *exporter) journalMail(w io.Writer, m *message) error {
	from, to := e.person(m.From), e.person(m.To)
	mp := multipart.NewWriter(w)
	err := writeHead(w, [2]string{"From", address(from)}, [2]string{"To", address(to)}, [2]string{"Date", mailDate(m.at())},
		[2]string{"Subject", e.subject(m)}, [2]string{"Message-ID", "<journal-" + m.ID.String() + "@rollcall.invalid>"}, [2]string{"X-MS-Journal-Report", ""},
		[2]string{"MIME-Version", "1.0"}, [2]string{"Content-Type", "multipart/mixed; boundary=" + mp.Boundary()})
	if err != nil {
		return err
	}
	if _, err := io.WriteString(w, "\r\n"); err != nil {
		return err
	}
	report, err := mp.CreatePart(textproto.MIMEHeader{"Content-Type": {"text/plain; charset=utf-8"}, "Content-Transfer-Encoding": {"quoted-printable"}})
	if err != nil {
		return err
	}
	q := quotedprintable.NewWriter(report)
	fmt.Fprintf(q, "Sender: %s\r\nSubject: %s\r\nMessage-Id: %s\r\nTo: %s\r\nRecipient: %s\r\n", from.Email, e.subject(m), e.messageID(m), to.Email, to.Email)
	fmt.Fprintf(q, "X-Record: %s\r\nX-Sequence: %d\r\nX-Disposition: %s\r\n", m.ID, m.Seq, m.fate())
	if err := q.Close(); err != nil {
		return err
	}
	inner, err := mp.CreatePart(textproto.MIMEHeader{"Content-Type": {"message/rfc822"}, "Content-Disposition": {"attachment; filename=" + m.ID.String() + ".eml"}})
	if err != nil {
		return err
	}
	if err := e.plainMail(inner, m); err != nil {
		return err
	}
	return mp.Close()
}

// plainMail writes the message as a mail.
func (e *exporter) plainMail(w io.Writer, m *message) error {
	kind := m.ContentType
	if _, _, err := mime.ParseMediaType(kind); err != nil || !strings.HasPrefix(strings.ToLower(kind), "text/") {
		kind = "text/plain"
	}
	media, params, _ := mime.ParseMediaType(kind)
	if params == nil {
		params = map[string]string{}
	}
	params["charset"] = "utf-8"
	err := writeHead(w, [2]string{"From", address(e.person(m.From))}, [2]string{"To", address(e.person(m.To))}, [2]string{"Date", mailDate(m.at())},
		[2]string{"Subject", e.subject(m)}, [2]string{"Message-ID", e.messageID(m)}, [2]string{"MIME-Version", "1.0"},
		[2]string{"Content-Type", mime.FormatMediaType(media, params)}, [2]string{"Content-Transfer-Encoding", "quoted-printable"})
	if err != nil {
		return err
	}
	if _, err := io.WriteString(w, "\r\n"); err != nil {
		return err
	}
	q := quotedprintable.NewWriter(w)
	if _, err := io.WriteString(q, m.text()); err != nil {
		return err
	}
	return q.Close()
}

// globalRelayFormat writes a mail for each conversation of a day, with its
// transcript as text and as HTML.
type globalRelayFormat struct{}

func (globalRelayFormat) day(e *exporter, list []*conversation) error {
	for _, c := range list {
		if err := e.add("globalrelay/"+c.day+"/"+c.id+".eml", func(w io.Writer) error { return e.transcript(w, c) }); err != nil {
			return err
		}
	}
	return nil
}

func (e *exporter) transcript(w io.Writer, c *conversation) error {
	first, last := c.messages[0], c.messages[len(c.messages)-1]
	counts := map[string]int{}
	for _, m := range c.messages {
		counts[m.From]++
	}
	var others []string
	for _, p := range c.parties {
		if p != first.From {
			others = append(others, address(e.person(p)))
		}
	}
	if len(others) == 0 {
		others = []string{address(e.person(first.To))}
	}
	mp := multipart.NewWriter(w)
	err := writeHead(w, [2]string{"From", address(e.person(first.From))}, [2]string{"To", strings.Join(others, ", ")}, [2]string{"Date", mailDate(last.at())},
		[2]string{"Subject", fmt.Sprintf("Conversation of %s, %d messages", c.day, len(c.messages))},
		[2]string{"Message-ID", "<" + c.id + "." + c.day + "@rollcall.invalid>"}, [2]string{"X-GlobalRelay-MsgType", "Rollcall"},
		[2]string{"X-Rollcall-ChannelID", c.id}, [2]string{"X-Rollcall-ChannelName", strings.Join(c.parties, " ")}, [2]string{"X-Rollcall-ChannelType", "direct"},
		[2]string{"MIME-Version", "1.0"}, [2]string{"Content-Type", "multipart/alternative; boundary=" + mp.Boundary()})
	if err != nil {
		return err
	}
	if _, err := io.WriteString(w, "\r\n"); err != nil {
		return err
	}
	var text, page bytes.Buffer
	page.WriteString("<table><tr><th>UserId</th><th>Username</th><th>UserType</th><th>Email</th><th>Joined</th><th>Left</th><th>Duration</th><th>Messages</th></tr>\n")
	long := last.at().Sub(first.at()).Round(time.Second)
	for _, aor := range c.parties {
		p := e.person(aor)
		row := []string{aor, p.Name, p.userType(), p.Email, first.at().UTC().Format(time.RFC3339), last.at().UTC().Format(time.RFC3339), long.String(), fmt.Sprint(counts[aor])}
		fmt.Fprintf(&text, "%s\r\n", strings.Join(row, " | "))
		page.WriteString("<tr>")
		for _, cell := range row {
			page.WriteString("<td>" + html.EscapeString(cell) + "</td>")
		}
		page.WriteString("</tr>\n")
	}
	page.WriteString("</table>\n<ul>\n")
	text.WriteString("\r\n")
	for _, m := range c.messages {
		at, name := m.at().UTC().Format(time.RFC3339), e.person(m.From).Name
		fmt.Fprintf(&text, "[%s] %s: %s\r\n", at, name, m.text())
		fmt.Fprintf(&page, "<li><time>%s</time> <b>%s</b> %s <i>%s</i></li>\n", at, html.EscapeString(name), html.EscapeString(m.text()), m.fate())
	}
	page.WriteString("</ul>\n")
	for _, part := range []struct {
		kind string
		b    *bytes.Buffer
	}{{"text/plain", &text}, {"text/html", &page}} {
		p, err := mp.CreatePart(textproto.MIMEHeader{"Content-Type": {part.kind + "; charset=utf-8"}, "Content-Transfer-Encoding": {"quoted-printable"}})
		if err != nil {
			return err
		}
		q := quotedprintable.NewWriter(p)
		if _, err := q.Write(part.b.Bytes()); err != nil {
			return err
		}
		if err := q.Close(); err != nil {
			return err
		}
	}
	return mp.Close()
}
