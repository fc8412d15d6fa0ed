package stream

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"rollcall/archive"
)

// Options are what a Journal works with.
type Options struct {
	Client redis.UniversalClient
	Prefix string // of keys in Redis
	Node   string
	Master Master
	// Replicas that must have a record before it counts as durable.
	Replicas int
	// Keep is how long entries stay in the streams, for other consumers. They are never
	// trimmed before they are sealed.
	Keep time.Duration
	// Spool is a folder of this server's, into which records go while Redis does not take
	// them, up to SpoolBytes. "": they are refused then.
	Spool      string
	SpoolBytes int64
	// Run is archive.Options.Run.
	Run func(calls func())
	// Open opens the folder of the record for this server alone, when it has the lease, and
	// returns what gives it free again. archive.ErrLocked is tried again.
	Open func() (*archive.Journal, func() error, error)
	// Folder is the record for readers.
	Folder archive.Folder
	Log    *zap.Logger
}

const (
	maxPending = 64 << 20 // bytes that wait for Redis
	batchItems = 256
	batchBytes = 4 << 20
	// writeWithin bounds one batch.
	writeWithin = 5 * time.Second
	// probeEvery is how often a Redis that failed is tried again.
	probeEvery = time.Second
)

// Journal implements what archive.Journal does for messages and acts, on Redis. Its
// methods may be called from any goroutine.
type Journal struct {
	o     Options
	names names
	keys  ciphers

	wake    chan struct{}
	stop    context.CancelFunc
	ctx     context.Context
	writing sync.WaitGroup
	sealing sync.WaitGroup
	callers sync.WaitGroup

	mu       sync.Mutex
	queue    []*item
	pending  int // bytes
	failed   error
	failedAt time.Time
	closed   bool
	spooled  Spooled

	spool   *spool    // of the writing goroutine; nil: there is none
	retryAt time.Time // of that too: when Redis is asked again
	unsure  bool      // and whether the streams may have the oldest entries of the spool

	endMu sync.Mutex
	endAt time.Time
	end   atomic.Uint64

	local   atomic.Pointer[archive.Journal] // while this server has the lease
	sealed  atomic.Uint64
	records atomic.Uint64
	bytes   atomic.Uint64
	fails   atomic.Uint64
}

// Open makes the streams, and begins to write and, when it gets the lease, to seal.
func Open(ctx context.Context, o Options) (*Journal, error) {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Run == nil {
		o.Run = func(calls func()) { go calls() }
	}
	j := &Journal{o: o, names: namesOf(o.Prefix), keys: ciphers{master: o.Master}, wake: make(chan struct{}, 1)}
	if err := j.group(ctx); err != nil {
		return nil, fmt.Errorf("%w: %w", archive.ErrUnavailable, err)
	}
	if o.Spool != "" {
		var err error
		if j.spool, err = openSpool(o.Spool, o.Node, o.SpoolBytes); err != nil {
			return nil, fmt.Errorf("%w: %w", archive.ErrUnavailable, err)
		}
		j.unsure = true // the last process may have ended between sending and noting it
		j.tellSpooled()
	}
	j.ctx, j.stop = context.WithCancel(context.Background())
	j.writing.Go(j.write)
	j.sealing.Go(j.seal)
	return j, nil
}

// group makes the streams and their group, where they are not there.
func (j *Journal) group(ctx context.Context) error {
	for _, s := range j.names.streams {
		err := j.o.Client.XGroupCreateMkStream(ctx, s, Group, "0").Err()
		if err != nil && !redis.HasErrorPrefix(err, "BUSYGROUP") {
			return fmt.Errorf("make the streams: %w", err)
		}
	}
	return nil
}

// Append writes r and returns when it is durable, as archive.Journal.Append does. While
// this server seals, r goes into the record at once.
func (j *Journal) Append(ctx context.Context, r *archive.Record) (archive.Receipt, error) {
	if local := j.local.Load(); local != nil {
		return local.Append(ctx, r)
	}
	type result struct {
		receipt archive.Receipt
		err     error
	}
	c := make(chan result, 1)
	if err := j.AppendFunc(r, func(receipt archive.Receipt, err error) { c <- result{receipt, err} }); err != nil {
		return archive.Receipt{}, err
	}
	select {
	case x := <-c:
		return x.receipt, x.err
	case <-ctx.Done():
		return archive.Receipt{}, fmt.Errorf("append to archive: %w", ctx.Err())
	}
}

