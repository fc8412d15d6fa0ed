package presence

import (
	"slices"
	"testing"
)

func TestSummarize(t *testing.T) {
	const head = `<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model" ` +
		`xmlns:r="urn:ietf:params:xml:ns:pidf:rpid" entity="sip:alice@example.com">`
	for body, want := range map[string]Summary{
		`<tuple id="a"><status><basic>closed</basic></status></tuple><tuple id="b"><status><basic>open</basic></status><note>desk</note></tuple>`: {Basic: "open", Note: "desk"},
		`<tuple id="a"><status><basic>closed</basic></status></tuple><note>gone</note>`:                                                           {Basic: "closed", Note: "gone"},
		`<note>all</note><dm:person id="p"><r:activities><r:unknown/><r:meal/><r:other>fishing</r:other><r:meal/></r:activities><dm:note> mine </dm:note></dm:person>`: {
			Activities: []string{"meal", "fishing"}, Note: "mine"},
		``: {},
	} {
		got, err := Summarize([]byte(head + body + "</presence>"))
		if err != nil || got.Basic != want.Basic || got.Note != want.Note || !slices.Equal(got.Activities, want.Activities) {
			t.Errorf("%s\ngot %+v, %v; want %+v", body, got, err, want)
		}
	}
	for _, bad := range []string{"", "<presence/>", head} {
		if s, err := Summarize([]byte(bad)); err == nil {
			t.Errorf("%q gives %+v", bad, s)
		}
	}
}
