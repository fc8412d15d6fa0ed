package integration

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"rollcall/archive"
	"rollcall/archive/keys"
)

// kills is how often the crash test kills the server.
func kills(t testing.TB) int {
	v := os.Getenv("ROLLCALL_NIGHTLY")
	if v == "" {
		return 3
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 {
		t.Fatalf("ROLLCALL_NIGHTLY=%q is not a number of kills", v)
	}
	return n
}

// outcome is a request that ended with a final answer.
type outcome struct {
	key, to string
	status  int
}

// contentKeys opens what is sealed in a record.
func contentKeys(t testing.TB, dir string) *keys.Ring {
	t.Helper()
	master, err := keys.LoadFile(filepath.Join(dir, "master.key"), false)
	if err != nil {
		t.Fatal(err)
	}
	ring := keys.OpenForReading(filepath.Join(dir, "content"), master)
	t.Cleanup(func() { _ = ring.Close() })
	return ring
}

// TestKillUnderLoad kills the server at random moments while senders write to
// an account that is there and to one that is not. Each request that was
// answered 2xx must be in the record, and must reach its recipient exactly once:
// what comes again has the same branch, Call-ID and CSeq, so that a user agent
// takes it for a retransmission.
func TestKillUnderLoad(t *testing.T) {
	t.Parallel()
	const senders = 24
	here, away := account{"here", "here-secret"}, account{"away", "away-secret"}
	accounts := []account{here, away}
	for i := range senders {
		accounts = append(accounts, account{fmt.Sprintf("sender%d", i), "secret"})
	}
	s := startServerWith(t, setup{accounts: accounts, toml: "[im]\noffline_limit = 1000000\n"})
	online := newPhone(t, s.addr, "udp", here)
	online.mustRegister()
	// Registrations come back as of at most a second before a kill.
	time.Sleep(1500 * time.Millisecond)

	var (
		mu       sync.Mutex
		outcomes []outcome
		load     sync.WaitGroup
	)
	stop := make(chan struct{})
	for i := range senders {
		p := newPhone(t, s.addr, "udp", accounts[2+i])
		load.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				to := []account{here, away}[n%2]
				m := p.newText(to, fmt.Sprintf("%s %d", p.account.User, n))
				a, err := p.do(context.Background(), m)
				if err != nil {
					t.Errorf("%s, message %d: %v", p.account.User, n, err)
					return
				}
				mu.Lock()
				outcomes = append(outcomes, outcome{m.key(), to.User, a.status()})
				mu.Unlock()
				time.Sleep(time.Duration(rand.IntN(10)) * time.Millisecond)
			}
		})
	}
	for range kills(t) {
		time.Sleep(time.Duration(100+rand.IntN(1700)) * time.Millisecond)
		s.kill()
		s.mustVerify()
		s.start()
	}
	time.Sleep(time.Second)
	close(stop)
	load.Wait()

	accepted := map[string]outcome{}
	for _, o := range outcomes {
		if o.status/100 == 2 {
			accepted[o.key] = o
		} else if o.status != 503 {
			t.Errorf("%s to %s was answered %d", o.key, o.to, o.status)
		}
	}
	t.Logf("%d requests, %d accepted", len(outcomes), len(accepted))
	if len(accepted) < 20*kills(t) {
		t.Errorf("only %d requests were accepted: there was no load", len(accepted))
	}

	late := newPhone(t, s.addr, "udp", away)
	late.mustRegister()
	online.mustRegister() // whatever was kept for it comes now
	receivers := map[string]*phone{here.User: online, away.User: late}
	eventually(t, 60*time.Second, "delivered", func() error {
		arrived := map[string]bool{}
		for _, p := range receivers {
			for _, m := range p.got() {
				arrived[m.key()] = true
			}
		}
		missing := 0
		for key := range accepted {
			if !arrived[key] {
				missing++
			}
		}
		if missing > 0 {
			return fmt.Errorf("%d accepted requests have not arrived", missing)
		}
		return nil
	})
	time.Sleep(time.Second)
	for name, p := range receivers {
		branches := map[string]string{}
		for _, m := range p.got() {
			if before, again := branches[m.key()]; again && before != m.branch() {
				t.Errorf("%s received %s twice, with branches %s and %s", name, m.key(), before, m.branch())
			}
			branches[m.key()] = m.branch()
			if o, ok := accepted[m.key()]; ok && o.to != name {
				t.Errorf("%s received %s, which was for %s", name, m.key(), o.to)
			}
		}
	}

	// Nor does a sender's repetition after the restart make a second request.
	for name, p := range receivers {
		texts := map[string]string{}
		for _, m := range p.got() {
			if before, again := texts[m.body]; again && before != m.key() {
				t.Errorf("%s received %q in two requests, %s and %s", name, m.body, before, m.key())
			}
			texts[m.body] = m.key()
		}
	}

	// Neither the same device nor another gets anything once more.
	before := len(late.texts())
	late.mustRegister()
	other := newPhone(t, s.addr, "udp", away)
	other.mustRegister()
	time.Sleep(500 * time.Millisecond)
	if n := len(late.texts()); n != before {
		t.Errorf("the device received %d more", n-before)
	}
	if n := len(other.texts()); n != 0 {
		t.Errorf("a second device received %d", n)
	}

	s.mustVerify()
	recorded := map[string]int{}
	ring := contentKeys(t, filepath.Join(s.data, "keys"))
	err := archive.Folder{Dir: filepath.Join(s.data, "archive"), Keys: ring}.Scan(func(r *archive.Record, _ archive.Pos) error {
		if r.Type == archive.TypeMessage {
			recorded[fmt.Sprintf("%s %d MESSAGE", r.CallID, r.CSeq)]++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for key := range accepted {
		if recorded[key] == 0 {
			t.Errorf("%s was accepted and is not in the record", key)
		}
	}
	if code := s.stop(); code != 0 {
		t.Errorf("exit code %d after SIGTERM", code)
	}
	s.mustVerify()
}

// TestRetransmissionAfterKill has the server die between the delivery of a
// message and its answer. The sender repeats the request, as it must, and gets
// the answer; the device sees one request, not two.
func TestRetransmissionAfterKill(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	sender, receiver := newPhone(t, s.addr, "udp", alice), newPhone(t, s.addr, "udp", bob)
	receiver.mustRegister()
	sender.mustMessage(bob, "before", 200)
	time.Sleep(1500 * time.Millisecond) // the registration outlives a kill
	arrived := make(chan struct{}, 100)
	receiver.answerWith(func(*packet) int {
		arrived <- struct{}{}
		return 0
	})
	m := sender.newText(bob, greeting)
	answer := make(chan int, 1)
	go func() {
		a, err := sender.do(context.Background(), m)
		if err != nil {
			t.Errorf("MESSAGE: %v", err)
			answer <- 0
			return
		}
		answer <- a.status()
	}()
	<-arrived
	s.kill()
	receiver.answerWith(nil)
	s.start()
	if status := <-answer; status/100 != 2 {
		t.Errorf("the repeated request was answered %d", status)
	}
	receiver.mustRegister() // what was kept comes now
	time.Sleep(2 * time.Second)
	requests := map[string]bool{}
	for _, got := range receiver.got() {
		if got.body == greeting {
			requests[got.key()+" "+got.branch()] = true
		}
	}
	if len(requests) != 1 {
		t.Errorf("the device saw %d requests: %v", len(requests), requests)
	}
	s.mustVerify()
}
