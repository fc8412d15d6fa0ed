package export

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"mime/multipart"
	"net/textproto"
	"strings"
	"time"
)

// actianceFormat writes a FileDump for each day, with a Conversation for each
// pair of parties.
type actianceFormat struct{}

type actianceUser struct {
	LoginName        string `xml:"LoginName"`
	UserType         string `xml:"UserType,omitempty"`
	DateTimeUTC      int64  `xml:"DateTimeUTC"`
	CorporateEmailID string `xml:"CorporateEmailID,omitempty"`
}

type actianceMessage struct {
	MessageID   string `xml:"MessageId"`
	LoginName   string `xml:"LoginName"`
	UserType    string `xml:"UserType"`
	DateTimeUTC int64  `xml:"DateTimeUTC"`
	Content     string `xml:"Content"`
}

type actianceConversation struct {
	XMLName      xml.Name          `xml:"Conversation"`
	Perspective  string            `xml:"Perspective,attr"`
	RoomID       string            `xml:"RoomID"`
	StartTimeUTC int64             `xml:"StartTimeUTC"`
	Entered      []actianceUser    `xml:"ParticipantEntered"`
	Messages     []actianceMessage `xml:"Message"`
	Left         []actianceUser    `xml:"ParticipantLeft"`
	EndTimeUTC   int64             `xml:"EndTimeUTC"`
}

func (actianceFormat) day(e *exporter, list []*conversation) error {
	return e.add("actiance/"+list[0].day+".xml", func(w io.Writer) error {
		if _, err := io.WriteString(w, xml.Header+"<FileDump>\n"); err != nil {
			return err
		}
		enc := xml.NewEncoder(w)
		enc.Indent("", " ")
		for _, c := range list {
			first, last := c.messages[0].at().Unix(), c.messages[len(c.messages)-1].at().Unix()
			x := actianceConversation{Perspective: strings.Join(c.parties, " "), RoomID: c.id + "-" + c.day, StartTimeUTC: first, EndTimeUTC: last}
			for _, aor := range c.parties {
				p := e.person(aor)
				x.Entered = append(x.Entered, actianceUser{p.Email, p.userType(), first, p.Email})
				x.Left = append(x.Left, actianceUser{LoginName: p.Email, DateTimeUTC: last})
			}
			for _, m := range c.messages {
				p := e.person(m.From)
				x.Messages = append(x.Messages, actianceMessage{m.ID.String(), p.Email, p.userType(), m.at().UnixMilli(), xmlText(m.text())})
			}
			if err := enc.Encode(x); err != nil {
				return err
			}
		}
		_, err := io.WriteString(w, "\n</FileDump>\n")
		return err
	})
}

// xmlText replaces the characters that XML cannot hold.
func xmlText(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' || r == '\n' || r == '\r' || r >= ' ' && r != 0xfffe && r != 0xffff {
			return r
		}
		return '\uFFFD'
	}, s)
}

// rsmfFormat writes a mail with an rsmf.zip for each conversation of a day.
type rsmfFormat struct{}

type rsmfManifest struct {
	Version       string             `json:"version"`
	Participants  []rsmfParticipant  `json:"participants"`
	Conversations []rsmfConversation `json:"conversations"`
	Events        []rsmfEvent        `json:"events"`
}

type rsmfParticipant struct {
	ID      string `json:"id"`
	Display string `json:"display"`
	Email   string `json:"email,omitempty"`
}

type rsmfConversation struct {
	ID           string   `json:"id"`
	Display      string   `json:"display"`
	Platform     string   `json:"platform"`
	Type         string   `json:"type"`
	Participants []string `json:"participants"`
}

type rsmfEvent struct {
	ID           string `json:"id"`
	Type         string `json:"type"`
	Timestamp    string `json:"timestamp"`
	Participant  string `json:"participant"`
	Conversation string `json:"conversation"`
	Body         string `json:"body"`
}

func (rsmfFormat) day(e *exporter, list []*conversation) error {
	for _, c := range list {
		if err := e.add("rsmf/"+c.day+"/"+c.id+".rsmf", func(w io.Writer) error { return e.rsmf(w, c) }); err != nil {
			return err
		}
	}
	return nil
}

