package embedded_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"rollcall/store"
	"rollcall/store/embedded"
	"rollcall/store/storetest"
)

const childDir = "ROLLCALL_TEST_STORE_DIR"

// TestMain runs the test binary as a server that writes until it is killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		child(dir)
		return
	}
	os.Exit(m.Run())
}

// child applies without end, from several goroutines, and prints what it was
// told is done: kind, owner, number, milliseconds.
func child(dir string) {
	db, err := embedded.Open(dir, embedded.Options{})
	if err != nil {
		fmt.Println("open:", err)
		os.Exit(1)
	}
	var mu sync.Mutex
	for i, kind := range append(storetest.Kinds(), storetest.HotDurable, storetest.ColdDurable) {
		go func() {
			k := store.Key{Kind: kind, Owner: fmt.Sprint("owner", i)}
			for n := 1; ; n++ {
				value := store.Item{ID: "n", Value: []byte(strconv.Itoa(n))}
				if _, err := db.Apply(ctx, k, store.Any, store.Put(value), store.Put(store.Item{ID: strconv.Itoa(n % 50), Value: make([]byte, 500)})); err != nil {
					fmt.Println("apply:", err)
					os.Exit(1)
				}
				mu.Lock()
				fmt.Println(kind, k.Owner, n, time.Now().UnixMilli())
				mu.Unlock()
				if kind == storetest.HotSoft {
					time.Sleep(time.Millisecond)
				}
			}
		}()
	}
	select {}
}

func TestKill(t *testing.T) {
	dir := t.TempDir()
	for round := range 3 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childDir+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		type ack struct{ n, at int }
		acks := make(map[store.Key][]ack)
		kinds := make(map[string]*store.Kind)
		for _, kind := range storetest.Kinds() {
			kinds[kind.Name()] = kind
		}
		kill := time.AfterFunc(1700*time.Millisecond+time.Duration(round)*170*time.Millisecond, func() { _ = cmd.Process.Kill() })
		last := 0
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var kind, owner string
			var a ack
			if n, _ := fmt.Sscan(lines.Text(), &kind, &owner, &a.n, &a.at); n != 4 || kinds[kind] == nil {
				if strings.Contains(lines.Text(), ":") {
					t.Fatal(lines.Text())
				}
				continue // the last line, cut off
			}
			k := store.Key{Kind: kinds[kind], Owner: owner}
			acks[k] = append(acks[k], a)
			last = max(last, a.at)
		}
		kill.Stop()
		_ = cmd.Wait() // it was killed
		if len(acks) != 6 {
			t.Fatalf("%d owners were written to, want 6", len(acks))
		}
		db := open(t, dir, embedded.Options{})
		for k, list := range acks {
			// What must be there: all of a durable kind; of a soft one what was done a
			// second, the time of the flush itself and a busy machine's delay before.
			need := 0
			for _, a := range list {
				if k.Kind.Life() == store.Durable || a.at < last-1500 {
					need = a.n
				}
			}
			set, err := db.Load(ctx, k)
			if err != nil {
				t.Fatal(err)
			}
			got := 0
			if item, ok := set.Get("n"); ok {
				got, _ = strconv.Atoi(string(item.Value))
			}
			if got < need {
				t.Errorf("round %d: %s has %d, %d was applied", round, k, got, need)
			}
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		dir = t.TempDir()
	}
}

func TestOneProcess(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir, embedded.Options{})
	_, err := embedded.Open(dir, embedded.Options{})
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%s is in use by process %d", dir, os.Getpid())) {
		t.Errorf("second open: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := open(t, dir, embedded.Options{}).Close(); err != nil {
		t.Fatal(err)
	}
}

