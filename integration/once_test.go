package integration

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestKillBetweenRetries kills the server while a bot sends messages with keys, and has the bot ask again for all of
// them: each is recorded once, and comes once.
func TestKillBetweenRetries(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	secret := strings.TrimSpace(s.mustRun("token", "create", "--role", "bot", "--name", "robot", "--aor", "alice"))
	client := http.Client{Timeout: 40 * time.Second}
	send := func(i int) int {
		body := fmt.Sprintf(`{"to":%q,"text":"message %d"}`, bob.AOR(), i)
		req, err := http.NewRequest(http.MethodPost, "http://"+s.http+"/api/v1/messages", strings.NewReader(body))
		if err != nil {
			t.Error(err)
			return 0
		}
		req.Header.Set("Authorization", "Bearer "+secret)
		req.Header.Set("Idempotency-Key", fmt.Sprint("key-", i))
		res, err := client.Do(req)
		if err != nil {
			return 0
		}
		defer res.Body.Close()
		return res.StatusCode
	}
	const senders, each = 4, 60
	var bots sync.WaitGroup
	for b := range senders {
		bots.Go(func() {
			for i := range each {
				send(b*each + i)
			}
		})
	}
	time.Sleep(100 * time.Millisecond)
	s.kill()
	bots.Wait()
	s.start()
	// What was under way at the kill is answered when its server can't be sending it any more. What was recorded and had
	// no outcome may have been delivered, so it is not sent again: 502.
	taken, interrupted := map[string]bool{}, 0
	eventually(t, 70*time.Second, "all answered", func() error {
		for i := range senders * each {
			text := fmt.Sprint("message ", i)
			if _, known := taken[text]; known {
				continue
			}
			switch status := send(i); status {
			case http.StatusAccepted:
				taken[text] = true
			case http.StatusBadGateway:
				taken[text] = false
				interrupted++
			default:
				return fmt.Errorf("%s: status %d", text, status)
			}
		}
		return nil
	})
	if interrupted > senders {
		t.Errorf("%d messages were interrupted, and %d at most were under way", interrupted, senders)
	}
	receiver := newPhone(t, s.addr, "udp", bob)
	receiver.mustRegister()
	eventually(t, 20*time.Second, "delivered", func() error {
		if n := len(receiver.texts()); n < len(taken)-interrupted {
			return fmt.Errorf("%d messages came", n)
		}
		return nil
	})
	came := map[string]int{}
	for _, text := range receiver.texts() {
		came[text]++
	}
	for text, sure := range taken {
		if n := came[text]; n > 1 || sure && n != 1 {
			t.Errorf("%s came %d times", text, n)
		}
	}
	s.mustVerify()
	if stats := s.mustRun("archive", "stats", "--json"); !strings.Contains(strings.ReplaceAll(stats, " ", ""), fmt.Sprintf(`"messages":%d`, len(taken))) {
		t.Errorf("the record has other than %d messages: %s", len(taken), stats)
	}
}
