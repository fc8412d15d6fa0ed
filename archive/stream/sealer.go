package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"rollcall/archive"
)

const (
	// leaseLife is how long a holder that is silent keeps the lease, and leaseEvery how
	// often it says that it lives.
	leaseLife  = 6 * time.Second
	leaseEvery = 2 * time.Second
	// sealItems are read at a time, and readBlock is how long they are waited for.
	sealItems = 512
	readBlock = 200 * time.Millisecond
	trimEvery = 10 * time.Second
	// skew is how much the clocks of Redis and of the servers may differ.
	skew = 10 * time.Minute
	// remembered are the IDs of the records sealed last.
	remembered = 1 << 16
)

// Whoever is not the holder any more changes nothing.
var (
	renewScript   = redis.NewScript(`if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return 0`)
	releaseScript = redis.NewScript(`if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0`)
	ackScript     = redis.NewScript(`if redis.call('GET', KEYS[1]) ~= ARGV[1] then return -1 end
local n = 0
for i = 3, #ARGV do n = n + redis.call('XACK', KEYS[2], ARGV[2], ARGV[i]) end
return n`)
	trimScript = redis.NewScript(`if redis.call('GET', KEYS[1]) ~= ARGV[1] then return -1 end
return redis.call('XTRIM', KEYS[2], 'MINID', ARGV[2])`)
)

var errLease = errors.New("archive: another server has the lease")

// tenure is the time for which this server seals.
type tenure struct {
	j     *Journal
	token string
	local *archive.Journal
	done  map[archive.ID]struct{} // sealed already
	order []archive.ID            // of done, oldest first
	acked [Shards]string          // last entry of each stream that is sealed
	seen  [Shards]string          // where reading of what a holder before had read is
	stuck [Shards]bool            // an entry can't be sealed: nothing is trimmed
}

// seal waits for the lease and seals while this server has it, until the journal closes.
func (j *Journal) seal() {
	for {
		err := j.hold()
		if j.ctx.Err() != nil {
			return
		}
		if err != nil && !errors.Is(err, errLease) {
			j.o.Log.Warn("records are not sealed by this server", zap.Error(err))
		}
		select {
		case <-j.ctx.Done():
			return
		case <-time.After(leaseEvery / 2):
		}
	}
}

// hold gets the lease and seals until it is lost.
func (j *Journal) hold() (err error) {
	fence, err := j.o.Client.Incr(j.ctx, j.names.fence).Result()
	if err != nil {
		return fmt.Errorf("lease: %w", err)
	}
	t := &tenure{j: j, token: j.o.Node + "#" + strconv.FormatInt(fence, 10), done: map[archive.ID]struct{}{}}
	got, err := j.o.Client.SetNX(j.ctx, j.names.lease, t.token, leaseLife).Result()
	if err != nil {
		return fmt.Errorf("lease: %w", err)
	}
	if !got {
		return errLease
	}
	ctx, lost := context.WithCancelCause(j.ctx)
	var renewing sync.WaitGroup
	renewing.Go(func() { t.renew(ctx, lost) })
	defer func() {
		lost(nil)
		renewing.Wait()
		released, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = releaseScript.Run(released, j.o.Client, []string{j.names.lease}, t.token).Err() // else it ends by itself
	}()
	local, free, err := j.openFolder(ctx)
	if err != nil {
		return err
	}
	t.local = local
	j.local.Store(local)
	defer func() {
		j.local.Store(nil)
		err = errors.Join(err, local.Close(), free())
	}()
	j.o.Log.Info("this server seals the record", zap.String("lease", t.token))
	if err := t.begin(ctx); err != nil {
		return err
	}
	return t.run(ctx)
}

