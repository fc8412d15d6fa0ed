package server

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"rollcall/archive"
)

// TestStopUnderLoad stops a server while messages run through it. Everything
// that got a 2xx is in the record and reached its recipient, before the stop or
// after the next start.
func TestStopUnderLoad(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	h := startWith(t, cfg, zap.NewNop())
	bob := h.client("bob", "UDP")
	bob.register("")
	var mu sync.Mutex
	got, accepted := map[string]int{}, map[string]bool{}
	echo := func(c *client, quit chan struct{}) {
		for {
			select {
			case m := <-c.in:
				if m == nil {
					return
				}
				if m.IsRequest() {
					mu.Lock()
					got[m.Body()]++
					mu.Unlock()
					c.send(string(reply(m, 200)))
				}
			case <-quit:
				return
			}
		}
	}
	quit := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { echo(bob, quit) })
	var senders sync.WaitGroup
	for i := range 4 {
		proto := []string{"UDP", "TCP"}[i%2]
		c := h.client("alice", proto)
		s := newSession(c, "sip:bob@example.com")
		senders.Go(func() {
			for n := range 200 {
				body := fmt.Sprint(i, " ", n)
				if _, err := c.conn.Write([]byte(s.request("MESSAGE", "sip:bob@example.com", body))); err != nil {
					return
				}
				m := c.next(2 * time.Second)
				if m == nil {
					return
				}
				if m.Status()/100 == 2 {
					mu.Lock()
					accepted[body] = true
					mu.Unlock()
				} else if m.Status() != 503 {
					t.Errorf("answered %d %s", m.Status(), m.Reason())
				}
			}
		})
	}
	eventually(t, "running", func() bool { mu.Lock(); defer mu.Unlock(); return len(accepted) > 50 })
	if err := h.stop(); err != nil {
		t.Error(err)
	}
	senders.Wait()
	close(quit)
	wg.Wait()
	recorded := map[string]int{}
	ring, err := ContentKeys(cfg.KeysDir)
	if err != nil {
		t.Fatal(err)
	}
	defer ring.Close()
	err = archive.Folder{Dir: filepath.Join(cfg.DataDir, "archive"), Keys: ring}.Scan(func(r *archive.Record, _ archive.Pos) error {
		if r.Type == archive.TypeMessage {
			recorded[string(r.Body())]++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for body, n := range got {
		if n != 1 || recorded[body] != 1 {
			t.Errorf("%q came %d times and stands %d times in the record", body, n, recorded[body])
		}
	}
	h = startWith(t, cfg, zap.NewNop())
	bob = h.client("bob", "UDP")
	quit = make(chan struct{})
	wg.Go(func() { echo(bob, quit) })
	register := newSession(h.client("bob", "UDP"), "sip:bob@example.com")
	if m := register.c.ask(register.request("REGISTER", "sip:example.com", "", "Contact: <sip:bob@"+bob.conn.LocalAddr().String()+">")); m.Status() != 200 {
		t.Fatalf("REGISTER: %d", m.Status())
	}
	eventually(t, "all there", func() bool {
		mu.Lock()
		defer mu.Unlock()
		for body := range accepted {
			if got[body] == 0 {
				return false
			}
		}
		return true
	})
	close(quit)
	wg.Wait()
	if r, err := (archive.Folder{Dir: filepath.Join(cfg.DataDir, "archive")}.Verify()); err != nil || r.FaultCount > 0 {
		t.Errorf("verify: %v, %v", r, err)
	}
}

// A body near the limit goes through over TCP, byte for byte.
func TestLargeBody(t *testing.T) {
	t.Parallel()
	h := start(t)
	alice, bob := h.client("alice", "TCP"), h.client("bob", "TCP")
	bob.register("")
	body := strings.Repeat("漢字\r\n\r\n\x00", 5900) // 64,900 bytes
	body = body[:64_000]
	alice.send(alice.authorized("MESSAGE", "sip:bob@example.com", body, "Content-Type: application/octet-stream"))
	if m := bob.answer(200); m.Body() != body {
		t.Errorf("%d bytes came, want %d", len(m.Body()), len(body))
	}
	if m := alice.next(10 * time.Second); m == nil || m.Status() != 200 {
		t.Errorf("alice heard %v", m)
	}
	if m := alice.ask(alice.request("MESSAGE", "sip:bob@example.com", strings.Repeat("x", 66_000))); m.Status() != 513 {
		t.Errorf("a message over the limit: %d", m.Status())
	}
}
