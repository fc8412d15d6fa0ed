package witness

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"rollcall/archive"
)

const origin = "example.com/rollcall/n1"

// keys are those of an archive: whoever has them can sign another one.
type keys struct {
	signer note.Signer
	key    string
}

func newKeys(t *testing.T) keys {
	t.Helper()
	secret, key, err := note.GenerateKey(nil, origin)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(secret)
	if err != nil {
		t.Fatal(err)
	}
	return keys{signer, key}
}

// journal is a signed archive.
func journal(t *testing.T, records int) (*archive.Journal, archive.Folder) {
	t.Helper()
	return newKeys(t).journal(t, records)
}

func (k keys) journal(t *testing.T, records int) (*archive.Journal, archive.Folder) {
	t.Helper()
	dir := t.TempDir()
	j, err := archive.Open(dir, archive.Options{Node: "n1", Origin: origin, Signers: func() []note.Signer { return []note.Signer{k.signer} }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	if _, err := j.Append(t.Context(), &archive.Record{Type: archive.TypeAct, Received: time.Now(), Actor: "x", Action: archive.ActKey, Object: k.key}); err != nil {
		t.Fatal(err)
	}
	say(t, j, records-1)
	return j, archive.Folder{Dir: dir}
}

func say(t *testing.T, j *archive.Journal, n int) {
	t.Helper()
	for range n {
		if _, err := j.Append(t.Context(), &archive.Record{Type: archive.TypeAct, Received: time.Now(), Actor: "x", Action: "y"}); err != nil {
			t.Fatal(err)
		}
	}
}

// signed waits for a checkpoint over at least so many records.
func signed(t *testing.T, j *archive.Journal, size int64) []byte {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if b := j.NewestCheckpoint(); b != nil {
			if cp, err := archive.ParseCheckpoint(b); err == nil && cp.Size >= size {
				return b
			}
		}
	}
	t.Fatal("no checkpoint")
	return nil
}

func run(t *testing.T, w *Witness) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { w.Run(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
}

func await(t *testing.T, w *Witness, size int64) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		state, _ := w.State()
		if state.Size >= size {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("witness has %+v, want %d", state, size)
		}
	}
}

// TestFile: what a file has seen can't be rewritten unseen.
func TestFile(t *testing.T) {
	k := newKeys(t)
	j, folder := k.journal(t, 10)
	path := filepath.Join(t.TempDir(), "checkpoints")
	place, err := Open("file:"+path, "", folder)
	if err != nil {
		t.Fatal(err)
	}
	w := New(place, time.Millisecond, State{}, nil)
	run(t, w)
	w.Offer(signed(t, j, 10))
	await(t, w, 10)
	say(t, j, 5)
	w.Offer(signed(t, j, 15))
	await(t, w, 15)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	seen, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if list, torn := archive.SplitCheckpoints(seen); len(list) != 2 || len(torn) > 0 {
		t.Fatalf("%d checkpoints in\n%s", len(list), seen)
	}
	if rep, err := folder.VerifyWith(archive.VerifyOptions{Checkpoint: seen}); err != nil || !rep.OK || rep.CheckpointTorn != 0 {
		t.Fatal(err, rep.Err())
	}
	// What can't be compared is told, and nothing at all is an error.
	if rep, err := folder.VerifyWith(archive.VerifyOptions{Checkpoint: seen[:len(seen)-10]}); err != nil || !rep.OK || rep.CheckpointTorn == 0 {
		t.Errorf("a torn one: %+v %v", rep, err)
	}
	for _, none := range [][]byte{[]byte("nothing"), seen[:100]} {
		if _, err := folder.VerifyWith(archive.VerifyOptions{Checkpoint: none}); err == nil {
			t.Errorf("%q is taken for a checkpoint", none)
		}
	}
	// Who has the keys can write another record that is whole in itself.
	forged, other := k.journal(t, 20)
	signed(t, forged, 20)
	if err := forged.Close(); err != nil {
		t.Fatal(err)
	}
	if rep, err := other.VerifyWith(archive.VerifyOptions{}); err != nil || !rep.OK {
		t.Fatal(err, rep.Err())
	}
	if rep, err := other.VerifyWith(archive.VerifyOptions{Checkpoint: seen}); err != nil || rep.FaultCount != 2 || !strings.Contains(rep.Faults[0].Reason, "rewritten") {
		t.Errorf("another archive agrees with the witness: %v %+v", err, rep)
	}
	if err := SaveStates(filepath.Dir(path), []State{{Name: "a", Size: 3}}); err != nil || States(filepath.Dir(path))[0].Size != 3 {
		t.Error("state is not kept", err)
	}
}