func (e *exporter) rsmf(w io.Writer, c *conversation) error {
	m := rsmfManifest{Version: "2.0.0"}
	conv := rsmfConversation{ID: c.id, Display: strings.Join(c.parties, ", "), Platform: "sip", Type: "direct"}
	var names []string
	for _, aor := range c.parties {
		p := e.person(aor)
		m.Participants = append(m.Participants, rsmfParticipant{aor, p.Name, p.Email})
		conv.Participants = append(conv.Participants, aor)
		names = append(names, p.Name)
	}
	m.Conversations = []rsmfConversation{conv}
	for _, msg := range c.messages {
		m.Events = append(m.Events, rsmfEvent{msg.ID.String(), "message", msg.at().UTC().Format(time.RFC3339Nano), msg.From, c.id, msg.text()})
	}
	manifest, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return err
	}
	var zipped bytes.Buffer
	z := zip.NewWriter(&zipped)
	f, err := z.Create("rsmf_manifest.json")
	if err == nil {
		_, err = f.Write(manifest)
	}
	if e := z.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	first, last := c.messages[0], c.messages[len(c.messages)-1]
	mp := multipart.NewWriter(w)
	err = writeHead(w, [2]string{"From", address(e.person(first.From))}, [2]string{"To", address(e.person(first.To))}, [2]string{"Date", mailDate(first.at())},
		[2]string{"Subject", fmt.Sprintf("Conversation of %s", c.day)}, [2]string{"X-RSMF-Version", "2.0.0"}, [2]string{"X-RSMF-Generator", e.o.Product},
		[2]string{"X-RSMF-BeginDate", first.at().UTC().Format(time.RFC3339)}, [2]string{"X-RSMF-EndDate", last.at().UTC().Format(time.RFC3339)},
		[2]string{"X-RSMF-EventCount", fmt.Sprint(len(c.messages))}, [2]string{"X-RSMF-Application", "sip"},
		[2]string{"X-RSMF-Participants", strings.Join(names, ";")}, [2]string{"X-RSMF-AttachmentCount", "0"}, [2]string{"X-RSMF-EventCollectionID", c.id},
		[2]string{"MIME-Version", "1.0"}, [2]string{"Content-Type", "multipart/mixed; boundary=" + mp.Boundary()})
	if err != nil {
		return err
	}
	if _, err := io.WriteString(w, "\r\n"); err != nil {
		return err
	}
	text, err := mp.CreatePart(textproto.MIMEHeader{"Content-Type": {"text/plain; charset=utf-8"}})
	if err != nil {
		return err
	}
	fmt.Fprintf(text, "%d messages; they are in rsmf.zip.\r\n", len(c.messages))
	part, err := mp.CreatePart(textproto.MIMEHeader{"Content-Type": {"application/zip; name=rsmf.zip"}, "Content-Transfer-Encoding": {"base64"},
		"Content-Disposition": {"attachment; filename=rsmf.zip"}})
	if err != nil {
		return err
	}
	for b := zipped.Bytes(); len(b) > 0; {
		n := min(len(b), 57) // lines of 76 characters, RFC 2045 §6.8
		if _, err := io.WriteString(part, base64.StdEncoding.EncodeToString(b[:n])+"\r\n"); err != nil {
			return err
		}
		b = b[n:]
	}
	return mp.Close()
}

// edrmFormat writes a load file for each day, and the mails that it names.
type edrmFormat struct{}

type edrmTag struct {
	Name  string `xml:"TagName,attr"`
	Type  string `xml:"TagDataType,attr"`
	Value string `xml:"TagValue,attr"`
}

type edrmFile struct {
	FileType string `xml:"FileType,attr"`
	External struct {
		Path     string `xml:"FilePath,attr"`
		Name     string `xml:"FileName,attr"`
		Size     int64  `xml:"FileSize,attr"`
		Hash     string `xml:"Hash,attr"`
		HashType string `xml:"HashType,attr"`
	} `xml:"ExternalFile"`
}

type edrmDocument struct {
	XMLName  xml.Name  `xml:"Document"`
	DocID    string    `xml:"DocID,attr"`
	DocType  string    `xml:"DocType,attr"`
	MimeType string    `xml:"MimeType,attr"`
	Tags     []edrmTag `xml:"Tags>Tag"`
	File     edrmFile  `xml:"Files>File"`
}

func (edrmFormat) day(e *exporter, list []*conversation) error {
	for _, c := range list {
		for _, m := range c.messages {
			if err := e.add("edrm/"+c.day+"/"+m.ID.String()+".eml", func(w io.Writer) error { return e.plainMail(w, m) }); err != nil {
				return err
			}
		}
	}
	return e.add("edrm/"+list[0].day+".xml", func(w io.Writer) error {
		_, err := io.WriteString(w, xml.Header+`<Root MajorVersion="1" MinorVersion="2" DataInterchangeType="Load">`+"\n<Batch>\n<Documents>\n")
		if err != nil {
			return err
		}
		enc := xml.NewEncoder(w)
		for _, c := range list {
			for _, m := range c.messages {
				from, to := e.person(m.From), e.person(m.To)
				d := edrmDocument{DocID: m.ID.String(), DocType: "Message", MimeType: "message/rfc822"}
				for _, t := range [][3]string{{"#From", "Text", from.Email}, {"#To", "Text", to.Email}, {"#Subject", "Text", e.subject(m)},
					{"#DateSent", "DateTime", m.at().UTC().Format(time.RFC3339)}, {"#Custodian", "Text", from.Email}, {"#ConversationIndex", "Text", c.id}} {
					d.Tags = append(d.Tags, edrmTag{t[0], t[1], xmlText(t[2])})
				}
				f, err := hashFile(e.dir, "edrm/"+c.day+"/"+m.ID.String()+".eml")
				if err != nil {
					return err
				}
				d.File.FileType = "Native"
				d.File.External.Path, d.File.External.Name = c.day, m.ID.String()+".eml"
				d.File.External.Size, d.File.External.Hash, d.File.External.HashType = f.Bytes, f.SHA256, "SHA256"
				if err := enc.Encode(d); err != nil {
					return err
				}
				if _, err := io.WriteString(w, "\n"); err != nil {
					return err
				}
			}
		}
		_, err = io.WriteString(w, "</Documents>\n</Batch>\n</Root>\n")
		return err
	})
}
