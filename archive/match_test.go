package archive

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestWords(t *testing.T) {
	for text, want := range map[string]string{
		"":                               "",
		"Hello, World!":                  "hello world",
		"  a--b ":                        "a b",
		"Résumé re\u0301sume\u0301":      "resume resume",
		"GRÜẞE straße":                   "grusse strasse",
		"Łódź Ærø Œuvre":                 "lodz aero oeuvre",
		"ΣΊΣΥΦΟΣ σίσυφος":                "σισυφοσ σισυφοσ",
		"Ёлка":                           "елка",
		"会议room":                         "会 议 room",
		"ひらカナ x":                         "ひ ら カ ナ x",
		"हिन्दी":                         "हिन्दी",
		"\xff\xfe a":                     "a",
		"see https://example.com/a?b=c1": "see https example com a b c1",
		"\u0301":                         "",
	} {
		if got := Words(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
		if again := Words(want); again != want {
			t.Errorf("%q is not as it stays: %q", want, again)
		}
	}
}

func TestHas(t *testing.T) {
	for body, want := range map[string]bool{
		"see https://example.com": true, "HTTP://x": true, "at www.example.com now": true, "(www.a": true, "http:// nothing": false,
		"wwww.example.com": false, "awww.example.com": false, "www.": false, "sip://x": false, "ahttp://x": true, "": false, "https://": false,
	} {
		if got := hasLink([]byte(body)); got != want {
			t.Errorf("%q: %v", body, got)
		}
	}
	for _, c := range []struct {
		kind, body string
		want       bool
	}{
		{"text/plain", "x", false}, {"Text/HTML; charset=utf-8", "x", false}, {"image/png", "x", true}, {"image/png", "", false}, {"", "x", false},
		{"message/cpim", "From: <im:a@b>\r\n\r\nContent-type: image/png\r\n\r\nx", true}, {"message/cpim", "From: <im:a@b>\r\n\r\nContent-Type: text/plain\r\n\r\nx", false},
		{"message/cpim", "x", false}, {"application/im-iscomposing+xml", "x", false}, {"multipart/mixed;boundary=x", "x", true},
	} {
		r := &Record{Type: TypeMessage, ContentType: c.kind, Raw: []byte("MESSAGE sip:x SIP/2.0\r\n\r\n" + c.body)}
		if r.attachment() != c.want {
			t.Errorf("%s %q: %v", c.kind, c.body, !c.want)
		}
	}
}

func TestMatchesFields(t *testing.T) {
	r := &Record{Type: TypeMessage, From: "sip:Alice@example.com", To: "sip:bob@example.net", FromUnit: "Sales", ToUnit: "trading desk", FromGroups: "staff;a b", ToGroups: "berlin",
		Flags: "lexicon-1 other", Received: time.Now(), Raw: []byte("MESSAGE sip:x SIP/2.0\r\n\r\nsee www.example.com")}
	for query, want := range map[string]bool{
		"unit:sales": true, `unit:"Trading desk"`: true, "unit:sales unit:legal": false, "unit:trading": false,
		"group:STAFF": true, `group:"a b" group:berlin`: true, "group:a": false,
		"flagged:lexicon-1": true, "flagged:lexicon": false, "has:flag": true, "has:link": true, "has:attachment": false,
		"conversation:alice,bob": true, `conversation:"sip:alice@example.com sip:bob@example.net"`: true, "conversation:bob,alice,carol": true,
		"conversation:alice,carol": false, "conversation:bob": true, "conversation:example.com,example.net": true, "conversation:carol": false,
	} {
		q, err := ParseQuery(query, nil)
		if err != nil {
			t.Fatal(query, err)
		}
		if q.Matches(r) != want {
			t.Errorf("%s: %v", query, !want)
		}
	}
	for query, want := range map[string]string{
		"x has:teeth": "column 3: has: is one of attachment, link, flag, comment", "conversation:,": "column 1: conversation: wants 1 to 50 parties parted by commas",
		"from:sip:": "column 1: from: names nobody", "un:x": "the fields are from: to: with: conversation: unit:", "unit:": "column 1: unit: needs a value",
	} {
		if _, err := ParseQuery(query, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", query, err, want)
		}
	}
}

// FuzzQuery checks that a query is refused with a place in it, or can be asked of a record.
func FuzzQuery(f *testing.F) {
	f.Add(`from:alice "a phrase" conversation:a,b has:link after:2026-01-01`, "a phrase")
	f.Fuzz(func(t *testing.T, query, body string) {
		q, err := ParseQuery(query, nil)
		if err != nil {
			if fault, ok := errors.AsType[*QueryError](err); !ok || fault.Column < 1 || fault.Column > len(query)+1 {
				t.Errorf("%q: %v", query, err)
			}
			return
		}
		r := &Record{Type: TypeMessage, From: "sip:alice@example.com", Received: time.Now(), Raw: []byte("\r\n\r\n" + body)}
		q.Matches(r)
		if w := Words(body); Words(w) != w || len(w) > 4*len(body) {
			t.Errorf("words of %q are %q", body, w)
		}
	})
}