// AppendFunc is archive.Journal.AppendFunc.
func (j *Journal) AppendFunc(r *archive.Record, done func(archive.Receipt, error)) error {
	return j.add(r, done)
}

// Note writes r behind those before it and does not wait. While Redis is away it is kept
// in memory.
func (j *Journal) Note(r *archive.Record) error { return j.add(r, nil) }

func (j *Journal) add(r *archive.Record, done func(archive.Receipt, error)) error {
	k, err := j.keys.current()
	if err != nil {
		return fmt.Errorf("%w: %w", archive.ErrUnavailable, err)
	}
	value, err := r.AppendSealed(nil, j.o.Node, sealing{&j.keys, k})
	if err != nil {
		return err
	}
	x := &item{id: r.ID, shard: shardOf(r), value: value, key: k, done: done}
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case j.closed:
		return archive.ErrClosed
	case j.pending+len(value) > maxPending:
		return archive.ErrBusy
	case done != nil && j.failed != nil && time.Since(j.failedAt) < probeEvery:
		return j.failed
	}
	j.queue = append(j.queue, x)
	j.pending += len(value)
	select {
	case j.wake <- struct{}{}:
	default:
	}
	return nil
}

// write gives Redis what waits, in its order, until the journal is closed. While there is
// something in the spool all that comes goes behind it.
func (j *Journal) write() {
	retry := time.NewTicker(probeEvery)
	defer retry.Stop()
	for {
		batch, closed := j.take()
		spooling := j.spool != nil && j.spool.j != nil
		worked := false
		switch {
		case len(batch) > 0 && spooling:
			worked = j.aside(batch)
		case len(batch) > 0:
			worked = j.send(batch)
		}
		if spooling && !closed && j.drain() {
			continue
		}
		if worked {
			continue
		}
		if closed {
			return
		}
		select {
		case <-j.wake:
		case <-retry.C:
		case <-j.ctx.Done():
		}
	}
}

func (j *Journal) take() (batch []*item, closed bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	n, bytes := 0, 0
	for n < len(j.queue) && n < batchItems && bytes < batchBytes {
		bytes += len(j.queue[n].value)
		n++
	}
	batch = j.queue[:n:n]
	j.queue = j.queue[n:]
	return batch, j.closed
}

// put writes entries into the streams, and waits for the replicas that are asked for.
func (j *Journal) put(batch []*item) error {
	if len(batch) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), writeWithin)
	defer cancel()
	pipe := j.o.Client.Pipeline()
	for _, x := range batch {
		pipe.XAdd(ctx, x.args(&j.names))
	}
	var wait *redis.Cmd
	if j.o.Replicas > 0 {
		wait = pipe.Do(ctx, "WAIT", j.o.Replicas, int(writeWithin/time.Millisecond/2))
	}
	_, err := pipe.Exec(ctx)
	if err == nil && wait != nil {
		if n, bad := wait.Int(); bad != nil || n < j.o.Replicas {
			return fmt.Errorf("%w: redis: %w: %d, not %d", archive.ErrUnavailable, errReplicas, n, j.o.Replicas)
		}
	}
	if err != nil {
		return fmt.Errorf("%w: redis: %w", archive.ErrUnavailable, err)
	}
	return nil
}

// errReplicas: the streams have the entries, and fewer replicas than wanted. A spool would not
// help: the sealer takes them as they are.
var errReplicas = errors.New("too few replicas have it")

// send writes a batch and tells who waits for it. What nobody waits for is tried again
// when Redis did not take it; a record that it took after all is known by its ID. With a
// spool all of it goes there.
func (j *Journal) send(batch []*item) bool {
	err := j.put(batch)
	if err != nil && j.spool != nil && !errors.Is(err, errReplicas) {
		for _, x := range batch {
			x.sentOnce = true
		}
		j.o.Log.Error("records go into the spool", zap.Error(err))
		j.retryAt = time.Now().Add(probeEvery)
		return j.aside(batch)
	}
	faults := make([]error, len(batch))
	for i := range faults {
		faults[i] = err
	}
	return j.settle(batch, faults)
}

