package im_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"rollcall/archive"
	"rollcall/auth"
	"rollcall/im"
	"rollcall/policy"
	"rollcall/registrar"
	"rollcall/sip"
	"rollcall/sip/digest"
	"rollcall/sip/siptest"
	"rollcall/sip/transaction"
	"rollcall/sip/transport"
	"rollcall/store/embedded"
	"rollcall/store/storetest"
)

// alice is the proof that she sent a message, as an Authenticator gives it.
var alice auth.Identity

func TestMain(m *testing.M) {
	id, err := login("alice@example.com")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	alice = id
	os.Exit(m.Run())
}

func login(name string) (auth.Identity, error) {
	dir, err := os.MkdirTemp("", "im")
	if err != nil {
		return auth.Identity{}, err
	}
	defer os.RemoveAll(dir)
	db, err := embedded.Open(dir, embedded.Options{})
	if err != nil {
		return auth.Identity{}, err
	}
	defer db.Close()
	d, err := auth.NewDirectory(db, []string{"example.com"})
	if err != nil {
		return auth.Identity{}, err
	}
	defer d.Close()
	aor, _ := sip.ParseAORString("sip:" + name)
	ctx := context.Background()
	if err := d.Add(ctx, auth.Account{AOR: aor}, "secret"); err != nil {
		return auth.Identity{}, err
	}
	a, err := auth.New(auth.Options{Directory: d})
	if err != nil {
		return auth.Identity{}, err
	}
	now := time.Now()
	c := digest.Credentials{
		Username: aor.User(), Realm: aor.Domain(), Nonce: string(a.Nonces().Append(nil, now)), URI: "sip:bob@example.com",
		Algorithm: digest.SHA256, CNonce: "c", QOP: "auth", Count: 1, NC: "00000001",
	}
	secrets := digest.NewSecrets(c.Username, c.Realm, "secret")
	c.Response = string(c.AppendResponse(nil, &secrets, "MESSAGE"))
	text := siptest.Text("MESSAGE sip:bob@example.com SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\nFrom: <sip:"+name+
		">;tag=1\nTo: <sip:bob@example.com>\nCall-ID: 1\nCSeq: 1 MESSAGE\nProxy-Authorization: "+string(c.Append(nil)), "")
	m := new(sip.Message)
	if err := m.Parse(text); err != nil {
		return auth.Identity{}, err
	}
	if fault := m.Check(); fault != nil {
		return auth.Identity{}, fault
	}
	return a.Authenticate(ctx, m, auth.Proxy, serverAddr.Addr(), now)
}

// house is a relay with the real parts around it: journal and store in a
// folder, registrar, accounts and transactions. Only the network is a wire in
// memory. It lives in a synctest bubble.
type house struct {
	t          *testing.T
	dir        string
	wire       *wire
	db         *embedded.DB
	store      *storetest.FaultyStore // what the relay and the registrar see
	directory  *auth.Directory
	registrar  *registrar.Registrar
	journal    *journal
	layer      *transaction.Layer
	relay      *im.Relay
	settings   im.Settings
	sender     *phone
	requests   int
	dropRoutes int    // Route values that name this server
	serving    *tasks // what Options.Go runs
	panics     atomic.Int64
}

func settings() im.Settings {
	return im.Settings{
		OfflineLife: time.Hour, OfflineLimit: 100, AnswerAfter: 5 * time.Second,
		Rules: policy.New([]string{"example.com"}, nil),
	}
}

// inHouse runs a test in a bubble with a house whose accounts are alice, bob
// and carol.
func inHouse(t *testing.T, test func(t *testing.T, h *house)) {
	t.Helper()
	dir := scratch(t)
	synctest.Test(t, func(t *testing.T) {
		h := &house{t: t, dir: dir, wire: newWire(), settings: settings()}
		h.open()
		defer func() {
			h.close()
			h.closeStore()
		}()
		for _, user := range []string{"alice", "bob", "carol"} {
			if err := h.directory.Add(t.Context(), auth.Account{AOR: aor(user)}, "secret"); err != nil {
				t.Fatal(err)
			}
		}
		h.sender = h.wire.phone(t, "192.0.2.1:5060")
		h.start()
		test(t, h)
	})
}

