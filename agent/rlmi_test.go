package agent

import (
	"strings"
	"testing"
)

const listBody = "--b\r\nContent-Transfer-Encoding: binary\r\nContent-Id: <l@example.com>\r\nContent-Type: application/rlmi+xml;charset=\"UTF-8\"\r\n\r\n" +
	`<list xmlns="urn:ietf:params:xml:ns:rlmi" uri="sip:group-sales@example.com" version="0" fullState="true">` +
	`<resource uri="sip:bob@example.com"><name>Bob</name><instance id="1" state="active" cid="1@example.com"/></resource>` +
	`<resource uri="sip:carol@example.com"><instance id="1" state="pending"/></resource>` +
	`<resource uri="sip:dave@example.com"><instance id="1" state="terminated" reason="rejected"/></resource>` +
	`<resource uri="sip:eve@example.com"/></list>` +
	"\r\n--b\r\nContent-Transfer-Encoding: binary\r\nContent-Id: <1@example.com>\r\nContent-Type: application/pidf+xml\r\n\r\n" +
	`<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:bob@example.com"><tuple id="t"><status><basic>open</basic></status><note>in</note></tuple></presence>` +
	"\r\n--b--\r\n"

func TestReadList(t *testing.T) {
	for _, typ := range []string{`multipart/related;type="application/rlmi+xml";start="<l@example.com>";boundary=b`, `multipart/related;boundary="b"`} {
		list, err := readList(typ, []byte(listBody))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, l := range list {
			s := l.uri + " " + l.name + " " + l.state + " " + l.reason
			if l.presence != nil {
				s += " " + l.presence.Word() + ": " + l.presence.Note
			}
			got = append(got, s)
		}
		want := "sip:bob@example.com Bob active  open: in|sip:carol@example.com  pending |sip:dave@example.com  terminated rejected|sip:eve@example.com   "
		if strings.Join(got, "|") != want {
			t.Errorf("got %q", strings.Join(got, "|"))
		}
	}
	for _, bad := range []string{"", "--b\r\n\r\nx\r\n--b--", strings.Replace(listBody, "<list", "<<", 1)} {
		if _, err := readList("multipart/related;boundary=b", []byte(bad)); err == nil {
			t.Errorf("%q is a list", bad)
		}
	}
}

func FuzzReadList(f *testing.F) {
	f.Add("multipart/related;boundary=b", []byte(listBody))
	f.Fuzz(func(t *testing.T, typ string, body []byte) {
		list, err := readList(typ, body)
		if err == nil && len(list) > maxResources {
			t.Error("too many")
		}
	})
}
