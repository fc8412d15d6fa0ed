package embedded

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
	"go.uber.org/zap"

	"rollcall/store"
)

// Options are the settings of a DB. The zero value is good.
type Options struct {
	// Logger hears of what an operator must know: a soft image put aside, a
	// flush that fails. Nil logs nothing.
	Logger *zap.Logger

	// FlushInterval is how long soft state may be ahead of its image. Zero means
	// one second.
	FlushInterval time.Duration

	// SweepInterval is the time from one sweep for expired items to the next.
	// Zero means one minute.
	SweepInterval time.Duration
}

// DB is a store.Store in this process. Open it with Open.
type DB struct {
	logger *zap.Logger
	lock   *os.File
	seed   maphash.Seed

	durable, soft *image
	log           *softLog   // of the kinds that are hot and soft; of the flusher
	commits       *committer // of durable
	softCommits   *committer // of soft, for cold kinds

	epoch store.Version // floor of the versions given since Open

	// kinds is indexed by Kind.Index. The slice is replaced, under kindsMu, and
	// never changed.
	kindsMu sync.Mutex
	kinds   atomic.Pointer[[]*kindState]

	closed   atomic.Bool
	closing  sync.Once
	closeErr error
	stop     chan struct{}
	running  sync.WaitGroup // flusher and sweeper
	failing  atomic.Pointer[error]
	flushMu  sync.Mutex // one flush at a time
}

var (
	_ store.Store   = (*DB)(nil)
	_ store.Batcher = (*DB)(nil)
)

// epochShift leaves room for a million million changes for each start, and for
// sixteen million starts.
const epochShift = 40

