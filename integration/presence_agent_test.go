package integration

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestWatchAndPublishBesideLinphone has the product's own commands and linphone
// see each other.
func TestWatchAndPublishBesideLinphone(t *testing.T) {
	for _, transport := range []string{"udp", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			s := startServer(t)
			password := filepath.Join(t.TempDir(), "bob")
			s.write(password, bob.Password+"\n")
			command := func(line func(string), args ...string) *child {
				return startChild(t, t.TempDir(), line, binary, append(append([]string{"--config", s.config}, args...),
					"--transport", transport, "--password-file", password)...)
			}
			a := newLinphone(t, s.addr, transport, alice)
			a.publishes = true
			must(t, a.Register())
			must(t, a.Watch("", bob))
			shows(t, a, bob, closed)

			seen := make(chan string, 100)
			command(func(line string) { seen <- line }, "watch", "bob", "alice")
			must(t, a.Publish(shown{"open", "busy", greeting}))
			for {
				line, err := within(20*time.Second, "watch shows alice busy", seen, nil)
				if err != nil {
					t.Fatal(err)
				}
				if strings.Contains(line, "alice") && strings.Contains(line, "busy") && strings.Contains(line, greeting) {
					break
				}
			}

			for _, state := range []shown{{"open", "away", "lunch"}, {"open", "busy", greeting}, {"closed", "", "gone home"}} {
				word := state.Activity
				if word == "" {
					word = state.Basic
				}
				p := command(nil, "publish", "bob", word, state.Note)
				shows(t, a, bob, state)
				p.end(time.Second)
			}
			a.Close()
		})
	}
}
