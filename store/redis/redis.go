package redis

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	_ "embed" // the scripts
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"rollcall/store"
)

// Options are the settings of a DB. The zero value is good.
type Options struct {
	// Logger hears of what an operator must know. Nil logs nothing.
	Logger *zap.Logger

	// Prefix begins all keys and channels, so that several installations can
	// share a Redis. Empty means "rollcall". It has no braces.
	Prefix string

	// Username and Password, if set, take the place of those in the URL.
	Username, Password string

	// SentinelUsername and SentinelPassword are for the sentinels themselves.
	SentinelUsername, SentinelPassword string

	// TLS is used with the rediss schemes. Nil means the system's roots.
	TLS *tls.Config

	// Timeout bounds each operation and the setup of a connection. Zero means two
	// seconds. What takes longer is store.ErrUnavailable.
	Timeout time.Duration

	// SweepInterval is the time from one sweep of the indexes to the next. Zero
	// means one minute.
	SweepInterval time.Duration
}

// DB is a store.Store in Redis. Open it with Open.
type DB struct {
	log     *zap.Logger
	client  redis.UniversalClient
	cluster *redis.ClusterClient // the client, if it is of a cluster
	queue   *redis.AutoPipeliner
	prefix  string
	timeout time.Duration

	call  atomic.Uint64 // names an Apply, see apply.lua
	wait  atomic.Pointer[patience]
	known sync.Map // *store.Kind → *names

	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	running sync.WaitGroup
	mu      sync.Mutex // orders Watch and Close
	closing sync.Once
	err     error
}

var (
	_ store.Store   = (*DB)(nil)
	_ store.Batcher = (*DB)(nil)
)

//go:embed apply.lua
var applySource string

//go:embed sweep.lua
var sweepSource string

var (
	applyScript = redis.NewScript(applySource)
	sweepScript = redis.NewScript(sweepSource)
)

// tags is the number of hash tags that owners are spread over. Each has its own
// index for each kind, and lies on one node of a cluster. The number is a part of
// the stored form.
const tags = 64

// maxQueued is how many commands may wait for Redis; one more is refused as
// unavailable.
const maxQueued = 16384

// Open returns the store at the URL:
//
//	redis://[user:password@]host[:port][/db]
//	redis+sentinel://[user:password@]host[:port][,host…]/master[/db]
//	redis+cluster://[user:password@]host[:port][,host…]
//
// or the same with rediss for TLS. It does not wait for Redis and gives no error
// if it cannot be reached: Ping does.
func Open(url string, o Options) (*DB, error) {
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	if o.Prefix == "" {
		o.Prefix = "rollcall"
	}
	if strings.ContainsAny(o.Prefix, "{}") {
		return nil, fmt.Errorf("open store: prefix %q has braces", o.Prefix)
	}
	if o.Timeout <= 0 {
		o.Timeout = 2 * time.Second
	}
	if o.SweepInterval <= 0 {
		o.SweepInterval = time.Minute
	}
	options, err := parse(url)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	quiet.Do(func() { redis.SetLogger(clientLogger{}) })
	client := redis.NewUniversalClient(complete(options, o))
	queue, err := client.AsyncAutoPipelineWithOptions(&redis.AutoPipelineOptions{
		MaxBatchSize:         300,
		MaxBatchBytes:        1 << 20,
		MaxConcurrentBatches: 1,
		MaxQueuedCommands:    maxQueued,
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open store: %w", err), client.Close())
	}
	db := &DB{log: o.Logger, client: client, queue: queue, prefix: o.Prefix, timeout: o.Timeout}
	db.cluster, _ = client.(*redis.ClusterClient)
	var seed [8]byte
	_, _ = rand.Read(seed[:]) // it never fails
	db.call.Store(binary.BigEndian.Uint64(seed[:]))
	db.ctx, db.cancel = context.WithCancel(context.Background())
	db.running.Go(func() { db.sweeper(o.SweepInterval) })
	return db, nil
}

// Client is the connection to Redis, for who keeps more there than state. It is closed by
// Close.
func (db *DB) Client() redis.UniversalClient { return db.client }

// Prefix is what all keys of this installation begin with, in braces.
func (db *DB) Prefix() string { return db.prefix }

// names are the keys of a kind, by tag, without the owner.
type names struct {
	hash, index, channel [tags]string
}

func (db *DB) names(kind *store.Kind) *names {
	if n, ok := db.known.Load(kind); ok {
		return n.(*names)
	}
	n := new(names)
	for tag := range tags {
		n.hash[tag] = db.key(tag, "k:"+kind.Name()+":")
		n.index[tag] = db.key(tag, "o:"+kind.Name())
		n.channel[tag] = db.key(tag, "w:"+kind.Name())
	}
	db.known.Store(kind, n)
	return n
}

func (db *DB) key(tag int, rest string) string {
	return fmt.Sprintf("{%s:%02x}:%s", db.prefix, tag, rest)
}

func tagOf(owner string) int { return int(crc32.ChecksumIEEE([]byte(owner)) % tags) }

// failure turns an error of the client into one of the contract. Answers of
// Redis that are about the request stay what they are.
func (db *DB) failure(ctx context.Context, err error) error {
	var answer redis.Error
	switch {
	case db.ctx.Err() != nil:
		return store.ErrClosed
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &answer) && !passing(answer.Error()):
		return err
	}
	return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
}