// aside makes a batch durable in the spool.
func (j *Journal) aside(batch []*item) bool {
	faults := j.spool.put(batch)
	for i, err := range faults {
		if err != nil {
			faults[i] = fmt.Errorf("%w: spool: %w", archive.ErrUnavailable, err)
		}
	}
	j.tellSpooled()
	return j.settle(batch, faults)
}

// drain moves entries from the spool into the streams, and reports whether there may be
// more to move now.
func (j *Journal) drain() bool {
	if time.Now().Before(j.retryAt) {
		return false
	}
	batch, last, err := j.spool.next(batchItems)
	if err == nil && len(batch) > 0 {
		missing := batch
		if j.unsure || slices.ContainsFunc(batch, func(x *item) bool { return x.sentOnce }) {
			missing, err = j.missing(batch)
		}
		if err == nil {
			j.unsure = true // until it is noted
			err = j.put(missing)
		}
	}
	if err == nil && last > j.spool.sent {
		if err = j.spool.took(batch, last); err == nil {
			j.unsure = false
		}
	}
	more := err == nil && j.spool.left()
	if err == nil && !more {
		if err = j.spool.clear(); err == nil {
			j.o.Log.Info("the spool is empty, records go into the streams again")
		}
	}
	if err != nil {
		j.spool.rewind()
		j.retryAt = time.Now().Add(probeEvery)
		if !errors.Is(err, archive.ErrUnavailable) {
			j.o.Log.Error("the spool is not emptied", zap.Error(err))
		}
	}
	j.tellSpooled()
	return more
}

// sentBefore is how much earlier than its record an entry may seem to be, or its record in the
// folder: clocks differ.
const sentBefore = time.Minute

// missing leaves out what Redis took without an answer that came here: it is in a stream, or in
// the record already. What the sealer remembers does not reach back for long.
func (j *Journal) missing(batch []*item) (list []*item, err error) {
	there := map[archive.ID]bool{}
	of := make([]archive.ID, len(batch))
	var shards [Shards]bool
	oldest := time.Now()
	for i, x := range batch {
		r, err := j.keys.spooled(x)
		if err != nil {
			return nil, err
		}
		of[i], there[r.ID], shards[x.shard] = r.ID, false, true
		if r.Time().Before(oldest) {
			oldest = r.Time()
		}
	}
	since := oldest.Add(-sentBefore)
	for shard, asked := range shards {
		if asked {
			if err := j.inStream(shard, since, there); err != nil {
				return nil, err
			}
		}
	}
	err = j.o.Folder.ScanSince(since, func(r *archive.Record, _ archive.Pos) error {
		if _, asked := there[r.ID]; asked {
			there[r.ID] = true
		}
		return nil
	})
	var damage *archive.Fault // Verify names it; what can be read was read
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.As(err, &damage) {
		return nil, err
	}
	for i, x := range batch {
		if !there[of[i]] {
			list = append(list, x)
		}
	}
	return list, nil
}

// inStream notes which of some records are in a stream since then.
func (j *Journal) inStream(shard int, since time.Time, there map[archive.ID]bool) error {
	for at := strconv.FormatInt(since.UnixMilli(), 10); ; {
		ctx, cancel := context.WithTimeout(context.Background(), writeWithin)
		list, err := j.o.Client.XRangeN(ctx, j.names.streams[shard], at, "+", 1000).Result()
		cancel()
		if err != nil {
			return fmt.Errorf("%w: redis: %w", archive.ErrUnavailable, err)
		}
		for i := range list {
			var r archive.Record
			text, _ := list[i].Values[fieldRecord].(string)
			if r.UnmarshalSealed([]byte(text), nil) != nil { // no entry of ours
				continue
			}
			if _, asked := there[r.ID]; asked {
				there[r.ID] = true
			}
		}
		if len(list) < 1000 {
			return nil
		}
		at = "(" + list[len(list)-1].ID
	}
}

