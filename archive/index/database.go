package index

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"modernc.org/sqlite"

	"rollcall/archive"
)

// version of the tables and of what stands in them, Words of package archive
// among it. A database of another version is made again.
const version = 1

const fileName = "index.db"

// schema makes the tables.
//
// record has a row for each record. at is its time in microseconds, segment and
// place where it lies. ends has bit d for each disposition d that an outcome of a
// message gave, and the bits below. mark lists the same by bit, for those that are rare. span has the
// earliest and the latest time of each 4096 records, so that a period becomes a
// range of seqs. text has the words of a record, and behind them its terms.
const schema = `
CREATE TABLE state (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE record (
	seq INTEGER PRIMARY KEY, id BLOB NOT NULL, type INTEGER NOT NULL, at INTEGER NOT NULL,
	segment INTEGER NOT NULL, place INTEGER NOT NULL, ends INTEGER NOT NULL
);
CREATE UNIQUE INDEX record_id ON record (id);
CREATE INDEX record_act ON record (seq) WHERE type = 3;
CREATE TABLE mark (bit INTEGER, seq INTEGER, PRIMARY KEY (bit, seq)) WITHOUT ROWID;
CREATE TABLE span (number INTEGER PRIMARY KEY, earliest INTEGER NOT NULL, latest INTEGER NOT NULL);
CREATE TABLE pending (kind TEXT, name TEXT, PRIMARY KEY (kind, name)) WITHOUT ROWID;
CREATE VIRTUAL TABLE text USING fts5 (doc, columnsize = 0, tokenize = "ascii tokenchars ':%@.-_'");
INSERT INTO text (text, rank) VALUES ('secure-delete', 1);
`

// Bits of record.ends beside those of dispositions, which have numbers up to 31 here.
const (
	bitComment = 40 // a supervisor wrote about it
	bitErased  = 41 // its text was taken out
	maxEnd     = 31
)

// spanOf is the number of the span that a record is in.
func spanOf(seq uint64) uint64 { return seq / 4096 }

// database is an open index file. Writing belongs to one goroutine; reading may go on beside it.
type database struct {
	write *sql.DB // one connection
	read  *sql.DB
}

// readers bounds how many searches read at a time; others wait.
const readers = 4

// errStale says that the file is not the index of this archive.
var errStale = errors.New("index: not of this version and archive")

// openDatabase opens the index in dir and makes it if there is none. It returns the seq that it has reached.
// With errStale, or an error for which isCorrupt holds, the file must be removed first.
func openDatabase(ctx context.Context, dir string, a archive.Folder) (db *database, seq uint64, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, 0, fmt.Errorf("index: %w", err)
	}
	path := filepath.Join(dir, fileName)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) // SQLite's own mode is for others to read
	if err != nil {
		return nil, 0, fmt.Errorf("index: %w", err)
	}
	if err := f.Close(); err != nil {
		return nil, 0, fmt.Errorf("index: %w", err)
	}
	db = new(database)
	defer func() {
		if err != nil {
			err = errors.Join(err, db.close())
			db = nil
		}
	}()
	// With WAL and synchronous=NORMAL a power cut loses commits and keeps the file whole.
	const common = "_pragma=busy_timeout(20000)&_pragma=temp_store(MEMORY)"
	at := "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + common
	if db.write, err = sql.Open("sqlite", at+"&_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)&_pragma=secure_delete(ON)"+
		"&_pragma=wal_autocheckpoint(4000)&_pragma=cache_size(-16000)&_txlock=immediate"); err != nil {
		return db, 0, err
	}
	db.write.SetMaxOpenConns(1)
	if db.read, err = sql.Open("sqlite", at+"&_pragma=query_only(ON)&_pragma=cache_size(-4000)"); err != nil {
		return db, 0, err
	}
	db.read.SetMaxOpenConns(readers)
	var tables int
	if err = db.write.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema").Scan(&tables); err != nil {
		return db, 0, err
	}
	if tables == 0 {
		return db, 0, db.create(ctx)
	}
	seq, err = db.check(ctx, a)
	return db, seq, err
}

func (db *database) create(ctx context.Context) error {
	tx, err := db.write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after Commit it does nothing
	if _, err := tx.ExecContext(ctx, schema); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "INSERT INTO state VALUES ('version', ?), ('seq', 0)", version); err != nil {
		return err
	}
	return tx.Commit()
}

// check reads how far the index goes, and whether it is whole and of this archive.
func (db *database) check(ctx context.Context, a archive.Folder) (seq uint64, err error) {
	var is int
	err = db.write.QueryRowContext(ctx, "SELECT value FROM state WHERE name = 'version'").Scan(&is)
	if isSQL(err) || errors.Is(err, sql.ErrNoRows) || err == nil && is != version {
		return 0, errors.Join(errStale, err)
	}
	if err != nil {
		return 0, err
	}
	var verdict string
	if err := db.write.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&verdict); err != nil {
		return 0, err
	}
	if verdict != "ok" {
		return 0, fmt.Errorf("%w: %s", errStale, verdict)
	}
	if err := db.write.QueryRowContext(ctx, "SELECT value FROM state WHERE name = 'seq'").Scan(&seq); err != nil {
		return 0, errors.Join(errStale, err)
	}
	var last row
	var id []byte
	err = db.write.QueryRowContext(ctx, "SELECT seq, id, segment, place FROM record ORDER BY seq DESC LIMIT 1").Scan(&last.seq, &id, &last.segment, &last.place)
	if errors.Is(err, sql.ErrNoRows) && seq == 0 {
		return 0, nil
	}
	if err != nil {
		return 0, errors.Join(errStale, err)
	}
	if last.seq != seq {
		return 0, errStale
	}
	f := a.Fetcher()
	defer f.Close()
	rec, err := f.Record(last.seq, last.segment, last.place)
	switch {
	case errors.Is(err, archive.ErrNotFound), errors.Is(err, fs.ErrNotExist), err == nil && string(rec.ID[:]) != string(id):
		return 0, errors.Join(errStale, err)
	case err != nil:
		return 0, err
	}
	return seq, nil
}

func (db *database) close() error {
	var err error
	if db.read != nil {
		err = db.read.Close()
	}
	if db.write != nil {
		err = errors.Join(err, db.write.Close())
	}
	return err
}

// Remove removes the index from dir. It must not be open.
func Remove(dir string) error {
	var err error
	for _, ext := range []string{"", "-wal", "-shm"} {
		if e := os.Remove(filepath.Join(dir, fileName+ext)); !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return err
}

// Primary result codes of SQLite.
const (
	codeError   = 1
	codeCorrupt = 11
	codeNotADB  = 26
	// codeShort is the extended code of a file that ends before what should be in it.
	codeShort = 522
)

func code(err error) int {
	var e *sqlite.Error
	if errors.As(err, &e) {
		return e.Code() & 0xff
	}
	return 0
}

// isSQL reports a statement that the tables do not suit.
func isSQL(err error) bool { return code(err) == codeError }

// isCorrupt reports a file that must be made again.
func isCorrupt(err error) bool {
	var e *sqlite.Error
	if errors.As(err, &e) && e.Code() == codeShort {
		return true
	}
	return errors.Is(err, errStale) || code(err) == codeCorrupt || code(err) == codeNotADB
}
