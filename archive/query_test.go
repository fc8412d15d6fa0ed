package archive

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

// conversation writes a small archive and returns the IDs of its messages.
func conversation(t *testing.T) (dir string, ids []ID) {
	t.Helper()
	dir = t.TempDir()
	j := open(t, dir, Options{Node: "n1", SegmentBytes: 2000})
	day := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	for i, m := range []struct{ from, to, body string }{
		{"alice", "bob", "Hello Bob, the quarterly report is ready."},
		{"bob", "alice", "GRÜẞE! Quarterly? The REPORT, not the ready one"},
		{"carol", "alice", "lunch?\r\n\x1b[31mred"},
		{"alice", "dave@example.net", "\xff\xfe binary"},
	} {
		to := "sip:" + m.to
		if !strings.Contains(m.to, "@") {
			to += "@example.com"
		}
		r := message(i)
		r.From, r.To, r.Received = "sip:"+m.from+"@example.com", to, day.AddDate(0, 0, i)
		r.Raw = []byte("MESSAGE " + to + " SIP/2.0\r\n\r\n" + m.body)
		if _, err := j.Append(context.Background(), r); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, r.ID)
		for _, d := range [][]Disposition{{Delivered, Delivered}, {Stored}, {Refused}, nil}[i] {
			if err := j.Note(outcome(r, d)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, ids
}

func TestSearch(t *testing.T) {
	dir, ids := conversation(t)
	for query, want := range map[string]string{
		"":                                       "0123",
		"report":                                 "01",
		"REPORT quarterly":                       "01",
		`"quarterly report"`:                     "0",
		"grüße":                                  "1",
		"GRÜẞE":                                  "1",
		"repor":                                  "",
		"from:alice":                             "03",
		"from:sip:alice@example.com":             "03",
		"From:ALICE@example.com":                 "03",
		"with:alice":                             "0123",
		"with:bob with:alice":                    "01",
		"to:example.net":                         "3",
		"with:bo":                                "",
		"after:2026-11-21":                       "123",
		"before:2026-11-21":                      "0",
		"after:2026-11-21 before:2026-11-22":     "1",
		"after:2026-11-21T12:00:01Z":             "23",
		"disposition:delivered":                  "0",
		"disposition:stored":                     "1",
		"disposition:stored disposition:refused": "12",
		"disposition:refused from:bob":           "",
		"type:message lunch":                     "2",
		`from:alice"quarterly report"`:           "0",
	} {
		q, err := ParseQuery(query, nil)
		if err != nil {
			t.Errorf("%s: %v", query, err)
			continue
		}
		got := ""
		err = at(dir).Search(context.Background(), q, func(r *Record, p Pos) error {
			for i, id := range ids {
				if r.ID == id {
					got += string(rune('0' + i))
				}
			}
			if again, err := at(dir).ReadAt(p); err != nil || again.ID != r.ID {
				t.Errorf("read at %+v: %v", p, err)
			}
			return nil
		})
		if err != nil || got != want {
			t.Errorf("%s: found %q, want %q, %v", query, got, want, err)
		}
	}
	n := 0
	q, _ := ParseQuery("type:outcome disposition:delivered", nil)
	if err := at(dir).Search(context.Background(), q, func(r *Record, _ Pos) error { n++; return nil }); err != nil || n != 2 {
		t.Errorf("outcomes: %d, %v", n, err)
	}
	stop := errors.New("enough")
	if err := at(dir).Search(context.Background(), Query{}, func(*Record, Pos) error { return stop }); !errors.Is(err, stop) {
		t.Error(err)
	}
}

func TestQueryFaults(t *testing.T) {
	for query, want := range map[string]string{
		`one "two`:                          "column 5: a phrase has no closing quote",
		"from:":                             "column 1: from: needs a value",
		"hello form:alice":                  "column 7: unknown field form:",
		"before:yesterday":                  "column 1: before: wants a day",
		"after:2026-01-01 after:2026-01":    "column 18: after: wants a day",
		"after:2026-01-01 after:2026-01-02": "column 18: after: stands twice",
		"type:fact":                         "column 1: type: is message",
		"disposition:lost":                  "column 1: disposition: is one of delivered, stored",
		`ü ""`:                              "column 3: an empty phrase",
		"***":                               "has neither letters nor digits",
		"\xff":                              "not UTF-8",
		strings.Repeat("x", maxQuery+1):     "longer than",
	} {
		_, err := ParseQuery(query, nil)
		var fault *QueryError
		if !errors.As(err, &fault) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40s: %v, want %q", query, err, want)
		}
	}
	berlin := time.FixedZone("", 3600)
	if q, err := ParseQuery("after:2026-01-01", berlin); err != nil || !q.After.Equal(time.Date(2025, 12, 31, 23, 0, 0, 0, time.UTC)) {
		t.Errorf("%v %v", q.After, err)
	}
	if q, err := ParseQuery("see https://example.com/ at 12:30", nil); err != nil || len(q.Text) != 4 {
		t.Errorf("%+v %v", q, err)
	}
}

func TestShow(t *testing.T) {
	dir, ids := conversation(t)
	s, err := at(dir).Show(ids[0])
	if err != nil || len(s.Outcomes) != 2 || s.Outcomes[1].Disposition != "delivered" || s.Record.Body == "" {
		t.Fatalf("%+v %v", s, err)
	}
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var back Shown
	if err := json.Unmarshal(b, &back); err != nil || back.Record.ID != ids[0] || *back.Outcomes[0].Cites != ids[0] ||
		back.Record.Conversation != "sip:alice@example.com sip:bob@example.com" {
		t.Fatalf("%s: %v", b, err)
	}
	for i, want := range map[int]string{0: "outcome:", 1: "stored 200 OK", 2: "\uFFFD[31mred", 3: "bytes that are not UTF-8"} {
		s, err := at(dir).Show(ids[i])
		if err != nil {
			t.Fatal(err)
		}
		var text bytes.Buffer
		if err := s.WriteText(&text); err != nil || !strings.Contains(text.String(), want) || strings.Contains(text.String(), "\x1b") {
			t.Errorf("message %d: %v\n%s", i, err, text.String())
		}
		if l := s.Record.Line(); strings.ContainsAny(l, "\n\x1b") || !strings.Contains(l, ids[i].String()) {
			t.Errorf("%q", l)
		}
	}
	if _, err := at(dir).Show(NewID(time.Now())); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}

func TestStats(t *testing.T) {
	dir, _ := conversation(t)
	s, err := at(dir).Stats()
	if err != nil {
		t.Fatal(err)
	}
	if s.Records != 8 || s.Messages != 4 || s.Open != 1 || s.Outcomes["delivered"] != 2 || s.Outcomes["stored"] != 1 || s.LastSeq != 8 || s.Faults != 0 {
		t.Errorf("%+v", s)
	}
	var sum int64
	for _, p := range places(t, dir) {
		sum += int64(p.Bytes)
	}
	if s.Bytes != sum || s.DiskBytes <= sum || s.First.After(s.Last) {
		t.Errorf("%+v, records have %d bytes", s, sum)
	}
	j := open(t, dir, Options{})
	write(t, j, 9, 1)
	rep := verified(t, dir) // beside the journal, with free room in the file
	if s, err = at(dir).Stats(); err != nil || s.Records != 9 || s.Bytes != rep.Bytes || s.Bytes > sum+1000 || !rep.OK {
		t.Errorf("%+v %v %v", s, err, rep.Err())
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestFollow(t *testing.T) {
	dir, _ := conversation(t)
	j := open(t, dir, Options{})
	ctx, cancel := context.WithCancel(context.Background())
	seqs := make(chan uint64, 10)
	ended := make(chan error)
	go func() {
		ended <- at(dir).Follow(ctx, FollowOptions{After: 6}, func(r *Record) error { seqs <- r.Seq; return nil })
	}()
	for want := uint64(7); want <= 10; want++ {
		if want == 9 {
			write(t, j, 20, 2)
		}
		if got := <-seqs; got != want {
			t.Fatalf("seq %d, want %d", got, want)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestBody(t *testing.T) {
	for raw, want := range map[string]string{
		"A: b\r\n\r\nx\r\n\r\ny": "x\r\n\r\ny", "A: b\r\n\r\n": "", "A: b": "", "": "", "A: b\n\nx": "",
	} {
		if got := (&Record{Raw: []byte(raw)}).Body(); string(got) != want {
			t.Errorf("%q: %q", raw, got)
		}
	}
	a, b := &Record{From: "sip:a@x", To: "sip:b@x"}, &Record{From: "sip:b@x", To: "sip:a@x"}
	if a.Conversation() != b.Conversation() || (&Record{}).Conversation() != "" {
		t.Error(a.Conversation(), b.Conversation())
	}
}