// settle takes a batch off the queue: of each item it is told what became of it. What
// nobody waits for comes again.
func (j *Journal) settle(batch []*item, faults []error) bool {
	var again []*item
	var failed error
	bytes, taken := 0, 0
	for i, x := range batch {
		if err := faults[i]; err != nil {
			failed = err
			if x.done == nil {
				again = append(again, x)
				continue
			}
		} else {
			taken++
			j.bytes.Add(uint64(len(x.value)))
		}
		bytes += len(x.value)
	}
	j.mu.Lock()
	if failed != nil && j.failed == nil {
		j.fails.Add(1)
		j.o.Log.Error("journal failed", zap.Error(failed))
	} else if failed == nil && j.failed != nil {
		j.o.Log.Info("journal works again")
	}
	j.failed, j.failedAt = failed, time.Now()
	j.queue = append(again, j.queue...)
	j.pending -= bytes
	j.mu.Unlock()
	j.records.Add(uint64(taken))
	j.acknowledge(batch, faults)
	return failed == nil
}

func (j *Journal) acknowledge(batch []*item, faults []error) {
	type told struct {
		x   *item
		err error
	}
	var waiting []told
	for i, x := range batch {
		if x.done != nil {
			waiting = append(waiting, told{x, faults[i]})
		}
	}
	for some := range slices.Chunk(waiting, 64) {
		j.callers.Add(1)
		j.o.Run(func() {
			defer j.callers.Done()
			for _, t := range some {
				if t.err != nil {
					t.x.done(archive.Receipt{}, t.err)
				} else {
					t.x.done(archive.DurableElsewhere(t.x.id), nil)
				}
			}
		})
	}
}

// Spooled is what waits on the disk of this server for Redis.
type Spooled struct {
	Bytes int64
	Since time.Time // when the oldest came; zero when nothing waits
}

// Spooled tells what is in the spool.
func (j *Journal) Spooled() Spooled {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.spooled
}

func (j *Journal) tellSpooled() {
	now := Spooled{j.spool.bytes, j.spool.since}
	j.mu.Lock()
	j.spooled = now
	j.mu.Unlock()
}

// Recall returns the receipt of a record that was made durable before.
func (j *Journal) Recall(id archive.ID, seq uint64) archive.Receipt {
	if seq == 0 {
		return archive.Receipt{}
	}
	return archive.DurableElsewhere(id)
}

