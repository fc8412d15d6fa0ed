package rfc_test

import (
	"reflect"
	"testing"

	"rollcall/rfc"
)

func TestExists(t *testing.T) {
	for _, c := range []struct {
		rfc     int
		section string
		want    bool
	}{
		{3261, "", true},
		{3261, "10.3", true},
		{3261, "17.2.2", true},
		{3261, "17.2.9", false},
		{3261, "A", true},
		{6665, "4.2.1.2", true},
		{4475, "3.1.2.19", true},
		{4475, "3.1.2.20", false},
		{4320, "4.2", true},
		{3261, "10.3.", false},
		{1, "", false},
		{1, "1", false},
	} {
		if got := rfc.Exists(c.rfc, c.section); got != c.want {
			t.Errorf("Exists(%d, %q) = %v, want %v", c.rfc, c.section, got, c.want)
		}
	}
}

func TestTitles(t *testing.T) {
	d, ok := rfc.Find(3261)
	if !ok || d.Title != "SIP: Session Initiation Protocol" {
		t.Fatalf("Find(3261) = %q, %v", d.Title, ok)
	}
	s, ok := d.Find("10.3")
	if !ok || s.Title != "Processing REGISTER Requests" {
		t.Errorf("section 10.3 is %q, %v", s.Title, ok)
	}
	for _, d := range rfc.List() {
		if len(d.Sections) == 0 {
			t.Errorf("RFC %d has no sections", d.Number)
		}
		for _, s := range d.Sections {
			if s.Title == "" {
				t.Errorf("RFC %d §%s has no title", d.Number, s.Number)
			}
		}
	}
}

func TestParseFormat(t *testing.T) {
	docs := []rfc.Document{
		{Number: 1, Title: "One", Sections: []rfc.Section{{Number: "1", Title: "First of RFC 2"}, {Number: "A.1", Title: "Last"}}},
		{Number: 22, Title: "Two", Sections: []rfc.Section{{Number: "1.1", Title: "RFC as a first word"}}},
	}
	got, err := rfc.Parse(rfc.Format(docs))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, docs) {
		t.Errorf("parsed %v, want %v", got, docs)
	}
	for _, bad := range []string{"RFC x Title", "RFC 12", "  1 A section without a document"} {
		if _, err := rfc.Parse(bad); err == nil {
			t.Errorf("Parse(%q) succeeded", bad)
		}
	}
}