func (h *house) open() {
	var err error
	if h.db, err = embedded.Open(filepath.Join(h.dir, "store"), embedded.Options{}); err != nil {
		h.t.Fatal(err)
	}
	h.store = storetest.Faulty(h.db, storetest.Faults{})
	if h.directory, err = auth.NewDirectory(h.db, []string{"example.com"}); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) closeStore() {
	h.directory.Close()
	if err := h.db.Close(); err != nil {
		h.t.Error(err)
	}
}

// start makes what a process makes when it starts.
func (h *house) start() {
	h.t.Helper()
	disk, err := archive.Open(filepath.Join(h.dir, "archive"), archive.Options{Node: "test"})
	if err != nil {
		h.t.Fatal(err)
	}
	if h.journal == nil {
		h.journal = &journal{durable: map[string]int{}}
	}
	h.journal.restart(disk)
	h.registrar = registrar.New(h.store, registrar.Options{Boot: boot, Alive: h.wire.Alive, Outbound: true})
	h.layer = transaction.New(h.wire, transaction.Options{})
	h.wire.mu.Lock()
	h.wire.layer, h.wire.stopped = h.layer, false
	reg := h.registrar
	h.wire.closed = func(f transport.Flow) { _ = reg.FlowClosed(context.Background(), f) }
	h.wire.mu.Unlock()
	h.serving = new(tasks)
	h.relay = im.New(im.Options{
		Journal: h.journal, Store: h.store, Locations: h.registrar, Accounts: h.directory,
		Transport: h.wire, Transactions: h.layer, Key: []byte("0123456789abcdef"), Log: zap.NewNop(),
		Go: h.serving.Go, Panicked: func(*sip.Message, any) { h.panics.Add(1) },
	}, h.settings)
	if err := h.relay.Recover(h.t.Context(), time.Now()); err != nil {
		h.t.Fatal(err)
	}
}

// close ends the process. What runs in it sends nothing from now on.
func (h *house) close() {
	h.t.Helper()
	h.wire.mu.Lock()
	h.wire.stopped, h.wire.layer = true, nil
	clear(h.wire.conns)
	h.wire.mu.Unlock()
	h.relay.Close()
	h.serving.Wait()
	h.layer.Close()
	if err := h.journal.real().Close(); err != nil {
		h.t.Error(err)
	}
}

// tasks run as a server's do: each on a goroutine of its own, and at once when the
// server has ended, as a record may become durable just then.
type tasks struct {
	wg    sync.WaitGroup
	mu    sync.Mutex
	ended bool
}

func (t *tasks) Go(f func()) {
	t.mu.Lock()
	if t.ended {
		t.mu.Unlock()
		f()
		return
	}
	t.wg.Go(f)
	t.mu.Unlock()
}

func (t *tasks) Wait() {
	t.mu.Lock()
	t.ended = true
	t.mu.Unlock()
	t.wg.Wait()
}

// restart ends the process and starts another on what it left behind.
func (h *house) restart() {
	h.t.Helper()
	h.close()
	h.closeStore()
	h.open()
	h.start()
}

// records reads the archive.
func (h *house) records() []*archive.Record {
	h.t.Helper()
	var list []*archive.Record
	err := archive.Folder{Dir: filepath.Join(h.dir, "archive")}.Scan(func(r *archive.Record, _ archive.Pos) error {
		list = append(list, r)
		return nil
	})
	if err != nil {
		h.t.Error(err)
	}
	return list
}

// recordOf returns the one record of a message, which must be there.
func (h *house) recordOf(callID string) *archive.Record {
	h.t.Helper()
	var found *archive.Record
	for _, r := range h.records() {
		if r.Type == archive.TypeMessage && r.CallID == callID {
			if found != nil {
				h.t.Fatalf("two records of %s", callID)
			}
			found = r
		}
	}
	if found == nil {
		h.t.Fatalf("no record of %s", callID)
	}
	return found
}

// outcomesOf returns what became of a message: "stored 202", "delivered 200".
func (h *house) outcomesOf(callID string) []string {
	h.t.Helper()
	id := h.recordOf(callID).ID
	var list []string
	for _, r := range h.records() {
		if r.Cites == id {
			list = append(list, fmt.Sprintf("%s %d", r.Disposition, r.Status))
		}
	}
	return list
}

// wantOutcomes checks them.
func (h *house) wantOutcomes(callID string, want ...string) {
	h.t.Helper()
	if got := h.outcomesOf(callID); strings.Join(got, ", ") != strings.Join(want, ", ") {
		h.t.Errorf("outcomes %q, want %q", got, want)
	}
}