// Recent reads what this server wrote since, as far as the streams have it: of each
// conversation in its order.
func (j *Journal) Recent(since time.Time, f func(*archive.Record) error) error {
	if j.o.Spool == "" {
		return j.recent(since, f)
	}
	// The spool is read first, as it is emptied into the streams meanwhile.
	var waiting []*archive.Record
	err := archive.Folder{Dir: filepath.Join(j.o.Spool, spoolEntries)}.Scan(func(e *archive.Record, _ archive.Pos) error {
		x, ok, err := itemOf(e)
		if err != nil || !ok || e.Received.Before(since) {
			return err
		}
		r, err := j.keys.spooled(x)
		if err == nil && !r.Time().Before(since) {
			waiting = append(waiting, r)
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read the spool: %w", err)
	}
	seen := map[archive.ID]bool{}
	err = j.recent(since, func(r *archive.Record) error {
		seen[r.ID] = true
		return f(r)
	})
	if err != nil {
		return err
	}
	for _, r := range waiting {
		if !seen[r.ID] {
			if err := f(r); err != nil {
				return err
			}
		}
	}
	return nil
}

func (j *Journal) recent(since time.Time, f func(*archive.Record) error) error {
	from := strconv.FormatInt(since.UnixMilli(), 10)
	for _, s := range j.names.streams {
		for at := from; ; {
			list, err := j.o.Client.XRangeN(j.ctx, s, at, "+", 1000).Result()
			if err != nil {
				return fmt.Errorf("read the end of the stream: %w", err)
			}
			for i := range list {
				r, err := j.keys.record(&list[i])
				if err != nil || r.Node != j.o.Node {
					continue
				}
				if err := f(r); err != nil {
					return err
				}
			}
			if len(list) < 1000 {
				break
			}
			at = "(" + list[len(list)-1].ID
		}
	}
	return nil
}

// Last tells when this server wrote its newest record, as far as the ends of the streams
// have it.
func (j *Journal) Last() (last time.Time, err error) {
	for _, s := range j.names.streams {
		list, err := j.o.Client.XRevRangeN(j.ctx, s, "+", "-", 200).Result()
		if err != nil {
			return last, fmt.Errorf("read the end of the stream: %w", err)
		}
		for i := range list {
			at := time.UnixMilli(millis(list[i].ID)).UTC()
			if !at.After(last) {
				break
			}
			if r, err := j.keys.record(&list[i]); err == nil && r.Node == j.o.Node {
				last = at
				break
			}
		}
	}
	return last, nil
}

// Err tells why records are not taken; nil while they are.
func (j *Journal) Err() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.failed
}

// Seals reports whether this server has the lease, and the folder of the record.
func (j *Journal) Seals() bool { return j.local.Load() != nil }

// NewestCheckpoint returns the last checkpoint of the record, or nil.
func (j *Journal) NewestCheckpoint() []byte {
	if local := j.local.Load(); local != nil {
		return local.NewestCheckpoint()
	}
	signed, err := j.o.Folder.Checkpoint()
	if err != nil {
		return nil
	}
	return signed
}

// Stats returns the counters: of what this server gave to Redis, and as Seq the last
// record of the folder.
func (j *Journal) Stats() archive.JournalStats {
	j.mu.Lock()
	s := archive.JournalStats{Records: j.records.Load(), Bytes: j.bytes.Load(), Failures: j.fails.Load(), Pending: j.pending}
	j.mu.Unlock()
	if local := j.local.Load(); local != nil {
		of := local.Stats()
		s.Seq, s.Syncs, s.Writes = of.Seq, of.Syncs, of.Writes
	} else {
		s.Seq = j.others()
	}
	return s
}

// Durable returns the seq of the last record in the folder, 0 for none.
func (j *Journal) Durable() uint64 {
	if local := j.local.Load(); local != nil {
		return local.Durable()
	}
	return j.others()
}

// others returns the last record of the folder, into which another server seals. It is
// read once a second at most.
func (j *Journal) others() uint64 {
	j.endMu.Lock()
	due := time.Since(j.endAt) >= time.Second
	if due {
		j.endAt = time.Now()
	}
	j.endMu.Unlock()
	if due {
		if seq, err := j.o.Folder.LastSeq(); err == nil {
			j.end.Store(seq)
		}
	}
	return j.end.Load()
}

// maxUnknown is up to how many entries are counted one by one.
const maxUnknown = 1000

// Unsealed counts the entries that are in the streams and not in the record yet.
func (j *Journal) Unsealed(ctx context.Context) (n int64, err error) {
	for _, s := range j.names.streams {
		groups, err := j.o.Client.XInfoGroups(ctx, s).Result()
		if err != nil {
			return 0, err
		}
		for _, g := range groups {
			if g.Name != Group {
				continue
			}
			if n += g.Pending; g.Lag >= 0 {
				n += g.Lag
				continue
			}
			// A Redis that has read its file again does not know.
			list, err := j.o.Client.XRangeN(ctx, s, "("+g.LastDeliveredID, "+", maxUnknown).Result()
			if err != nil {
				return 0, err
			}
			n += int64(len(list))
		}
	}
	return n, nil
}

// Close gives Redis what waits, seals what is in the streams if this server has the
// lease, and gives that free.
func (j *Journal) Close() error {
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		return archive.ErrClosed
	}
	j.closed = true
	j.mu.Unlock()
	select {
	case j.wake <- struct{}{}:
	default:
	}
	j.writing.Wait()
	var spooled error
	if j.spool != nil {
		spooled = j.spool.close() // the next process goes on with it
	}
	j.stop()
	j.sealing.Wait()
	j.callers.Wait()
	j.mu.Lock()
	defer j.mu.Unlock()
	if n := len(j.queue); n > 0 {
		return errors.Join(fmt.Errorf("%d records without anybody who waits for them were not written", n), j.failed, spooled)
	}
	return spooled
}
