package event_test

import (
	"testing"
	"time"

	"rollcall/event"
)

// TestBodyNumbers: the number of a document and its times are written where they
// stand, whatever the order.
func TestBodyNumbers(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	var times event.Times
	left, since, over := times.Left(now.Add(90*time.Second)), times.Since(now.Add(-12345*time.Second)), times.Left(now.Add(-time.Second))
	for _, c := range []struct{ document, want string }{
		{`<a version="0"/>`, `<a version="42"/>`},
		{`<a version="0" left="` + left + `">` + since + `</a>`, `<a version="42" left="90">12345</a>`},
		{`<a><b x="` + since + `"/><c version="0" y="` + over + `"/>0</a>`, `<a><b x="12345"/><c version="42" y="0"/>0</a>`},
		{`<a>` + left + left + `</a>`, `<a>9090</a>`},
	} {
		b := times.Body("text/xml", []byte(c.document))
		if got := string(b.Append([]byte("head "), 42, now)); got != "head "+c.want || b.Len(42, now) != len(c.want) {
			t.Errorf("%s, %d bytes; want %s", got, b.Len(42, now), c.want)
		}
	}
	none := event.Body{}
	if none.Len(1, now) != 0 || len(none.Append(nil, 1, now)) != 0 {
		t.Error("a body of nothing")
	}
}
