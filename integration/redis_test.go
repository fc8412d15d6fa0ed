package integration

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"rollcall/store/redis/redistest"
)

// startServerOnRedis runs the whole server on a Redis of the test's own.
func startServerOnRedis(t *testing.T) (*server, *redistest.Server) {
	t.Helper()
	url, redis := redistest.Start(t)
	return startServerWith(t, setup{accounts: []account{alice, bob, carol}, toml: fmt.Sprintf("[store]\nurl = %q\n", url)}), redis
}

func TestServerOnRedis(t *testing.T) {
	t.Parallel()
	s, _ := startServerOnRedis(t)
	sender, receiver := newPhone(t, s.addr, "udp", alice), newPhone(t, s.addr, "udp", bob)
	receiver.mustRegister()
	sender.mustMessage(bob, greeting, 200)
	receiver.wantTexts(greeting)
	sender.mustMessage(carol, "for later", 202)
	s.kill()
	s.start()
	// The binding and the waiting message are on Redis.
	sender.mustMessage(bob, "again", 200)
	receiver.wantTexts(greeting, "again")
	late := newPhone(t, s.addr, "tcp", carol)
	late.mustRegister()
	late.wantTexts("for later")
	s.mustVerify()
}

func TestClientsOnRedis(t *testing.T) {
	t.Parallel()
	s, _ := startServerOnRedis(t)
	exchange(t, startLinphone(t, s.addr, "tcp", alice, bob), startBaresip(t, s.addr, "udp", bob, alice))
}

// TestRedisGoesAway stops Redis, and once makes it hang: what needs it is
// answered 503 with Retry-After, the server lives and recovers by itself.
func TestRedisGoesAway(t *testing.T) {
	for name, c := range map[string]struct{ away, back func(*redistest.Server) }{
		"stopped": {(*redistest.Server).Stop, (*redistest.Server).Restart},
		"killed":  {(*redistest.Server).Kill, (*redistest.Server).Restart},
		"hanging": {(*redistest.Server).Pause, (*redistest.Server).Resume},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, redis := startServerOnRedis(t)
			sender, receiver := newPhone(t, s.addr, "udp", alice), newPhone(t, s.addr, "udp", bob)
			receiver.mustRegister()
			sender.mustMessage(bob, "before", 200)
			c.away(redis)
			a := receiver.register(3600)
			if after, err := strconv.Atoi(a.get("Retry-After")); a.status() != 503 || err != nil || after < 1 {
				t.Errorf("REGISTER without Redis: %s, Retry-After %q", a.first, a.get("Retry-After"))
			}
			res, err := s.control("/api/v1/registrations?aor=sip:bob@example.com")
			if err != nil {
				t.Fatal(err)
			}
			if res.Body.Close(); res.StatusCode != 503 || res.Header.Get("Retry-After") == "" {
				t.Errorf("registrations without Redis: %s, Retry-After %q", res.Status, res.Header.Get("Retry-After"))
			}
			if status, _ := s.get("/healthz"); status != 200 || !s.alive() {
				t.Errorf("/healthz without Redis: %d", status)
			}
			eventually(t, 10*time.Second, "unready", func() error {
				if status, body := s.get("/readyz"); status != 503 {
					return fmt.Errorf("/readyz without Redis: %d %s", status, body)
				}
				return nil
			})
			c.back(redis)
			s.waitReady()
			receiver.mustRegister()
			sender.mustMessage(bob, "after", 200)
			receiver.wantTexts("before", "after")
			s.mustVerify()
		})
	}
}
