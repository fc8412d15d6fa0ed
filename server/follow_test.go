package server

import (
	"bufio"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"rollcall/archive"
)

// events reads the stream at a path, with the fields of each event by name. It ends with the test.
func (h *house) events(secret, path string, header ...string) <-chan map[string]string {
	h.t.Helper()
	req, err := http.NewRequestWithContext(h.t.Context(), http.MethodGet, "http://"+h.bound.Load().http+path, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+secret)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "text/event-stream" {
		h.t.Fatalf("%s: %s", path, res.Status)
	}
	out := make(chan map[string]string, 1000)
	ended := make(chan struct{})
	h.t.Cleanup(func() { res.Body.Close(); <-ended })
	go func() {
		defer close(ended)
		defer close(out)
		in := bufio.NewScanner(res.Body)
		in.Buffer(nil, 1<<20)
		event := map[string]string{}
		for in.Scan() {
			name, value, _ := strings.Cut(in.Text(), ": ")
			switch {
			case in.Text() != "":
				event[name] = value
			case event["data"] != "":
				out <- event
				fallthrough
			default:
				event = map[string]string{}
			}
		}
	}()
	return out
}

// next is the next event, whose data it reads into v. It waits long.
func nextEvent(t *testing.T, events <-chan map[string]string, v any) map[string]string {
	t.Helper()
	select {
	case e, ok := <-events:
		if !ok {
			t.Fatal("the stream has ended")
		}
		if err := json.Unmarshal([]byte(e["data"]), v); err != nil {
			t.Fatalf("%v in %v", err, e)
		}
		return e
	case <-time.After(30 * time.Second):
		t.Fatal("no event")
	}
	return nil
}

// TestRecordStream: an officer's program follows the record, and goes on where it was without a gap or a repeat; that it
// follows is in the record.
func TestRecordStream(t *testing.T) {
	t.Parallel()
	h := start(t)
	dora := h.token("compliance", "dora")
	alice := h.client("alice", "UDP")
	alice.want(202, "MESSAGE", "sip:bob@example.com", "before")
	all := h.events(dora, "/api/v1/records/stream?after=0&reason=feed")
	live := h.events(dora, "/api/v1/records/stream")
	alice.want(202, "MESSAGE", "sip:bob@example.com", "after")
	read := func(events <-chan map[string]string, until string) (bodies []string, acts []string, last string) {
		seq := uint64(0)
		for {
			var v archive.View
			e := nextEvent(t, events, &v)
			if e["event"] != "record" || seq != 0 && v.Seq != seq+1 {
				t.Fatalf("after %d: %v", seq, e)
			}
			seq = v.Seq
			switch v.Type {
			case "message":
				bodies = append(bodies, v.Body)
			case "act":
				acts = append(acts, v.Action+" "+v.Object+" "+v.Reason)
			}
			if v.Body == until {
				return bodies, acts, e["id"]
			}
		}
	}
	bodies, acts, last := read(all, "after")
	if got := strings.Join(bodies, ","); got != "before,after" || !strings.Contains(strings.Join(acts, ","), "stream after 0 feed") {
		t.Errorf("%s; %s", got, acts)
	}
	if bodies, _, _ := read(live, "after"); len(bodies) != 1 {
		t.Errorf("from now: %s", bodies)
	}
	again := h.events(dora, "/api/v1/records/stream?after=0", "Last-Event-ID", last)
	alice.want(202, "MESSAGE", "sip:bob@example.com", "later")
	if bodies, _, _ := read(again, "later"); len(bodies) != 1 {
		t.Errorf("after Last-Event-ID: %s", bodies)
	}
	for path, status := range map[string]int{"?after=x": 400, "?after=99999999": 400, "?after=-1": 400} {
		if res, body := h.asToken(dora, "GET", "/api/v1/records/stream"+path, ""); res.StatusCode != status {
			t.Errorf("%s: %d %s", path, res.StatusCode, body)
		}
	}
	if res, _ := h.asToken(h.token("admin", "root"), "GET", "/api/v1/records/stream", ""); res.StatusCode != 403 {
		t.Errorf("an administrator reads content: %s", res.Status)
	}
	h.streams.Close() // as at the end of the server
	for _, s := range []<-chan map[string]string{all, live, again} {
		for range s { // until it has ended
		}
	}
}

// One token leaves room for the streams of others.
func TestStreamsOfOneToken(t *testing.T) {
	t.Parallel()
	h := start(t)
	dora := h.token("compliance", "dora")
	for range 32 {
		h.events(dora, "/api/v1/records/stream")
	}
	if res, text := h.asToken(dora, "GET", "/api/v1/records/stream", ""); res.StatusCode != 503 || res.Header.Get("Retry-After") == "" {
		t.Errorf("%d %s", res.StatusCode, text)
	}
	h.events(h.token("compliance", "emil"), "/api/v1/records/stream")
}