// TestCutOff: what was cut off while a file was written is named, and takes nothing else along.
func TestCutOff(t *testing.T) {
	j, folder := journal(t, 3)
	first := signed(t, j, 3)
	say(t, j, 2)
	second := signed(t, j, 5)
	path := filepath.Join(t.TempDir(), "checkpoints")
	place, err := Open("file:"+path, "", folder)
	if err != nil {
		t.Fatal(err)
	}
	for cut := 0; cut < len(first)+2; cut++ {
		if cut > 4 && cut < len(first)-110 && cut%9 > 0 { // before the signature one place is as good as another
			continue
		}
		if err := os.WriteFile(path, append(bytes.Clone(first), '\n')[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := place.Take(t.Context(), second); err != nil {
			t.Fatal(err)
		}
		seen, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		list, torn := archive.SplitCheckpoints(seen)
		whole := cut >= len(first)-1 // but for line ends
		if len(list) != 1 && !whole || whole && len(list) != 2 || !bytes.Equal(list[len(list)-1], second) || (len(torn) > 0) != (cut > 0 && !whole) {
			t.Errorf("%d of %d bytes: %d checkpoints, torn %q in\n%s", cut, len(first), len(list), torn, seen)
		}
		rest, torn := archive.SplitCheckpoints(append(bytes.Clone(second), append([]byte{'\n'}, first[:cut%len(first)]...)...))
		if len(rest) < 1 || !bytes.Equal(rest[0], second) || cut%len(first) > 0 && len(torn) == 0 {
			t.Errorf("%d bytes at the end: %d checkpoints, torn %q", cut, len(rest), torn)
		}
	}
}

// TestShorter: an archive with fewer records than a witness has seen is told, again and again, and not shown.
func TestShorter(t *testing.T) {
	j, folder := journal(t, 10)
	path := filepath.Join(t.TempDir(), "checkpoints")
	place, err := Open("file:"+path, "", folder)
	if err != nil {
		t.Fatal(err)
	}
	w := New(place, time.Millisecond, State{Size: 11}, nil)
	run(t, w)
	w.Offer(signed(t, j, 10))
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if state, fails := w.State(); fails > 0 && strings.Contains(state.Err, "seen 11 records and the archive has 10") && state.Size == 11 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("nothing is told")
		}
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("it was shown: %v", err)
	}
}

// cosigning is a witness as C2SP tlog-witness has it.
type cosigning struct {
	t    *testing.T
	key  ed25519.PrivateKey
	name string

	mu   sync.Mutex
	size int64
	root tlog.Hash
	fail bool
}

func (c *cosigning) hash() uint32 { return 0x01020304 }

func (c *cosigning) verifier() string {
	public := append([]byte{algCosignature}, c.key.Public().(ed25519.PublicKey)...)
	return fmt.Sprintf("%s+%08x+%s", c.name, c.hash(), base64.StdEncoding.EncodeToString(public))
}

func (c *cosigning) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		c.t.Error(err)
	}
	head, signed, _ := bytes.Cut(body, []byte("\n\n"))
	lines := strings.Split(string(head), "\n")
	old, _ := strconv.ParseInt(strings.TrimPrefix(lines[0], "old "), 10, 64)
	cp, err := archive.ParseCheckpoint(signed)
	if err != nil || c.fail {
		http.Error(w, "no", http.StatusServiceUnavailable)
		return
	}
	if old != c.size {
		w.WriteHeader(http.StatusConflict)
		fmt.Fprintln(w, c.size)
		return
	}
	var proof tlog.TreeProof
	for _, line := range lines[1:] {
		h, err := tlog.ParseHash(line)
		if err != nil {
			c.t.Errorf("proof line %q", line)
		}
		proof = append(proof, h)
	}
	if old > 0 && old < cp.Size {
		if err := tlog.CheckTree(proof, cp.Size, cp.Root, old, c.root); err != nil {
			http.Error(w, err.Error(), http.StatusUnprocessableEntity)
			return
		}
	}
	c.size, c.root = cp.Size, cp.Root
	text, _, _ := bytes.Cut(signed, []byte("\n\n"))
	at := uint64(time.Now().Unix())
	sig := ed25519.Sign(c.key, fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s\n", at, text))
	b := binary.BigEndian.AppendUint32(nil, c.hash())
	b = append(binary.BigEndian.AppendUint64(b, at), sig...)
	fmt.Fprintf(w, "— %s %s\n", c.name, base64.StdEncoding.EncodeToString(b))
}

