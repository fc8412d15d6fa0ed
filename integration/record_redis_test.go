package integration

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"rollcall/archive"
	"rollcall/store/redis/redistest"
)

// seals reports whether the server seals the record, by its metrics.
func (s *server) seals() bool {
	_, body := s.get("/metrics")
	return strings.Contains(body, "rollcall_archive_seals 1")
}

// TestSealerIsKilled kills the server that seals the record, under load over both, again
// and again: the other takes over, and no record is lost or stands twice.
func TestSealerIsKilled(t *testing.T) {
	t.Parallel()
	url, _ := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "everysec")
	common := t.TempDir()
	const senders = 8
	away := account{"away", "away-secret"}
	accounts := []account{away}
	for i := range 2 * senders {
		accounts = append(accounts, account{fmt.Sprintf("sender%d", i), "secret"})
	}
	node := func(accounts []account) *server {
		return startServerWith(t, setup{accounts: accounts,
			toml: fmt.Sprintf("[store]\nurl = %q\n\n[archive]\njournal = \"redis\"\ndir = %q\n\n[im]\noffline_limit = 1000000\n", url, filepath.Join(common, "archive")),
			before: func(s *server) {
				text, err := os.ReadFile(s.config)
				if err != nil {
					t.Fatal(err)
				}
				s.write(s.config, fmt.Sprintf("keys_dir = %q\n%s", filepath.Join(common, "keys"), text))
			}})
	}
	nodes := []*server{node(accounts), node(nil)}
	sealing := func(s *server) {
		t.Helper()
		eventually(t, 60*time.Second, "sealing", func() error {
			if !s.seals() {
				return fmt.Errorf("%s does not seal", s.addr)
			}
			return nil
		})
	}
	sealing(nodes[0])

	var mu sync.Mutex
	accepted := map[string]bool{}
	var load sync.WaitGroup
	stop := make(chan struct{})
	for i := range 2 * senders {
		p := newPhone(t, nodes[i%2].addr, "udp", accounts[1+i])
		load.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				m := p.newText(away, fmt.Sprintf("%s %d", p.account.User, n))
				a, err := p.do(context.Background(), m)
				if err != nil {
					t.Errorf("%s, message %d: %v", p.account.User, n, err)
					return
				}
				if a.status()/100 == 2 {
					mu.Lock()
					accepted[m.key()] = true
					mu.Unlock()
				} else if a.status() != 503 {
					t.Errorf("%s was answered %d", m.key(), a.status())
				}
				time.Sleep(time.Duration(rand.IntN(10)) * time.Millisecond)
			}
		})
	}
	for round := range 2 {
		time.Sleep(time.Duration(500+rand.IntN(1000)) * time.Millisecond)
		holder, other := nodes[round%2], nodes[1-round%2]
		holder.kill()
		sealing(other)
		holder.start()
	}
	close(stop)
	load.Wait()
	for _, s := range nodes {
		if code := s.stop(); code != 0 {
			t.Errorf("exit code %d after SIGTERM", code)
		}
	}
	last := nodes[0]
	last.start() // what the one that ended last left is sealed now
	sealing(last)
	eventually(t, 60*time.Second, "sealed", func() error {
		if _, body := last.get("/metrics"); !strings.Contains(body, "rollcall_archive_unsealed_records 0") {
			return fmt.Errorf("records wait")
		}
		return nil
	})
	if code := last.stop(); code != 0 {
		t.Errorf("exit code %d after SIGTERM", code)
	}
	last.mustVerify()
	ids, recorded := map[archive.ID]int{}, map[string]bool{}
	ring := contentKeys(t, filepath.Join(common, "keys"))
	err := archive.Folder{Dir: filepath.Join(common, "archive"), Keys: ring}.Scan(func(r *archive.Record, _ archive.Pos) error {
		ids[r.ID]++
		if r.Type == archive.TypeMessage {
			recorded[fmt.Sprintf("%s %d MESSAGE", r.CallID, r.CSeq)] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for key := range accepted {
		if !recorded[key] {
			t.Errorf("%s was accepted and is not in the record", key)
		}
	}
	for id, n := range ids {
		if n != 1 {
			t.Errorf("record %s stands %d times", id, n)
		}
	}
	t.Logf("%d messages accepted, %d records", len(accepted), len(ids))
	if len(accepted) < 100 {
		t.Error("there was no load")
	}
}