// bind registers a phone; the contact may have parameters.
func (h *house) bind(user string, f transport.Flow, contact string, lines ...string) {
	h.t.Helper()
	if err := h.tryBind(user, f, contact, lines...); err != nil {
		h.t.Fatal(err)
	}
}

var registers atomic.Int64

func (h *house) tryBind(user string, f transport.Flow, contact string, lines ...string) error {
	n := registers.Add(1)
	text := fmt.Sprintf("REGISTER sip:example.com SIP/2.0\nVia: SIP/2.0/%s %s;branch=z9hG4bKr%d\nFrom: <sip:%s@example.com>;tag=r\nTo: <sip:%[4]s@example.com>\n"+
		"Call-ID: reg-%s-%d\nCSeq: %d REGISTER\nContact: %s\n%s", f.Proto, f.Remote, n, user, user, n, n, contact, strings.Join(lines, "\n"))
	m := new(sip.Message)
	if err := m.Parse(siptest.Text(text, "")); err != nil {
		return err
	}
	if fault := m.Check(); fault != nil {
		return fault
	}
	_, change, err := h.registrar.Register(h.t.Context(), m, aor(user), f, time.Now(), nil)
	if err != nil {
		return err
	}
	if change.Present() {
		h.relay.Present(h.t.Context(), aor(user))
	}
	return nil
}

// online makes a phone at addr and binds it over UDP at its own address.
func (h *house) online(user, addr string) *phone {
	h.t.Helper()
	p := h.wire.phone(h.t, addr)
	h.refresh(user, p)
	return p
}

func (h *house) refresh(user string, p *phone) {
	h.t.Helper()
	h.bind(user, p.udp(), fmt.Sprintf("<sip:%s@%s>", user, p.addr))
}

// request is a MESSAGE that the sender has sent.
type request struct {
	h      *house
	text   []byte
	branch string
	callID string
	flow   transport.Flow
}

// send sends a MESSAGE of alice. Lines are further header lines.
func (h *house) send(to, body string, lines ...string) *request {
	h.t.Helper()
	h.requests++
	r := &request{h: h, branch: fmt.Sprintf("z9hG4bKa%d", h.requests), callID: fmt.Sprintf("call-%d", h.requests), flow: h.sender.udp()}
	if !strings.Contains(to, "@") {
		to += "@example.com"
	}
	head := fmt.Sprintf("MESSAGE sip:%s SIP/2.0\nVia: SIP/2.0/UDP %s;rport;branch=%s\nFrom: <sip:alice@example.com>;tag=a\nTo: <sip:%s>\nCall-ID: %s\nCSeq: %d MESSAGE",
		to, h.sender.addr, r.branch, to, r.callID, h.requests)
	if !strings.Contains(strings.Join(lines, "\n"), "Max-Forwards") {
		head += "\nMax-Forwards: 70"
	}
	if !strings.Contains(strings.Join(lines, "\n"), "Content-Type") && !strings.Contains(strings.Join(lines, "\n"), "c: ") {
		head += "\nContent-Type: text/plain"
	}
	for _, l := range lines {
		head += "\n" + l
	}
	r.text = siptest.Text(head, body)
	r.again()
	return r
}

// again brings the request to the server, as its sender's Timer E does.
func (r *request) again() {
	h := r.h
	h.t.Helper()
	m := new(sip.Message)
	if err := m.Parse(append([]byte(nil), r.text...)); err != nil {
		h.t.Fatal(err)
	}
	if fault := m.Check(); fault != nil {
		h.t.Fatalf("%v\n%s", fault, r.text)
	}
	layer, relay := h.layer, h.relay
	key := layer.KeyOf(m)
	if layer.Absorb(key, r.flow) {
		return
	}
	admission, fault := relay.Admit(m, h.dropRoutes)
	if fault != nil {
		layer.Finish(key, r.flow, m.AppendReply(nil, r.flow.Remote, &sip.Reply{Status: fault.Status, Fields: fault.Headers, ToTag: "x"}))
		return
	}
	tx, fault := layer.Begin(key, m, r.flow, r.flow, time.Now())
	if fault != nil {
		h.t.Fatal(fault)
	}
	if tx == nil {
		return
	}
	if past, ok := relay.Past(m); ok {
		relay.ServePast(tx, past, admission)
		return
	}
	relay.ServeSIP(tx, alice, admission)
}