// passing reports whether an answer says that the same may go well later.
func passing(answer string) bool {
	for _, p := range []string{"LOADING", "READONLY", "MISCONF", "OOM", "BUSY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "MOVED", "ASK", "NOREPLICAS", "UNBLOCKED", "ERR max number of clients"} {
		if strings.HasPrefix(answer, p) {
			return true
		}
	}
	return false
}

func (db *DB) enter(ctx context.Context, k store.Key, changes []store.Change) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if db.ctx.Err() != nil {
		return store.ErrClosed
	}
	return store.Check(k, changes)
}

// run sends a command in the common pipeline and waits for its answer, but not
// much longer than the timeout.
func (db *DB) run(ctx context.Context, cmd redis.Cmder) error {
	if err := db.queue.Submit(db.ctx, cmd).WaitContext(db.waiting(ctx)); err != nil {
		return db.failure(ctx, err)
	}
	return nil
}

// patience is a context for all who begin to wait within an eighth of the timeout, as
// a timer for each of them costs as much as the rest of sending a command.
type patience struct {
	of   context.Context // whose end is its end too
	ctx  context.Context
	till time.Time // from then on it is too short for who begins to wait
}

// waiting returns a context that ends with ctx, and when the timeout is over or an eighth of it later.
func (db *DB) waiting(ctx context.Context) context.Context {
	now := time.Now()
	if p := db.wait.Load(); p != nil && p.of == ctx && now.Before(p.till) {
		return p.ctx
	}
	shared := db.timeout / 8
	c, cancel := context.WithTimeout(ctx, db.timeout+shared)
	context.AfterFunc(c, cancel) // others wait with it, so it ends by itself alone
	db.wait.Store(&patience{of: ctx, ctx: c, till: now.Add(shared)})
	return c
}

// Load implements store.Store.
func (db *DB) Load(ctx context.Context, k store.Key) (store.Set, error) {
	if err := db.enter(ctx, k, nil); err != nil {
		return store.Set{}, err
	}
	cmd := redis.NewMapStringStringCmd(db.ctx, "hgetall", db.names(k.Kind).hash[tagOf(k.Owner)]+k.Owner)
	if err := db.run(ctx, cmd); err != nil {
		return store.Set{}, fmt.Errorf("load %s: %w", k, err)
	}
	set, err := decode(cmd.Val(), time.Now().UnixMilli())
	if err != nil {
		return store.Set{}, fmt.Errorf("load %s: %w", k, err)
	}
	return set, nil
}

var errForm = errors.New("stored form is damaged")

