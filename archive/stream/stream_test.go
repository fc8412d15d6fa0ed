package stream

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"rollcall/archive"
	"rollcall/store/redis/redistest"
)

// plain wraps nothing: what is tested here is the way of the records.
var plain = Master{
	Wrap:   func(_ [16]byte, key []byte) ([]byte, error) { return slices.Clone(key), nil },
	Unwrap: func(_ [16]byte, wrapped []byte) ([]byte, error) { return wrapped, nil },
}

func open(t testing.TB, url, dir, node string, change ...func(*Options)) *Journal {
	t.Helper()
	o, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(o)
	t.Cleanup(func() { _ = client.Close() })
	with := options(client, dir, node)
	for _, f := range change {
		f(&with)
	}
	j, err := Open(t.Context(), with)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func options(client *redis.Client, dir, node string) Options {
	return Options{Client: client, Prefix: "test", Node: node, Master: plain, Keep: time.Hour, Folder: archive.Folder{Dir: dir},
		Open: func() (*archive.Journal, func() error, error) {
			j, err := archive.Open(dir, archive.Options{Node: node})
			return j, func() error { return nil }, err
		}}
}

func message(from, to, text string) *archive.Record {
	return &archive.Record{Type: archive.TypeMessage, Received: time.Now(), Channel: "sip-message", From: from, To: to, Method: "MESSAGE",
		Raw: []byte("MESSAGE sip:x SIP/2.0\r\n\r\n" + text)}
}

// say writes a message with its outcome and returns the message's ID.
func say(t testing.TB, j *Journal, n int) archive.ID {
	t.Helper()
	from, to := fmt.Sprintf("sip:u%d@example.com", n%50), "sip:bob@example.com"
	r := message(from, to, fmt.Sprint("text ", n))
	receipt, err := j.Append(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if !receipt.Valid() || receipt.ID() != r.ID {
		t.Fatalf("receipt %v of %v", receipt, r.ID)
	}
	if err := j.Note(&archive.Record{Type: archive.TypeOutcome, Received: time.Now(), Cites: r.ID, From: from, To: to, Disposition: archive.Delivered}); err != nil {
		t.Fatal(err)
	}
	return r.ID
}

// content reads the record: how often each message stands in it, by ID.
func content(t testing.TB, dir string) map[archive.ID]int {
	t.Helper()
	rep, err := archive.Folder{Dir: dir}.Verify()
	if err != nil || !rep.OK {
		t.Fatal(err, rep.Err())
	}
	found := map[archive.ID]int{}
	err = archive.Folder{Dir: dir}.Scan(func(r *archive.Record, _ archive.Pos) error {
		if r.Type == archive.TypeMessage {
			found[r.ID]++
			if r.Content != archive.Present || !strings.Contains(string(r.Body()), "text") {
				t.Errorf("record %s: %v, %q", r.ID, r.Content, r.Body())
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not %s within 30 s", what)
		}
	}
}

func sealedAll(t testing.TB, j *Journal) {
	t.Helper()
	eventually(t, "sealed", func() bool {
		n, err := j.Unsealed(t.Context())
		return err == nil && n == 0
	})
}

// TestSeals: what is written comes into the record, once, in the order of its conversation.
func TestSeals(t *testing.T) {
	url, _ := redistest.Start(t)
	dir := filepath.Join(t.TempDir(), "archive")
	j := open(t, url, dir, "n1")
	var ids []archive.ID
	for n := range 300 {
		if n%2 == 0 {
			ids = append(ids, say(t, j, n))
			continue
		}
		r := message("sip:a@example.com", "sip:b@example.com", "text") // past the one who seals
		done := make(chan error, 1)
		if err := j.AppendFunc(r, func(_ archive.Receipt, err error) { done <- err }); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		ids = append(ids, r.ID)
	}
	last, err := j.Last()
	if err != nil || time.Since(last) > time.Minute {
		t.Errorf("last record at %s, %v", last, err)
	}
	recent := 0
	if err := j.Recent(time.Now().Add(-time.Minute), func(*archive.Record) error { recent++; return nil }); err != nil || recent < 150 {
		t.Errorf("%d recent records, %v", recent, err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	found := content(t, dir)
	for _, id := range ids {
		if found[id] != 1 {
			t.Errorf("record %s stands %d times", id, found[id])
		}
	}
	if err := j.AppendFunc(message("a", "b", "text"), nil); !errors.Is(err, archive.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// TestRedisAway: while Redis is away a message is refused, and what nobody waits for is
// kept and comes into the record later.
func TestRedisAway(t *testing.T) {
	url, server := redistest.Start(t)
	dir := filepath.Join(t.TempDir(), "archive")
	j := open(t, url, dir, "n1")
	id := say(t, j, 1)
	sealedAll(t, j)
	server.Stop()
	r := message("sip:a@example.com", "sip:b@example.com", "text")
	eventually(t, "refused", func() bool {
		c := make(chan error, 1)
		if err := j.AppendFunc(r, func(_ archive.Receipt, err error) { c <- err }); err != nil {
			return errors.Is(err, archive.ErrUnavailable)
		}
		return errors.Is(<-c, archive.ErrUnavailable)
	})
	if j.Err() == nil {
		t.Error("no error while Redis is away")
	}
	if err := j.Note(&archive.Record{Type: archive.TypeOutcome, Received: time.Now(), Cites: id, From: "sip:u1@example.com", To: "sip:bob@example.com", Disposition: archive.Expired}); err != nil {
		t.Fatal(err)
	}
	server.Restart()
	eventually(t, "working", func() bool { return j.Err() == nil })
	eventually(t, "sealed", func() bool {
		expired := 0
		_ = archive.Folder{Dir: dir}.Scan(func(r *archive.Record, _ archive.Pos) error {
			if r.Disposition == archive.Expired {
				expired++
			}
			return nil
		})
		return expired == 1
	})
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestFence: who has lost the lease acknowledges nothing and lets the folder go.
func TestFence(t *testing.T) {
	url, _ := redistest.Start(t)
	dir := filepath.Join(t.TempDir(), "archive")
	j := open(t, url, dir, "n1")
	defer j.Close()
	eventually(t, "sealing", j.Seals)
	if err := j.o.Client.Set(t.Context(), j.names.lease, "other#99", time.Minute).Err(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "over", func() bool { return !j.Seals() })
	id := say(t, j, 1)
	eventually(t, "both entries waiting", func() bool { // nobody waited for the second
		n, err := j.Unsealed(t.Context())
		return err == nil && n == 2
	})
	if err := j.o.Client.Del(t.Context(), j.names.lease).Err(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "sealing again", j.Seals)
	sealedAll(t, j)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if content(t, dir)[id] != 1 {
		t.Error("what waited is not in the record once")
	}
}

// TestTrim: entries that are sealed and old go; others stay, whatever their age.
func TestTrim(t *testing.T) {
	url, _ := redistest.Start(t)
	dir := filepath.Join(t.TempDir(), "archive")
	j := open(t, url, dir, "n1", func(o *Options) { o.Keep = 0 })
	defer j.Close()
	eventually(t, "sealing", j.Seals)
	for n := range 20 {
		done := make(chan error, 1)
		if err := j.AppendFunc(message(fmt.Sprintf("sip:u%d@example.com", n), "sip:b@example.com", "text"), func(_ archive.Receipt, err error) { done <- err }); err != nil {
			t.Fatal(err)
		}
		<-done
	}
	eventually(t, "trimmed", func() bool {
		n := int64(0)
		for _, s := range j.names.streams {
			k, err := j.o.Client.XLen(t.Context(), s).Result()
			if err != nil {
				t.Fatal(err)
			}
			n += k
		}
		return n <= Shards // the last of each stays
	})
}

// TestForeignEntry: what can't be read is no record, is told, and is not thrown away.
func TestForeignEntry(t *testing.T) {
	url, _ := redistest.Start(t)
	dir := filepath.Join(t.TempDir(), "archive")
	j := open(t, url, dir, "n1")
	eventually(t, "sealing", j.Seals)
	if err := j.o.Client.XAdd(t.Context(), &redis.XAddArgs{Stream: j.names.streams[3], Values: []any{"x", "y"}}).Err(); err != nil {
		t.Fatal(err)
	}
	id := say(t, j, 1)
	eventually(t, "sealed but for one", func() bool {
		n, err := j.Unsealed(t.Context())
		return err == nil && n == 1
	})
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if content(t, dir)[id] != 1 {
		t.Error("the record behind it is not sealed")
	}
}

const nodeEnv = "STREAM_TEST_NODE"

// TestMain is a server of its own, when TestKill starts this program again.
func TestMain(m *testing.M) {
	if spec := os.Getenv(nodeEnv); spec != "" {
		serve(strings.Fields(spec))
	}
	os.Exit(m.Run())
}

// serve writes messages and prints the ID of each when it is durable, until it is killed.
func serve(f []string) {
	o, err := redis.ParseURL(f[0])
	if err != nil {
		panic(err)
	}
	j, err := Open(context.Background(), options(redis.NewClient(o), f[1], f[2]))
	if err != nil {
		panic(err)
	}
	for n := 0; ; n++ {
		r := message(fmt.Sprintf("sip:u%d@example.com", n%50), "sip:bob@example.com", "text "+strconv.Itoa(n))
		done := make(chan error, 1)
		if err := j.AppendFunc(r, func(_ archive.Receipt, err error) { done <- err }); err != nil {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		if <-done == nil {
			fmt.Printf("durable %s %v\n", r.ID, j.Seals())
		}
	}
}

// TestKill: servers that are killed under load, the one that seals among them, lose and
// double nothing; another takes over.
func TestKill(t *testing.T) {
	url, _ := redistest.Start(t)
	dir := filepath.Join(t.TempDir(), "archive")
	var mu sync.Mutex
	durable := map[string]bool{}
	sealed := map[string]bool{} // nodes that sealed
	type node struct {
		cmd  *exec.Cmd
		done chan struct{}
	}
	start := func(name string) node {
		t.Helper()
		c := exec.CommandContext(context.Background(), os.Args[0])
		c.Env = append(os.Environ(), nodeEnv+"="+url+" "+dir+" "+name)
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		n := node{c, make(chan struct{})}
		go func() {
			defer close(n.done)
			var buf [64 << 10]byte
			rest := ""
			for {
				k, err := out.Read(buf[:])
				rest += string(buf[:k])
				for {
					line, more, ok := strings.Cut(rest, "\n")
					if !ok {
						break
					}
					rest = more
					if f := strings.Fields(line); len(f) == 3 && f[0] == "durable" {
						mu.Lock()
						durable[f[1]] = true
						if f[2] == "true" {
							sealed[name] = true
						}
						mu.Unlock()
					}
				}
				if err != nil {
					return
				}
			}
		}()
		return n
	}
	count := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(durable)
	}
	nodes := map[string]node{}
	for round := range 2 {
		a, b := fmt.Sprintf("a%d", round), fmt.Sprintf("b%d", round)
		nodes[a] = start(a)
		before := count()
		eventually(t, "sealing", func() bool { mu.Lock(); defer mu.Unlock(); return sealed[a] })
		nodes[b] = start(b)
		eventually(t, "under load", func() bool { return count() > before+300 })
		for _, n := range []string{a, b} { // the one that seals, and then the one that took over
			if err := nodes[n].cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = nodes[n].cmd.Wait()
			<-nodes[n].done
			if n == a && round%2 == 0 {
				eventually(t, "taken over", func() bool { mu.Lock(); defer mu.Unlock(); return sealed[b] })
			}
		}
	}
	last := open(t, url, dir, "last")
	eventually(t, "sealing", last.Seals)
	sealedAll(t, last)
	if err := last.Close(); err != nil {
		t.Fatal(err)
	}
	found := content(t, dir)
	for id := range durable {
		parsed, err := archive.ParseID(id)
		if err != nil {
			t.Fatal(err)
		}
		if found[parsed] != 1 {
			t.Errorf("record %s stands %d times", id, found[parsed])
		}
	}
	for id, n := range found {
		if n != 1 {
			t.Errorf("record %s stands %d times", id, n)
		}
	}
	t.Logf("%d records, all once", len(found))
}

func FuzzEntry(f *testing.F) {
	f.Add("", "0123456789abcdef", "k")
	f.Fuzz(func(t *testing.T, record, id, key string) {
		c := &ciphers{master: plain}
		if _, err := c.record(&redis.XMessage{Values: map[string]any{fieldRecord: record, fieldKeyID: id, fieldKey: key}}); err == nil && record == "" {
			t.Error("nothing is a record")
		}
	})
}

// TestSpool: while Redis is away records are made durable on the disk here, over a restart
// too, and come into the record later: once each, in their order, whatever Redis took
// without saying so. What does not fit is refused.
func TestSpool(t *testing.T) {
	url, server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	dir, spool := filepath.Join(t.TempDir(), "archive"), filepath.Join(t.TempDir(), "spool")
	with := func(o *Options) { o.Spool, o.SpoolBytes = spool, 64<<10 }
	j := open(t, url, dir, "n1", with)
	eventually(t, "sealing", j.Seals)
	write := func(j *Journal, n int) (archive.ID, error) {
		r := message(fmt.Sprintf("sip:u%d@example.com", n%3), "sip:bob@example.com", fmt.Sprint("text ", n))
		c := make(chan error, 1)
		if err := j.AppendFunc(r, func(_ archive.Receipt, err error) { c <- err }); err != nil {
			return r.ID, err
		}
		return r.ID, <-c
	}
	var ids []archive.ID
	take := func(j *Journal, from, to int) {
		t.Helper()
		for n := from; n < to; n++ {
			id, err := write(j, n)
			if err != nil {
				t.Fatal(n, err)
			}
			ids = append(ids, id)
		}
	}
	take(j, 0, 5)
	server.Stop()
	take(j, 5, 15)
	if s := j.Spooled(); s.Bytes == 0 || time.Since(s.Since) > time.Minute || j.Err() != nil {
		t.Errorf("spooled %+v, %v", s, j.Err())
	}
	server.Restart()
	take(j, 15, 20) // some behind the spool, some not
	eventually(t, "the spool is empty", func() bool { return j.Spooled().Bytes == 0 })
	take(j, 20, 25)
	server.Stop()
	take(j, 25, 35)
	killed := filepath.Join(t.TempDir(), "spool") // as a kill leaves it now
	if err := os.CopyFS(killed, os.DirFS(spool)); err != nil {
		t.Fatal(err)
	}
	after, err := openSpool(killed, "n1", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	left, _, err := after.next(1000)
	if err != nil || len(left) != 10 || after.bytes != j.Spooled().Bytes {
		t.Errorf("%d entries after a kill, %d bytes of %d, %v", len(left), after.bytes, j.Spooled().Bytes, err)
	}
	for i, x := range left {
		if r, err := j.keys.spooled(x); err != nil || r.ID != ids[25+i] {
			t.Errorf("entry %d after a kill: %v", i, err)
		}
	}
	if err := after.close(); err != nil {
		t.Error(err)
	}
	if err := j.Close(); err != nil && !strings.Contains(err.Error(), "refused") && !errors.Is(err, archive.ErrUnavailable) {
		t.Log(err) // it could not give its lease back
	}

	server.Restart()
	j = open(t, url, dir, "n1", with)
	recent := map[archive.ID]int{}
	if err := j.Recent(time.Now().Add(-time.Hour), func(r *archive.Record) error { recent[r.ID]++; return nil }); err != nil {
		t.Fatal(err)
	}
	for i, id := range ids {
		if recent[id] != 1 {
			t.Errorf("record %d stands %d times in what is recent", i, recent[id])
		}
	}
	eventually(t, "the spool is empty", func() bool { return j.Spooled().Bytes == 0 })
	sealedAll(t, j)
	server.Stop()
	for n := 100; ; n++ { // until it is full
		_, err := write(j, n)
		if errors.Is(err, archive.ErrUnavailable) {
			break
		}
		if err != nil || n > 2000 {
			t.Fatal(n, err)
		}
	}
	if j.Err() == nil {
		t.Error("a full spool is no fault")
	}
	server.Restart()
	eventually(t, "the spool is empty", func() bool { return j.Spooled().Bytes == 0 })
	take(j, 35, 36)
	eventually(t, "the spool is empty", func() bool { return j.Spooled().Bytes == 0 }) // the last one may have come behind it
	eventually(t, "sealing", j.Seals)
	sealedAll(t, j)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	found := content(t, dir)
	for i, id := range ids {
		if found[id] != 1 {
			t.Errorf("record %d stands %d times", i, found[id])
		}
	}
	last := map[string]int{}
	err = archive.Folder{Dir: dir}.Scan(func(r *archive.Record, _ archive.Pos) error {
		if r.Type == archive.TypeMessage {
			n, err := strconv.Atoi(strings.TrimPrefix(string(r.Body()), "text "))
			if err != nil || n < last[r.From] && n >= 36 {
				t.Errorf("%s: %q behind %d", r.From, r.Body(), last[r.From])
			}
			if n < 36 && n < last[r.From] && last[r.From] < 100 {
				t.Errorf("%s: %q behind %d", r.From, r.Body(), last[r.From])
			}
			last[r.From] = n
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files, err := os.ReadDir(spool); err != nil || len(files) > 0 {
		t.Errorf("left in the spool: %v %v", files, err)
	}

	// What a process had sent and not noted when it was killed is not sent again.
	entries := func(j *Journal) (n int64) {
		t.Helper()
		for _, name := range j.names.streams {
			length, err := j.o.Client.XLen(t.Context(), name).Result()
			if err != nil {
				t.Fatal(err)
			}
			n += length
		}
		return n
	}
	j = open(t, url, dir, "n1")
	before := entries(j)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = open(t, url, dir, "n1", func(o *Options) { o.Spool, o.SpoolBytes = killed, 64<<10 })
	eventually(t, "the spool is empty", func() bool { return j.Spooled().Bytes == 0 })
	if n := entries(j); n != before {
		t.Errorf("%d entries in the streams, %d before", n, before)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	found = content(t, dir)
	for i, id := range ids {
		if found[id] != 1 {
			t.Errorf("record %d stands %d times", i, found[id])
		}
	}
}