// answer returns the final answer that has come so far, or nil.
func (r *request) answer() *sip.Message {
	p := r.h.sender
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.final[r.branch] {
		if m.Status() >= 200 {
			return m
		}
	}
	return nil
}

// want waits for the answer and checks its status.
func (r *request) want(status int) *sip.Message {
	r.h.t.Helper()
	for range 400 {
		if m := r.answer(); m != nil {
			if m.Status() != status {
				r.h.t.Fatalf("answered %d %s, want %d", m.Status(), m.Reason(), status)
			}
			return m
		}
		time.Sleep(100 * time.Millisecond)
	}
	r.h.t.Fatalf("no answer, want %d", status)
	return nil
}

// waiting checks how many messages wait for an account.
func (h *house) waiting(user string, want int) {
	h.t.Helper()
	n, err := h.relay.Waiting(h.t.Context(), aor(user))
	if err != nil || n != want {
		h.t.Fatalf("%d messages wait for %s (%v), want %d", n, user, err, want)
	}
}

// settle lets everything go on that needs no more than d.
func settle(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func aor(user string) sip.AOR {
	a, err := sip.ParseAORString("sip:" + user + "@example.com")
	if err != nil {
		panic(err)
	}
	return a
}

// journal is a real journal whose disk may be slow, refuse, or be lost: then
// what is noted is gone too, as with a process that was killed.
type journal struct {
	mu      sync.Mutex
	j       *archive.Journal
	delay   time.Duration
	fails   bool
	lost    bool
	durable map[string]int // Call-ID of messages whose Append returned
}

func (j *journal) restart(disk *archive.Journal) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.j, j.delay, j.fails, j.lost = disk, 0, false, false
}

func (j *journal) set(delay time.Duration, fails, lost bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.delay, j.fails, j.lost = delay, fails, j.lost || lost
}

func (j *journal) real() *archive.Journal {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.j
}

func (j *journal) isDurable(callID string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.durable[callID] > 0
}

var errDisk = fmt.Errorf("%w: the disk is gone", archive.ErrUnavailable)

// AppendFunc implements im.Journal.
func (j *journal) AppendFunc(r *archive.Record, done func(archive.Receipt, error)) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case j.fails && j.delay == 0:
		return errDisk
	case j.delay == 0 && !j.lost:
		return j.append(j.j, r, done)
	}
	disk, fails, lost := j.j, j.fails, j.lost
	kept := *r // the caller uses its record again
	r = &kept
	time.AfterFunc(j.delay+time.Millisecond, func() {
		j.mu.Lock()
		err := errDisk
		switch {
		case j.j != disk: // nobody lives to hear of it
			j.mu.Unlock()
			return
		case !fails && !lost && !j.lost:
			err = j.append(disk, r, done)
		}
		j.mu.Unlock()
		if err != nil {
			done(archive.Receipt{}, err)
		}
	})
	return nil
}

// append hands a record to the real journal and keeps in mind that it is
// durable before the relay hears of it.
func (j *journal) append(disk *archive.Journal, r *archive.Record, done func(archive.Receipt, error)) error {
	callID := strings.Clone(r.CallID)
	return disk.AppendFunc(r, func(receipt archive.Receipt, err error) {
		j.mu.Lock()
		lost := j.lost || j.j != disk
		if err == nil && !lost {
			j.durable[callID]++
		}
		j.mu.Unlock()
		if err == nil && lost { // it is durable, and nobody heard of it
			receipt, err = archive.Receipt{}, errDisk
		}
		done(receipt, err)
	})
}

// Note implements im.Journal.
func (j *journal) Note(r *archive.Record) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case j.lost:
		return nil
	case j.fails:
		return errDisk
	}
	return j.j.Note(r)
}

// Recent implements im.Journal.
func (j *journal) Recent(since time.Time, f func(*archive.Record) error) error {
	return j.real().Recent(since, f)
}

// Recall implements im.Journal.
func (j *journal) Recall(id archive.ID, seq uint64) archive.Receipt { return j.real().Recall(id, seq) }

// scratch is a folder of the test's own, in memory where there is such a file
// system: these tests are about order, not about a disk.
func scratch(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "im")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
