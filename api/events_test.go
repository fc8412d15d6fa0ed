package api_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/api"
)

// A stream has its events in order, with what a reader needs to come back, and ends when the streams are closed.
func TestEvents(t *testing.T) {
	var streams api.Streams
	ended := make(chan error, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		streams.Serve(w, r, func(ctx context.Context, send func(api.Event) error, ready func()) error {
			ready()
			for i := range 3 {
				if err := send(api.Event{ID: fmt.Sprint(i), Name: "n", Data: "a\nb"}); err != nil && (i < 2 || ctx.Err() == nil) {
					ended <- nil // the last one may have been read, and the stream closed, before this knows
					return err
				}
			}
			<-ctx.Done()
			ended <- send(api.Event{Data: "late"})
			return ctx.Err()
		})
	}))
	defer srv.Close()
	res, err := http.Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if got := res.Header.Get("Content-Type"); res.StatusCode != 200 || got != "text/event-stream" {
		t.Fatalf("%s, %s", res.Status, got)
	}
	in := bufio.NewReader(res.Body)
	var got strings.Builder
	for !strings.Contains(got.String(), "id: 2\nevent: n\ndata: \"a\\nb\"\n\n") {
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatalf("%v after %q", err, got.String())
		}
		got.WriteString(line)
	}
	// The heartbeat that ready asks for comes before the first event, or not at all.
	if events := strings.TrimPrefix(got.String(), ":\n\n"); !strings.HasPrefix(events, "id: 0\n") || strings.Count(events, "\n\n") != 3 {
		t.Errorf("stream has %q", got.String())
	}
	streams.Close()
	if rest, err := io.ReadAll(in); err != nil || len(rest) > 0 {
		t.Errorf("after the end: %q, %v", rest, err)
	}
	if err := <-ended; err == nil {
		t.Error("an event was taken after the end")
	}
	res, err = http.Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" {
		t.Errorf("a stream of streams that are closed: %s", res.Status)
	}
}

// An error before the first event is an answer, one after it an event.
func TestEventsError(t *testing.T) {
	var streams api.Streams
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		streams.Serve(w, r, func(_ context.Context, send func(api.Event) error, _ func()) error {
			if r.URL.Path == "/late" {
				if err := send(api.Event{Data: 1}); err != nil {
					return err
				}
			}
			return fmt.Errorf("%w: no", api.ErrInvalid)
		})
	}))
	defer srv.Close()
	for path, want := range map[string]string{"/": "400 {\"error\":\"invalid: no\",\"kind\":\"invalid\"}\n", "/late": "200 data: 1\n\nevent: error\ndata: {\"error\":\"invalid: no\",\"kind\":\"invalid\"}\n\n"} {
		res, err := http.Get(srv.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if got := fmt.Sprint(res.StatusCode, " ", string(body)); got != want || err != nil {
			t.Errorf("%s: %q, %v", path, got, err)
		}
	}
}

// A stream without events says that it is alive; a reader whose connection fails ends it.
func TestEventsHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var streams api.Streams
		w := &failing{ResponseRecorder: httptest.NewRecorder(), after: 4}
		began := time.Now()
		streams.Serve(w, httptest.NewRequest(http.MethodGet, "/", nil), func(ctx context.Context, _ func(api.Event) error, ready func()) error {
			ready()
			<-ctx.Done()
			return ctx.Err()
		})
		if took := time.Since(began); took != time.Minute || w.Body.String() != ":\n\n:\n\n:\n\n:\n\n" {
			t.Errorf("after %v: %q", took, w.Body.String())
		}
	})
}

// failing is the connection of a reader that is gone after some writes.
type failing struct {
	*httptest.ResponseRecorder
	after int
}

func (f *failing) Write(p []byte) (int, error) {
	if f.after--; f.after < 0 {
		return 0, errors.New("gone")
	}
	return f.ResponseRecorder.Write(p)
}

// The number of readers is bounded.
func TestEventsBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var streams api.Streams
		var all sync.WaitGroup
		wait := func(ctx context.Context, _ func(api.Event) error, _ func()) error {
			<-ctx.Done()
			return ctx.Err()
		}
		for range 256 {
			all.Go(func() {
				streams.Serve(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil), wait)
			})
		}
		synctest.Wait()
		w := httptest.NewRecorder()
		streams.Serve(w, httptest.NewRequest(http.MethodGet, "/", nil), wait)
		if w.Code != http.StatusServiceUnavailable {
			t.Errorf("one more: %d %s", w.Code, w.Body)
		}
		streams.Close()
		all.Wait()
	})
}