// Open opens the store in the directory, which is made if it is not there. It
// fails if another process has it.
func Open(dir string, o Options) (*DB, error) {
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	if o.FlushInterval <= 0 {
		o.FlushInterval = time.Second
	}
	if o.SweepInterval <= 0 {
		o.SweepInterval = time.Minute
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	db := &DB{logger: o.Logger, seed: maphash.MakeSeed(), stop: make(chan struct{})}
	db.kinds.Store(new([]*kindState))
	var err error
	if db.lock, err = lockDir(dir); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if err := db.openImages(dir); err != nil {
		db.lock.Close()
		return nil, fmt.Errorf("open store: %w", err)
	}
	db.commits = newCommitter(db, db.durable)
	db.softCommits = newCommitter(db, db.soft)
	db.running.Go(func() { db.flusher(o.FlushInterval) })
	db.running.Go(func() { db.sweeper(o.SweepInterval) })
	return db, nil
}

// openImages opens both files and loads the hot kinds that are declared.
func (db *DB) openImages(dir string) error {
	var err error
	if db.durable, err = openImage(filepath.Join(dir, "durable.db"), true); err != nil {
		return err
	}
	if err = db.loadKinds(store.Durable); err != nil {
		return errors.Join(err, db.durable.bolt.Close())
	}
	if err := db.openSoft(filepath.Join(dir, "soft.db")); err != nil {
		return errors.Join(err, db.durable.bolt.Close())
	}
	if err := db.openLog(filepath.Join(dir, "soft.log")); err != nil {
		return errors.Join(err, db.durable.bolt.Close(), db.soft.bolt.Close())
	}
	epoch := max(db.durable.epoch, db.soft.epoch) + 1
	if err := errors.Join(db.durable.begin(epoch), db.soft.begin(epoch)); err != nil {
		return errors.Join(err, db.durable.bolt.Close(), db.soft.bolt.Close(), db.log.file.Close())
	}
	db.epoch = store.Version(epoch) << epochShift
	for _, ks := range *db.kinds.Load() {
		if ks != nil {
			ks.setFloor(db.epoch)
		}
	}
	return nil
}

// openSoft opens the soft image. One that cannot be read is put aside: what is
// in it is refreshed by its owners, and a server that does not start is worse.
func (db *DB) openSoft(path string) error {
	var err error
	if db.soft, err = openSoftImage(path); err == nil {
		return nil
	}
	if err := db.putAside(path, err); err != nil {
		return err
	}
	db.soft, err = openImage(path, false)
	return err
}

// openLog reads the hot soft kinds, as openSoft with what cannot be read.
func (db *DB) openLog(path string) error {
	if err := db.loadKinds(store.Soft); err != nil {
		return err
	}
	err := db.readLog(path)
	if err == nil {
		return nil
	}
	db.forget(store.Soft)
	if err := errors.Join(db.putAside(path, err), db.loadKinds(store.Soft)); err != nil {
		return err
	}
	return db.readLog(path)
}

func (db *DB) readLog(path string) error {
	foreign := make(map[string]map[string][]byte)
	l, err := openLog(path, db.putLogged(foreign))
	if err != nil {
		return err
	}
	l.foreign = foreign
	db.log = l
	return nil
}

func (db *DB) putAside(path string, err error) error {
	if errors.Is(err, os.ErrPermission) {
		return err
	}
	aside := path + ".broken"
	if e := os.Rename(path, aside); e != nil {
		return fmt.Errorf("put soft image aside: %w", errors.Join(err, e))
	}
	db.logger.Error("soft state could not be read and is empty now; its image is put aside",
		zap.String("file", aside), zap.Error(err))
	return nil
}

func (db *DB) loadKinds(life store.Life) error {
	for _, k := range store.Kinds() {
		if k.Life() != life {
			continue
		}
		if _, err := db.addKind(k); err != nil {
			return err
		}
	}
	return nil
}

// forget drops what was loaded of the kinds with the given life.
func (db *DB) forget(life store.Life) {
	kinds := append([]*kindState(nil), *db.kinds.Load()...)
	for i, ks := range kinds {
		if ks != nil && ks.kind.Life() == life {
			kinds[i] = nil
		}
	}
	db.kinds.Store(&kinds)
}

// state returns the state of a kind. One that was declared after Open is loaded
// at its first use.
func (db *DB) state(k *store.Kind) (*kindState, error) {
	if kinds := *db.kinds.Load(); k.Index() < len(kinds) {
		if ks := kinds[k.Index()]; ks != nil {
			return ks, nil
		}
	}
	ks, err := db.addKind(k)
	if err != nil {
		return nil, fmt.Errorf("load kind %s: %w", k, err)
	}
	return ks, nil
}

func (db *DB) addKind(k *store.Kind) (*kindState, error) {
	db.kindsMu.Lock()
	defer db.kindsMu.Unlock()
	kinds := *db.kinds.Load()
	if k.Index() < len(kinds) && kinds[k.Index()] != nil {
		return kinds[k.Index()], nil
	}
	ks := newKindState(db, k)
	switch {
	case ks.memory && db.log != nil:
		if err := db.log.adopt(ks); err != nil {
			return nil, err
		}
	case k.Place() == store.Hot && !ks.memory:
		if err := ks.image.load(ks); err != nil {
			return nil, err
		}
	}
	ks.setFloor(db.epoch)
	kinds = append([]*kindState(nil), kinds...)
	for len(kinds) <= k.Index() {
		kinds = append(kinds, nil)
	}
	kinds[k.Index()] = ks
	db.kinds.Store(&kinds)
	return ks, nil
}

// Load implements store.Store. For hot kinds it neither waits for I/O nor
// allocates while nothing of the owner has expired.
func (db *DB) Load(ctx context.Context, k store.Key) (store.Set, error) {
	ks, err := db.enter(ctx, k, nil)
	if err != nil {
		return store.Set{}, err
	}
	if ks.cold {
		return ks.loadCold(k.Owner)
	}
	return ks.loadHot(k.Owner), nil
}

// Apply implements store.Store.
func (db *DB) Apply(ctx context.Context, k store.Key, base store.Version, changes ...store.Change) (store.Version, error) {
	ks, err := db.enter(ctx, k, changes)
	if err != nil {
		return 0, err
	}
	if ks.memory {
		return ks.applyMemory(k.Owner, base, changes)
	}
	return ks.committer().apply(ctx, ks, k.Owner, base, changes)
}

func (db *DB) enter(ctx context.Context, k store.Key, changes []store.Change) (*kindState, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if db.closed.Load() {
		return nil, store.ErrClosed
	}
	if err := store.Check(k, changes); err != nil {
		return nil, err
	}
	return db.state(k.Kind)
}

// Ping implements store.Store. It fails while the last write to one of the files
// failed, and tries to write then.
func (db *DB) Ping(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if db.closed.Load() {
		return store.ErrClosed
	}
	if err := errors.Join(db.commits.ping(), db.softCommits.ping()); err != nil {
		return err
	}
	if err := db.failing.Load(); err != nil {
		return fmt.Errorf("%w: soft image: %w", store.ErrUnavailable, *err)
	}
	return nil
}

// Local implements store.Store.
func (db *DB) Local() bool { return true }

// Close implements store.Store.
func (db *DB) Close() error {
	db.closing.Do(func() {
		db.closed.Store(true)
		close(db.stop)
		db.running.Wait()
		db.commits.close()
		db.softCommits.close()
		for _, ks := range *db.kinds.Load() {
			if ks != nil {
				ks.fence()
				ks.closeWatchers()
			}
		}
		db.closeErr = errors.Join(db.flush(), db.log.file.Close(), db.soft.end(), db.durable.end(), db.lock.Close())
	})
	return db.closeErr
}

func cloneString(s string) string { return strings.Clone(s) }

// boltOptions are the same for both files but for the sync.
func boltOptions(sync bool) *bbolt.Options {
	return &bbolt.Options{
		Timeout:      time.Second,
		FreelistType: bbolt.FreelistMapType,
		NoSync:       !sync,
		NoGrowSync:   !sync,
		// Address space only: a file that grows within it needs no new mapping, for
		// which readers and the writer would wait for each other.
		InitialMmapSize: 1 << 28,
		NoStatistics:    true,
	}
}