// openFolder waits until the last holder has let go.
func (j *Journal) openFolder(ctx context.Context) (*archive.Journal, func() error, error) {
	for {
		local, free, err := j.o.Open()
		if err == nil || !errors.Is(err, archive.ErrLocked) {
			return local, free, err
		}
		select {
		case <-ctx.Done():
			return nil, nil, context.Cause(ctx)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// renew says that the holder lives. When that fails for as long as the lease lasts,
// another may have it.
func (t *tenure) renew(ctx context.Context, lost context.CancelCauseFunc) {
	tick := time.NewTicker(leaseEvery)
	defer tick.Stop()
	for last := time.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		began := time.Now()
		within, cancel := context.WithTimeout(ctx, leaseEvery)
		n, err := renewScript.Run(within, t.j.o.Client, []string{t.j.names.lease}, t.token, int(leaseLife/time.Millisecond)).Int()
		cancel()
		switch {
		case err == nil && n == 1:
			last = began
		case err == nil, time.Since(last) > leaseLife-leaseEvery:
			lost(errLease)
			return
		}
	}
}

// begin learns which of the entries that were read and not acknowledged are sealed.
func (t *tenure) begin(ctx context.Context) error {
	oldest := int64(0)
	for _, s := range t.j.names.streams {
		p, err := t.j.o.Client.XPending(ctx, s, Group).Result()
		if err != nil {
			return fmt.Errorf("entries without acknowledgement: %w", err)
		}
		if ms := millis(p.Lower); p.Count > 0 && (oldest == 0 || ms < oldest) {
			oldest = ms
		}
	}
	if oldest == 0 {
		oldest = time.Now().UnixMilli()
	}
	return t.local.Recent(time.UnixMilli(oldest).Add(-skew), func(r *archive.Record) error {
		t.remember(r.ID)
		return nil
	})
}

func (t *tenure) remember(id archive.ID) {
	t.done[id] = struct{}{}
	t.order = append(t.order, id)
}

// forget keeps done small once all old entries are through.
func (t *tenure) forget() {
	for len(t.order) > remembered {
		delete(t.done, t.order[0])
		t.order = t.order[1:]
	}
}

// run seals: first what a holder before had read, then what is new. When the journal
// closes it seals what is there.
func (t *tenure) run(ctx context.Context) error {
	old, trimmed := true, time.Now()
	for {
		closing := t.j.ctx.Err() != nil
		n, err := t.read(ctx, old, closing)
		switch {
		case err != nil:
			return err
		case n == 0 && old:
			old = false
			t.forget()
		case n == 0 && closing:
			return nil //nolint:nilerr // that the journal closes is no fault
		}
		if !closing && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if !old {
			t.forget()
		}
		if time.Since(trimmed) >= trimEvery {
			trimmed = time.Now()
			if err := t.trim(ctx); err != nil {
				return err
			}
		}
	}
}

// read reads some entries and seals them; it returns how many there were.
func (t *tenure) read(ctx context.Context, old, closing bool) (n int, err error) {
	block := readBlock
	if closing || old {
		block = -1
	}
	if closing {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.Background(), writeWithin)
		defer cancel()
	}
	args := &redis.XReadGroupArgs{Group: Group, Consumer: consumer, Count: sealItems, Block: block}
	args.Streams = append(args.Streams, t.j.names.streams[:]...)
	for i := range Shards {
		id := ">"
		if old {
			if id = t.seen[i]; id == "" {
				id = "0"
			}
		}
		args.Streams = append(args.Streams, id)
	}
	streams, err := t.j.o.Client.XReadGroup(ctx, args).Result()
	if errors.Is(err, redis.Nil) {
		return 0, nil
	}
	if err != nil {
		switch {
		case t.j.ctx.Err() != nil && !closing:
			return 1, nil // the journal closes: look once more
		case errors.Is(context.Cause(ctx), errLease):
			return 0, errLease
		case redis.HasErrorPrefix(err, "NOGROUP"): // Redis has lost what it had
			return 1, t.j.group(ctx)
		}
		return 0, fmt.Errorf("read the streams: %w", err)
	}
	for i := range streams {
		n += len(streams[i].Messages)
	}
	if n == 0 {
		return 0, nil
	}
	return n, t.take(ctx, streams)
}

// take seals entries, and acknowledges them when they are on the disk.
func (t *tenure) take(ctx context.Context, streams []redis.XStream) error {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var failed error
	good := make([][]any, len(streams)) // entries that are sealed
	for i := range streams {
		shard := slices.Index(t.j.names.streams[:], streams[i].Stream)
		for k := range streams[i].Messages {
			m := &streams[i].Messages[k]
			t.seen[shard] = m.ID
			if len(m.Values) == 0 { // trimmed by somebody else
				good[i] = append(good[i], m.ID)
				continue
			}
			r, err := t.j.keys.record(m)
			if err != nil {
				t.j.o.Log.Error("an entry of the stream can't be sealed, and stays there", zap.String("stream", streams[i].Stream), zap.String("entry", m.ID), zap.Error(err))
				t.stuck[shard] = true
				continue
			}
			good[i] = append(good[i], m.ID)
			if _, twice := t.done[r.ID]; twice {
				continue
			}
			wg.Add(1)
			err = t.local.AppendFunc(r, func(_ archive.Receipt, err error) {
				if err != nil {
					mu.Lock()
					failed = err
					mu.Unlock()
				}
				wg.Done()
			})
			if err != nil {
				wg.Done()
				wg.Wait()
				return fmt.Errorf("seal: %w", err)
			}
			t.remember(r.ID)
		}
	}
	wg.Wait()
	if failed != nil {
		return fmt.Errorf("seal: %w", failed)
	}
	for i := range streams {
		if len(good[i]) == 0 {
			continue
		}
		n, err := ackScript.Run(ctx, t.j.o.Client, []string{t.j.names.lease, streams[i].Stream}, append([]any{t.token, Group}, good[i]...)...).Int()
		if err != nil {
			return fmt.Errorf("acknowledge: %w", err)
		}
		if n < 0 {
			return errLease
		}
		shard := slices.Index(t.j.names.streams[:], streams[i].Stream)
		t.acked[shard] = streams[i].Messages[len(streams[i].Messages)-1].ID
		t.j.sealed.Add(uint64(n))
	}
	return nil
}

// trim removes entries that are sealed and old enough.
func (t *tenure) trim(ctx context.Context) error {
	cut := time.Now().Add(-t.j.o.Keep).UnixMilli()
	for i, s := range t.j.names.streams {
		if t.acked[i] == "" || t.stuck[i] {
			continue
		}
		at := strconv.FormatInt(cut, 10) + "-0"
		if millis(t.acked[i]) < cut {
			at = t.acked[i]
		}
		n, err := trimScript.Run(ctx, t.j.o.Client, []string{t.j.names.lease, s}, t.token, at).Int()
		if err != nil {
			return fmt.Errorf("trim: %w", err)
		}
		if n < 0 {
			return errLease
		}
	}
	return nil
}