// damaged writes a store, leaves it as after a power loss, and lets spoil have
// one of its files.
func damaged(t *testing.T, spoil func(path string) error, file string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	db := open(t, dir, embedded.Options{FlushInterval: time.Hour})
	for n := range 2000 {
		for _, kind := range storetest.Kinds() {
			if kind.Life() == store.Durable && n >= 20 {
				continue
			}
			if _, err := db.Apply(ctx, store.Key{Kind: kind, Owner: owner(n)}, 0, binding(n)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"soft.db", "durable.db"} {
		b, err := bbolt.Open(filepath.Join(dir, name), 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		err = b.Update(func(tx *bbolt.Tx) error {
			head := tx.Bucket([]byte("rollcall"))
			return errors.Join(head.Put([]byte("clean"), make([]byte, 8)), head.Put([]byte("boot"), []byte("another boot")))
		})
		if err = errors.Join(err, b.Close()); err != nil {
			t.Fatal(err)
		}
	}
	if err := spoil(filepath.Join(dir, file)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func overwrite(from int64, what []byte) func(string) error {
	return func(path string) error {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		_, err = f.WriteAt(what, from)
		return errors.Join(err, f.Close())
	}
}

func TestTornSoftImage(t *testing.T) {
	page := os.Getpagesize()
	noise := make([]byte, 40*page)
	for i := range noise {
		noise[i] = byte(i * 7)
	}
	const (
		whole = iota // nothing is lost
		cut          // the end is lost, which is no fault after a crash
		empty        // all is lost, as if the file were new
		aside        // all is lost and the file put aside
	)
	for name, c := range map[string]struct {
		spoil   func(string) error
		log, db int
	}{
		"power loss, all written": {func(string) error { return nil }, whole, whole},
		"empty":                   {func(p string) error { return os.Truncate(p, 0) }, empty, empty},
		"cut off":                 {func(p string) error { return os.Truncate(p, int64(20*page)) }, cut, aside},
		"cut to the first page":   {func(p string) error { return os.Truncate(p, int64(page)) }, cut, aside},
		"first pages":             {overwrite(0, noise[:2*page]), aside, aside},
		"pages in the middle":     {overwrite(int64(30*page), noise), aside, aside},
		"zeroes in the middle":    {overwrite(int64(30*page), make([]byte, 40*page)), aside, aside},
		"another file":            {func(p string) error { return os.WriteFile(p, noise, 0o600) }, aside, aside},
		"one byte":                {flipByte, aside, aside},
	} {
		for file, fate := range map[string]int{"soft.log": c.log, "soft.db": c.db} {
			t.Run(file+", "+name, func(t *testing.T) {
				dir := damaged(t, c.spoil, file)
				core, logs := observer.New(zap.ErrorLevel)
				db := open(t, dir, embedded.Options{Logger: zap.New(core)})
				if (fate == aside) != (logs.Len() == 1) {
					t.Errorf("%d error lines are logged", logs.Len())
				}
				spoiled := storetest.HotSoft
				if file == "soft.db" {
					spoiled = storetest.ColdSoft
				}
				for _, kind := range storetest.Kinds() {
					found := 0
					for n := range 20 {
						set, err := db.Load(ctx, store.Key{Kind: kind, Owner: owner(n)})
						if err != nil {
							t.Errorf("load of %s: %v", kind, err)
						}
						found += len(set.Items)
					}
					switch {
					case kind == spoiled && fate == cut:
					case kind == spoiled && fate != whole:
						if found != 0 {
							t.Errorf("%s has %d items", kind, found)
						}
					case found != 20:
						t.Errorf("%s has %d items, want 20", kind, found)
					}
					if _, err := db.Apply(ctx, store.Key{Kind: kind, Owner: "new"}, 0, binding(1)); err != nil {
						t.Errorf("apply to %s: %v", kind, err)
					}
				}
				if err := db.Close(); err != nil {
					t.Fatal(err)
				}
				if _, err := os.Stat(filepath.Join(dir, file+".broken")); (fate == aside) != (err == nil) {
					t.Errorf("the image that was put aside: %v", err)
				}
				db = open(t, dir, embedded.Options{})
				if set, err := db.Load(ctx, store.Key{Kind: spoiled, Owner: "new"}); err != nil || len(set.Items) != 1 {
					t.Errorf("what was written after the damage: %v, %v", set, err)
				}
				if err := db.Close(); err != nil {
					t.Fatal(err)
				}
			})
		}
	}
}

// TestTornFlush proves that a flush that was torn takes nothing else along.
func TestTornFlush(t *testing.T) {
	dir := t.TempDir()
	k := store.Key{Kind: storetest.HotSoft, Owner: "alice"}
	put := func(id string) {
		db := open(t, dir, embedded.Options{})
		if _, err := db.Apply(ctx, k, store.Any, store.Put(store.Item{ID: id})); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	log := filepath.Join(dir, "soft.log")
	put("a")
	before, err := os.Stat(log)
	if err != nil {
		t.Fatal(err)
	}
	put("b")
	after, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	for size := before.Size(); size < int64(len(after)); size++ {
		if err := os.WriteFile(log, after[:size], 0o600); err != nil {
			t.Fatal(err)
		}
		core, logs := observer.New(zap.ErrorLevel)
		db := open(t, dir, embedded.Options{Logger: zap.New(core)})
		set, err := db.Load(ctx, k)
		if _, ok := set.Get("a"); !ok || err != nil || logs.Len() != 0 {
			t.Fatalf("cut at %d: %v, %v, %d error lines", size, set, err, logs.Len())
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRewrite proves that the soft image does not grow without end, and keeps
// what belongs to kinds that this process does not know.
func TestRewrite(t *testing.T) {
	dir := t.TempDir()
	if err := open(t, dir, embedded.Options{}).Close(); err != nil {
		t.Fatal(err)
	}
	if err := embedded.AppendForeign(dir, "test-foreign", "alice", store.Item{ID: "a", Value: []byte("1")}); err != nil {
		t.Fatal(err)
	}
	db := open(t, dir, embedded.Options{FlushInterval: 5 * time.Millisecond})
	value := make([]byte, 20000)
	var last store.Version
	flushed := int64(0)
	for flushed < 60<<20 { // bytes that were put; some are written once for several
		for n := range 100 {
			v, err := db.Apply(ctx, store.Key{Kind: storetest.HotSoft, Owner: owner(n)}, store.Any, store.Put(store.Item{Value: value}))
			if err != nil {
				t.Fatal(err)
			}
			if n == 7 {
				last = v
			}
			flushed += int64(len(value))
		}
		time.Sleep(10 * time.Millisecond)
	}
	for n := 50; n < 100; n++ {
		if _, err := db.Apply(ctx, store.Key{Kind: storetest.HotSoft, Owner: owner(n)}, store.Any, store.Clear()); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(dir, "soft.log")); err != nil || info.Size() > 30<<20 {
		t.Errorf("the image has %d bytes, %v", info.Size(), err)
	}
	db = open(t, dir, embedded.Options{})
	defer db.Close()
	if n := embedded.Owners(db, storetest.HotSoft); n != 50 {
		t.Errorf("%d owners, want 50", n)
	}
	if set, err := db.Load(ctx, store.Key{Kind: storetest.HotSoft, Owner: owner(7)}); err != nil || set.Version != last {
		t.Errorf("version %d, %v; want %d", set.Version, err, last)
	}
	foreign := store.NewKind("test-foreign", store.Soft, store.Hot)
	if set, err := db.Load(ctx, store.Key{Kind: foreign, Owner: "alice"}); err != nil || len(set.Items) != 1 {
		t.Errorf("what belongs to another kind: %v, %v", set, err)
	}
}

// flipByte changes one byte of each value, in old pages too: which are in use is
// the file's affair.
func flipByte(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	for at := 0; ; {
		next := bytes.Index(b[at:], []byte("A95A0E128>"))
		if next < 0 {
			return os.WriteFile(path, b, 0o600)
		}
		at += next + 100
		b[at] ^= 1
	}
}

func TestDamagedDurableImage(t *testing.T) {
	for name, spoil := range map[string]func(string) error{
		"one byte": flipByte,
		"cut off":  func(p string) error { return os.Truncate(p, int64(3*os.Getpagesize())) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := damaged(t, spoil, "durable.db")
			for range 2 {
				if _, err := embedded.Open(dir, embedded.Options{}); err == nil || !strings.Contains(err.Error(), "durable.db") {
					t.Errorf("open: %v; want an error that names the file", err)
				}
			}
		})
	}
}

func TestFullDisk(t *testing.T) {
	db := open(t, t.TempDir(), embedded.Options{FlushInterval: 10 * time.Millisecond})
	defer db.Close()
	big := store.Put(store.Item{ID: "big", Value: make([]byte, 15<<20)})
	small := store.Put(store.Item{ID: "small", Value: []byte("1")})
	before := make(map[*store.Kind]store.Set)
	for _, kind := range storetest.Kinds() {
		k := store.Key{Kind: kind, Owner: "alice"}
		if _, err := db.Apply(ctx, k, 0, small); err != nil {
			t.Fatal(err)
		}
		before[kind], _ = db.Load(ctx, k)
	}
	empty := embedded.FillDisk(db)
	for _, kind := range storetest.Kinds() {
		k := store.Key{Kind: kind, Owner: "alice"}
		_, err := db.Apply(ctx, k, before[kind].Version, big)
		if kind == storetest.HotSoft {
			if err != nil {
				t.Errorf("soft state in memory needs no disk: %v", err)
			}
			continue
		}
		if !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("apply to %s: %v, want unavailable", kind, err)
		}
		if set, err := db.Load(ctx, k); err != nil || set.Version != before[kind].Version || len(set.Items) != 1 {
			t.Errorf("%s after a write that failed: %v, %v", kind, set.Version, err)
		}
	}
	wait(t, "the flush fails", func() bool {
		err := db.Ping(ctx)
		return errors.Is(err, store.ErrUnavailable) && strings.Contains(err.Error(), "soft")
	})
	empty()
	wait(t, "recovery", func() bool { return db.Ping(ctx) == nil })
	for _, kind := range storetest.Kinds() {
		if _, err := db.Apply(ctx, store.Key{Kind: kind, Owner: "alice"}, store.Any, big); err != nil {
			t.Errorf("apply to %s: %v", kind, err)
		}
	}
}

func wait(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s did not come about", what)
		}
	}
}

func TestSweep(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir, embedded.Options{SweepInterval: 20 * time.Millisecond, FlushInterval: 20 * time.Millisecond})
	for _, kind := range storetest.Kinds() {
		for n := range 300 {
			soon := store.Put(store.Item{ID: "soon", Value: []byte("1"), Expires: time.Now().Add(100 * time.Millisecond)})
			changes := []store.Change{soon}
			if n%3 == 0 {
				changes = append(changes, store.Put(store.Item{ID: "stays", Value: []byte("2")}))
			}
			k := store.Key{Kind: kind, Owner: owner(n)}
			if _, err := db.Apply(ctx, k, 0, changes...); err != nil && kind.Life() != store.Durable {
				t.Fatal(err)
			}
			if kind.Life() == store.Durable && n == 30 {
				break
			}
		}
	}
	for _, kind := range []*store.Kind{storetest.HotSoft, storetest.HotDurable} {
		left := map[*store.Kind]int{storetest.HotSoft: 100, storetest.HotDurable: 11}[kind]
		wait(t, "the sweep of memory", func() bool { return embedded.Owners(db, kind) == left })
	}
	// The images follow. What is in them is seen with the file alone.
	wait(t, "the sweep of the images", func() bool {
		copied := copyDir(t, dir)
		image := open(t, copied, embedded.Options{})
		owners := embedded.Owners(image, storetest.HotSoft)
		if err := image.Close(); err != nil {
			t.Fatal(err)
		}
		return owners == 100 &&
			stored(copied, "soft.db", "meta:test-cold-soft") == 100 &&
			stored(copied, "soft.db", "value:test-cold-soft") == 100 &&
			stored(copied, "durable.db", "hot:test-hot-durable") == 11 &&
			stored(copied, "durable.db", "value:test-cold-durable") == 11
	})
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// stored counts the keys in a bucket, -1 if the copy was taken in the midst of a
// write.
func stored(dir, file, bucket string) (n int) {
	defer func() {
		if recover() != nil {
			n = -1
		}
	}()
	b, err := bbolt.Open(filepath.Join(dir, file), 0o600, &bbolt.Options{ReadOnly: true, Timeout: time.Second})
	if err != nil {
		return -1
	}
	defer b.Close()
	_ = b.View(func(tx *bbolt.Tx) error {
		if b := tx.Bucket([]byte(bucket)); b != nil {
			n = b.Stats().KeyN
		}
		return nil
	})
	return n
}

// TestLateKind proves that a kind declared after Open finds what it has.
func TestLateKind(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir, embedded.Options{})
	k := store.Key{Kind: store.NewKind("test-late", store.Soft, store.Hot), Owner: "alice"}
	v, err := db.Apply(ctx, k, 0, binding(1))
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = open(t, dir, embedded.Options{})
	defer db.Close()
	if set, err := db.Load(ctx, k); err != nil || set.Version != v {
		t.Errorf("load: version %d, %v; want %d", set.Version, err, v)
	}
}

// TestMappedPages proves that the image does not count as memory of the process
// for long.
func TestMappedPages(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Log("only Linux says how much of a process is mapped files")
		return
	}
	db := open(t, t.TempDir(), embedded.Options{FlushInterval: 20 * time.Millisecond})
	defer db.Close()
	before := fileKB(t)
	for round := range 2 {
		for n := range 50_000 {
			if _, err := db.Apply(ctx, store.Key{Kind: storetest.HotSoft, Owner: owner(n)}, store.Any, binding(round)); err != nil {
				t.Fatal(err)
			}
		}
	}
	wait(t, "giving back", func() bool { return fileKB(t) < before+4<<10 })
}

// fileKB is the resident memory of this process that is files, in KiB.
func fileKB(t *testing.T) (kb int) {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if n, _ := fmt.Sscanf(line, "RssFile: %d", &kb); n == 1 {
			return kb
		}
	}
	t.Fatal("the system does not say")
	return 0
}