// TestCosigning: a witness that signs is told how the tree grew; what it signs is kept.
func TestCosigning(t *testing.T) {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	c := &cosigning{t: t, key: key, name: "witness.example.com/w", fail: true}
	srv := httptest.NewServer(c)
	defer srv.Close()
	k := newKeys(t)
	j, folder := k.journal(t, 300)
	place, err := Open(srv.URL+"/add-checkpoint", c.verifier(), folder)
	if err != nil {
		t.Fatal(err)
	}
	kept := make(chan []byte, 10)
	w := New(place, time.Millisecond, State{}, func(_, cosigned []byte) error { kept <- cosigned; return nil })
	run(t, w)
	w.Offer(signed(t, j, 300))
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		if state, fails := w.State(); fails > 0 && state.Err != "" {
			break
		}
		if time.Now().After(end) {
			t.Fatal("a refusal is not told")
		}
	}
	c.mu.Lock()
	c.fail = false
	c.mu.Unlock()
	await(t, w, 300)
	say(t, j, 700)
	w.Offer(signed(t, j, 1000))
	await(t, w, 1000)
	v, err := newCosigner(c.verifier())
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if n, err := note.Open(<-kept, note.VerifierList(v)); err != nil || len(n.Sigs) != 1 {
			t.Errorf("kept: %v", err)
		}
	}
	// After a restart it does not know what the witness has, and learns it.
	again, err := Open(srv.URL+"/add-checkpoint", c.verifier(), folder)
	if err != nil {
		t.Fatal(err)
	}
	say(t, j, 1)
	if _, err := again.Take(t.Context(), signed(t, j, 1001)); err != nil {
		t.Error(err)
	}
	// Another archive under the same keys does not pass.
	j2, folder2 := k.journal(t, 1500)
	forged, err := Open(srv.URL+"/add-checkpoint", c.verifier(), folder2)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := forged.Take(t.Context(), signed(t, j2, 1500)); err == nil {
		t.Error("a rewritten archive was signed")
	}
}

// TestSyslog: RFC 5424 over UDP, TCP and a socket of this machine.
func TestSyslog(t *testing.T) {
	j, folder := journal(t, 3)
	cp := signed(t, j, 3)
	local := filepath.Join(t.TempDir(), "log")
	for network, address := range map[string]string{"udp": "127.0.0.1:0", "tcp": "127.0.0.1:0", "unixgram": local} {
		got := make(chan string, 1)
		var url string
		if network == "tcp" {
			l, err := net.Listen(network, address)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			url = "syslog+tcp://" + l.Addr().String()
			go func() {
				if c, err := l.Accept(); err == nil {
					b, _ := io.ReadAll(c)
					_, text, _ := strings.Cut(string(b), " ")
					got <- text
				}
			}()
		} else {
			c, err := net.ListenPacket(network, address)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if url = "syslog://" + c.LocalAddr().String(); network == "unixgram" {
				url = "syslog:" + local
			}
			go func() {
				b := make([]byte, 8192)
				n, _, _ := c.ReadFrom(b)
				got <- string(b[:n])
			}()
		}
		place, err := Open(url, "", folder)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := place.Take(t.Context(), cp); err != nil {
			t.Fatal(err)
		}
		select {
		case m := <-got:
			f := strings.Fields(m)
			b, err := base64.StdEncoding.DecodeString(f[len(f)-1])
			if err != nil || !bytes.Equal(b, cp) || f[0] != "<109>1" || f[3] != "rollcall" || f[5] != "checkpoint" {
				t.Errorf("%s: %q, %v", network, m, err)
			}
		case <-time.After(20 * time.Second):
			t.Errorf("%s: nothing came", network)
		}
	}
}

func TestPlaces(t *testing.T) {
	for _, bad := range []string{"", "ftp://x", "file:relative", "syslog://host", "syslog:relative", "https:///x", "https://x\x00"} {
		if _, err := Open(bad, "", archive.Folder{}); err == nil {
			t.Errorf("%q is a place", bad)
		}
	}
	if _, err := Open("https://x/", "nonsense", archive.Folder{}); err == nil {
		t.Error("nonsense is a key")
	}
	if _, err := Open("file:/x", "k+1+x", archive.Folder{}); err == nil {
		t.Error("a file has a key")
	}
}