// decode reads an owner's hash; apply.lua describes it.
func decode(fields map[string]string, now int64) (store.Set, error) {
	if len(fields) == 0 {
		return store.Set{}, nil
	}
	set, err := decodeMeta(fields["m"], now)
	if err != nil {
		return store.Set{}, err
	}
	for i := range set.Items {
		value, ok := fields["i"+set.Items[i].ID]
		if !ok {
			return store.Set{}, errForm
		}
		set.Items[i].Value = []byte(value)
	}
	return set, nil
}

// decodeMeta reads the field "m": the version and the live items, without values.
func decodeMeta(meta string, now int64) (store.Set, error) {
	if len(meta) < 17 {
		return store.Set{}, errForm
	}
	if meta[0] != 1 {
		return store.Set{}, fmt.Errorf("stored form %d is not known to this version", meta[0])
	}
	set := store.Set{Version: store.Version(double(meta[1:]))}
	for meta = meta[17:]; meta != ""; {
		if len(meta) < 12 {
			return store.Set{}, errForm
		}
		expires := int64(double(meta))
		size := int(uint32(meta[8])<<24 | uint32(meta[9])<<16 | uint32(meta[10])<<8 | uint32(meta[11]))
		if meta = meta[12:]; size > len(meta) {
			return store.Set{}, errForm
		}
		item := store.Item{ID: meta[:size]}
		meta = meta[size:]
		if expires != 0 {
			if expires <= now {
				continue
			}
			item.Expires = time.UnixMilli(expires).UTC()
		}
		set.Items = append(set.Items, item)
	}
	if len(set.Items) == 0 {
		return store.Set{}, nil
	}
	return set, nil
}

func double(s string) float64 {
	return math.Float64frombits(binary.BigEndian.Uint64([]byte(s[:8])))
}

// Apply implements store.Store.
func (db *DB) Apply(ctx context.Context, k store.Key, base store.Version, changes ...store.Change) (store.Version, error) {
	if err := db.enter(ctx, k, changes); err != nil {
		return 0, err
	}
	args := db.args(k, base, changes)
	cmd := redis.NewCmd(db.ctx, args...)
	err := db.run(ctx, cmd)
	if err != nil && redis.HasErrorPrefix(err, "NOSCRIPT") {
		cmd = redis.NewCmd(db.ctx, withSource(args)...)
		err = db.run(ctx, cmd)
	}
	return verdict(k, cmd, err)
}

func verdict(k store.Key, cmd *redis.Cmd, err error) (store.Version, error) {
	if err != nil {
		return 0, fmt.Errorf("apply to %s: %w", k, err)
	}
	v, err := cmd.Int64()
	if err != nil {
		return 0, fmt.Errorf("apply to %s: %w", k, err)
	}
	if v < 0 {
		return 0, store.ErrConflict
	}
	return store.Version(v), nil
}

// args is the command that runs apply.lua.
func (db *DB) args(k store.Key, base store.Version, changes []store.Change) []any {
	n, tag := db.names(k.Kind), tagOf(k.Owner)
	on := ""
	if base != store.Any {
		on = strconv.FormatUint(uint64(base), 10)
	}
	publish, channel := db.channel(n, k.Kind, tag)
	call := binary.BigEndian.AppendUint64(nil, db.call.Add(1))
	args := make([]any, 0, 12+4*len(changes))
	args = append(args, "evalsha", applyScript.Hash(), 3, n.hash[tag]+k.Owner, n.index[tag], db.key(tag, "v"),
		on, time.Now().UnixMilli(), k.Owner, publish, channel, call)
	for i := range changes {
		c := &changes[i]
		switch c.Action {
		case store.ActionPut:
			var expires int64
			// Beyond the year 9999 is never: Redis has no words for it.
			if !c.Item.Expires.IsZero() && c.Item.Expires.Year() <= 9999 {
				expires = c.Item.Expires.UnixMilli()
				if expires == 0 {
					expires = -1 // the epoch is past, not never
				}
			}
			value := c.Item.Value
			if value == nil {
				value = []byte{}
			}
			args = append(args, "p", c.Item.ID, expires, value)
		case store.ActionDelete:
			args = append(args, "d", c.Item.ID)
		case store.ActionClear:
			args = append(args, "c")
		}
	}
	return args
}

