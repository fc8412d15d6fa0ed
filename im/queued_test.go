package im

import (
	"bytes"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"rollcall/archive"
	"rollcall/sip"
	"rollcall/sip/siptest"
	"rollcall/store"
)

func TestEntryRoundTrip(t *testing.T) {
	for _, tried := range [][]trial{
		nil,
		{{"sip:bob@192.0.2.1", 1, false}},
		{{"urn:uuid:1", 3, true}, {"", 1 << 40, false}, {strings.Repeat("x", 300), 1, true}},
	} {
		e := entry{id: archive.NewID(time.Now()), expires: time.UnixMilli(1_790_000_000_123).UTC(), tried: tried}
		got, err := decodeEntry(store.Item{ID: string(e.id[:]), Value: e.encode()})
		if err != nil || !reflect.DeepEqual(got, e) {
			t.Errorf("%+v, %v, want %+v", got, err, e)
		}
	}
}

// What devices answered is bounded: the oldest is forgotten.
func TestNoteIsBounded(t *testing.T) {
	var tried []trial
	for i := range 3 * maxTrials {
		tried = note(tried, result{device: strings.Repeat("d", i), status: 480})
	}
	if len(tried) != maxTrials {
		t.Errorf("%d devices remembered", len(tried))
	}
	last := tried[maxTrials-1].device
	tried = note(tried, result{device: last, status: 415})
	if x := tried[maxTrials-1]; x.answers != 2 || !x.refused {
		t.Errorf("%+v", x)
	}
	if n := note(tried, result{device: last}); n[maxTrials-1].answers != 2 {
		t.Error("silence was counted as an answer")
	}
}

// journalRelay is a relay that can only read what is stored.
func journalRelay(t testing.TB) (*Relay, archive.Receipt) {
	t.Helper()
	j, err := archive.Open(t.TempDir(), archive.Options{Node: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	receipt, err := j.Append(t.Context(), &archive.Record{Type: archive.TypeMessage, Received: time.Now(), Channel: "sip-message"})
	if err != nil {
		t.Fatal(err)
	}
	return &Relay{o: Options{Journal: j}}, receipt
}

func sample(t testing.TB, receipt archive.Receipt) *outgoing {
	t.Helper()
	o := &outgoing{
		req: new(sip.Message), source: netip.MustParseAddrPort("[2001:db8::1]:5060"), receipt: receipt, key: requestKey{1, 2, 15: 16},
		loop: "-0123456789abcdef", dropRoutes: 2, realm: "example.com", received: time.UnixMilli(1_790_000_000_123).UTC(), dated: true,
	}
	o.from, _ = sip.ParseAORString("sip:alice@example.com")
	o.to, _ = sip.ParseAORString("sip:b%20ob@example.com")
	text := siptest.Request("MESSAGE", "z9hG4bK1", o.source, "Content-Type: text/plain")
	text = append(bytes.Replace(text, []byte("Content-Length: 0"), []byte("Content-Length: 5"), 1), "\x00\xff\r\n\n"...)
	if err := o.req.Parse(text); err != nil {
		t.Fatal(err)
	}
	if fault := o.req.Check(); fault != nil {
		t.Fatal(fault)
	}
	return o
}

func TestQueuedRoundTrip(t *testing.T) {
	r, receipt := journalRelay(t)
	o := sample(t, receipt)
	got, err := r.decodeQueued(receipt.ID(), encodeQueued(o))
	if err != nil {
		t.Fatal(err)
	}
	if d := siptest.Diff(o.req.Raw(), got.req.Raw()); d != "" {
		t.Error(d)
	}
	got.req = o.req
	if *got != *o {
		t.Errorf("%+v, want %+v", got, o)
	}
	// Every part that is cut off is noticed.
	whole := encodeQueued(o)
	for n := range whole {
		if _, err := r.decodeQueued(receipt.ID(), whole[:n]); err == nil {
			t.Fatalf("the first %d of %d bytes were taken", n, len(whole))
		}
	}
	// A record that the journal does not have proves nothing.
	empty, err := archive.Open(t.TempDir(), archive.Options{Node: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer empty.Close()
	if _, err := (&Relay{o: Options{Journal: empty}}).decodeQueued(receipt.ID(), whole); err == nil {
		t.Error("a message without a record was taken from the store")
	}
}

func FuzzDecodeEntry(f *testing.F) {
	e := entry{expires: time.Now(), tried: []trial{{"urn:uuid:1", 3, true}}}
	f.Add(e.encode())
	f.Add([]byte{entryVersion, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := decodeEntry(store.Item{ID: "0123456789abcdef", Value: b})
		if len(e.tried) > len(b) {
			t.Fatalf("%d devices out of %d bytes", len(e.tried), len(b))
		}
		if err != nil {
			return
		}
		again, err := decodeEntry(store.Item{ID: "0123456789abcdef", Value: e.encode()})
		if err != nil || !again.expires.Equal(e.expires) || !reflect.DeepEqual(again.tried, e.tried) {
			t.Fatalf("%+v, %v, want %+v", again, err, e)
		}
	})
}

func FuzzDecodeQueued(f *testing.F) {
	r, receipt := journalRelay(f)
	f.Add(encodeQueued(sample(f, receipt)))
	f.Add([]byte{queuedVersion, 1, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := r.decodeQueued(receipt.ID(), b)
		if err != nil {
			return
		}
		if !o.receipt.Valid() {
			t.Fatal("a message that has no record")
		}
		if h := (hop{uri: "sip:bob@192.0.2.1"}); len(o.req.AppendForward(nil, &sip.Forward{URI: h.uri, Via: []byte("SIP/2.0/UDP h"), Source: o.source, DropRoutes: o.dropRoutes})) == 0 {
			t.Fatal("nothing to send")
		}
	})
}

// sendTo is where a MESSAGE leaves. It refuses to without a receipt.
func TestSendToWantsAReceipt(t *testing.T) {
	r, receipt := journalRelay(t)
	o := sample(t, receipt)
	o.receipt = archive.Receipt{}
	defer func() {
		if p := fmt.Sprint(recover()); !strings.Contains(p, "without a durable record") {
			t.Errorf("a message without a receipt went on its way: %s", p)
		}
	}()
	(&attempt{r: r, o: o, d: &device{}, done: func(result) {}}).sendTo()
}

// The branch names request and device, changes with each answer of the device,
// and can't be made without the key.
func TestBranch(t *testing.T) {
	_, receipt := journalRelay(t)
	m := sample(t, receipt).req
	a, b := &Relay{o: Options{Key: []byte("one key")}}, &Relay{o: Options{Key: []byte("another")}}
	again := &Relay{o: Options{Key: []byte("one key")}}
	if a.keyOf(m) != again.keyOf(m) || a.keyOf(m) == b.keyOf(m) {
		t.Error("the key of a request is not a keyed hash of it")
	}
	seen := map[string]bool{}
	for _, k := range []requestKey{a.keyOf(m), b.keyOf(m)} {
		for _, device := range []string{"", "urn:uuid:1", "urn:uuid:2"} {
			for answers := range uint64(3) {
				id := string(appendBranch(nil, k, device, answers, "-0123456789abcdef"))
				if seen[id] || !strings.HasPrefix(id, sip.MagicCookie) || len(id) > 128 {
					t.Errorf("branch %q", id)
				}
				seen[id] = true
			}
		}
	}
}
