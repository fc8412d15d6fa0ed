package archive

import (
	"bytes"
	"testing"
	"time"
)

func TestThreads(t *testing.T) {
	at := time.Date(2026, 11, 23, 17, 0, 0, 0, time.UTC)
	view := func(seq uint64, minutes int, from, to, body string) View {
		return View{Seq: seq, ID: ID{byte(seq)}, From: "sip:" + from + "@example.com", To: "sip:" + to + "@example.com", Received: at.Add(time.Duration(minutes) * time.Minute), Body: body}
	}
	list := []View{
		view(1, 0, "alice", "bob", "hello\r\nyou \x1b[31mthere"), view(3, 62, "bob", "alice", "back"), view(2, 59, "bob", "alice", "hi"),
		view(4, 122, "alice", "carol", "lunch?"), view(5, 1500, "carol", "bob", "x"), view(6, 6000, "carol", "bob", ""),
	}
	list[5].Content = "erased"
	threads := Threads(list, time.Hour)
	if len(threads) != 4 || len(threads[0].Messages) != 3 || threads[0].Messages[1].Seq != 2 || len(threads[0].Parties) != 2 || list[1].Seq != 3 {
		t.Fatalf("%+v", threads)
	}
	if one := Threads(list[:4], 61*time.Minute); len(one) != 1 || len(one[0].Parties) != 3 || one[0].Parties[2] != "sip:carol@example.com" {
		t.Errorf("%+v", one)
	}
	if none := Threads(nil, time.Hour); none == nil || len(none) != 0 {
		t.Errorf("%v", none)
	}
	var b bytes.Buffer
	if err := WriteThreads(&b, threads, time.FixedZone("", 3600)); err != nil {
		t.Fatal(err)
	}
	want := `2026-11-23 18:00:00 – 19:02:00 +01:00  alice@example.com, bob@example.com: 3 messages
01000000000000000000000000  18:00:00  alice@example.com: hello
                                      you ` + "\uFFFD" + `[31mthere
02000000000000000000000000  18:59:00  bob@example.com: hi
03000000000000000000000000  19:02:00  bob@example.com: back

(1 h 0 min later)

2026-11-23 20:02:00 – 20:02:00 +01:00  alice@example.com, carol@example.com: 1 message
04000000000000000000000000  20:02:00  alice@example.com: lunch?

(22 h 58 min later)

2026-11-24 19:00:00 – 19:00:00 +01:00  bob@example.com, carol@example.com: 1 message
05000000000000000000000000  19:00:00  carol@example.com: x

(3 days later)

2026-11-27 22:00:00 – 22:00:00 +01:00  bob@example.com, carol@example.com: 1 message
06000000000000000000000000  22:00:00  carol@example.com: (erased)
`
	if b.String() != want {
		t.Errorf("it wrote\n%s", b.String())
	}
}
