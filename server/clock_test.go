package server

import (
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"rollcall/config"
	"rollcall/store/redis/redistest"
)

// otherClock stands between a server and its Redis, whose clock is ahead as seen
// through it.
type otherClock struct {
	net.Listener
	redis string
	ahead atomic.Int64 // seconds
}

// ofTime is how Redis answers TIME: seconds and microseconds.
var ofTime = regexp.MustCompile(`\*2\r\n\$10\r\n(\d{10})\r\n\$\d\r\n\d+\r\n`)

func newOtherClock(t *testing.T, redis string) *otherClock {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	c := &otherClock{Listener: l, redis: redis}
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			go c.serve(near)
		}
	}()
	return c
}

func (c *otherClock) serve(near net.Conn) {
	defer near.Close()
	far, err := net.Dial("tcp", c.redis)
	if err != nil {
		return
	}
	defer far.Close()
	go func() { _, _ = io.Copy(far, near); far.Close() }()
	buf := make([]byte, 64<<10)
	for {
		n, err := far.Read(buf)
		if err != nil {
			return
		}
		for _, at := range ofTime.FindAllSubmatchIndex(buf[:n], -1) {
			seconds, _ := strconv.ParseInt(string(buf[at[2]:at[3]]), 10, 64)
			copy(buf[at[2]:at[3]], fmt.Sprintf("%010d", seconds+c.ahead.Load()))
		}
		if _, err := near.Write(buf[:n]); err != nil {
			return
		}
	}
}

// TestReadyByTheClock: a server whose clock is far from that of the Redis that it
// shares says that it is not ready, until they agree again.
func TestReadyByTheClock(t *testing.T) {
	t.Parallel()
	_, redis := redistest.Start(t)
	clock := newOtherClock(t, redis.Addr())
	h := start(t, func(c *config.Config) { c.Store.URL = "redis://" + clock.Addr().String() + "/0" })
	for _, c := range []struct {
		ahead  int64
		status int
		body   string
	}{{0, 200, "ready"}, {60, 503, "clock: "}, {-60, 503, "clock: "}, {1, 200, "ready"}} {
		clock.ahead.Store(c.ahead)
		eventually(t, fmt.Sprintf("%d and %q, %d s ahead", c.status, c.body, c.ahead), func() bool {
			status, body := h.get("/readyz")
			return status == c.status && strings.Contains(body, c.body)
		})
	}
}