func withSource(args []any) []any {
	args = append([]any(nil), args...)
	args[0], args[1] = "eval", applySource
	return args
}

// batchWindow and batchBytes bound what an ApplyAll has under way.
const (
	batchWindow = 2000
	batchBytes  = 8 << 20
)

// ApplyAll implements store.Batcher: the ops travel together.
func (db *DB) ApplyAll(ctx context.Context, ops []store.Op) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if db.ctx.Err() != nil {
		return store.ErrClosed
	}
	// The order of one owner's ops needs the script to be there at the first.
	waiting, cancel := context.WithTimeout(ctx, db.timeout)
	err := applyScript.Load(waiting, db.client).Err()
	cancel()
	if err != nil {
		return fmt.Errorf("apply %d ops: %w", len(ops), db.failure(ctx, err))
	}
	var refused []error
	refuse := func(i int, err error) {
		if len(refused) < store.MaxOpErrors {
			refused = append(refused, &store.OpError{Index: i, Key: ops[i].Key, Err: err})
		}
	}
	type sent struct {
		op     int
		cmd    *redis.Cmd
		future redis.AutoFuture
	}
	var window []sent
	for i := 0; i < len(ops); {
		window = window[:0]
		for size := 0; i < len(ops) && len(window) < batchWindow && size < batchBytes; i++ {
			op := &ops[i]
			if err := store.Check(op.Key, op.Changes); err != nil {
				refuse(i, err)
				continue
			}
			for j := range op.Changes {
				size += len(op.Changes[j].Item.Value)
			}
			cmd := redis.NewCmd(db.ctx, db.args(op.Key, op.Base, op.Changes)...)
			window = append(window, sent{i, cmd, db.queue.Submit(db.ctx, cmd)})
		}
		waiting, cancel := context.WithTimeout(ctx, 10*db.timeout)
		for _, s := range window {
			err := s.future.WaitContext(waiting)
			if err != nil {
				err = db.failure(ctx, err)
			}
			if _, err := verdict(ops[s.op].Key, s.cmd, err); errors.Is(err, store.ErrConflict) {
				refuse(s.op, err)
			} else if err != nil {
				cancel()
				return fmt.Errorf("op %d: %w", s.op, err)
			}
		}
		cancel()
	}
	return errors.Join(refused...)
}

// Ping implements store.Store. It writes a key that expires.
func (db *DB) Ping(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if db.ctx.Err() != nil {
		return store.ErrClosed
	}
	if err := db.run(ctx, redis.NewStatusCmd(db.ctx, "set", db.key(0, "ping"), "1", "ex", 60)); err != nil {
		return fmt.Errorf("ping: %w", err)
	}
	return nil
}

// Time returns the time of Redis's clock. A node whose own clock is far from it
// sees items expire at the wrong time.
func (db *DB) Time(ctx context.Context) (time.Time, error) {
	cmd := redis.NewTimeCmd(db.ctx, "time")
	if err := db.enterAndRun(ctx, cmd); err != nil {
		return time.Time{}, fmt.Errorf("ask for the time: %w", err)
	}
	return cmd.Val(), nil
}

func (db *DB) enterAndRun(ctx context.Context, cmd redis.Cmder) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if db.ctx.Err() != nil {
		return store.ErrClosed
	}
	return db.run(ctx, cmd)
}

// Local implements store.Store.
func (db *DB) Local() bool { return false }

// Close implements store.Store. What Redis has answered is as durable as it is.
func (db *DB) Close() error {
	db.closing.Do(func() {
		db.mu.Lock()
		db.cancel()
		db.mu.Unlock()
		db.running.Wait()
		db.err = errors.Join(db.queue.Close(), db.client.Close())
	})
	return db.err
}
