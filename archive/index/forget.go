package index

import (
	"context"
	"errors"
	"fmt"
	"time"

	"rollcall/archive"
)

// forgetBatch is how many records lose their text in one transaction.
const forgetBatch = 500

// forget takes the text out of what the archive says is erased, and what was deleted out of the files.
func (db *database) forget(ctx context.Context, a archive.Folder, p pending) error {
	var err error
	switch p.kind {
	case pendingErase:
		err = db.forgetAuthor(ctx, a, p.name)
	case pendingPurge:
		err = db.forgetSegment(ctx, a, archive.Pos{File: p.name}.Segment())
	}
	if err != nil {
		return fmt.Errorf("take what is erased out of the index: %w", err)
	}
	if err := db.emptyLog(ctx); err != nil {
		return err
	}
	_, err = db.write.ExecContext(ctx, "DELETE FROM pending WHERE kind = ? AND name = ?", p.kind, p.name)
	return err
}

func (db *database) forgetAuthor(ctx context.Context, a archive.Folder, author string) error {
	f := a.Fetcher()
	defer f.Close()
	plan, err := db.plan(ctx, &archive.Query{From: []string{author}})
	if err != nil {
		return err
	}
	for seq := uint64(0); ; {
		hits, err := db.page(ctx, plan, seq, forgetBatch)
		if err != nil || len(hits) == 0 {
			return err
		}
		var gone []*archive.Record
		for _, h := range hits {
			seq = h.seq
			rec, err := f.Record(h.seq, h.segment, h.place)
			var fault *archive.Fault
			switch {
			case errors.As(err, &fault): // damaged: nobody can say, so it goes
				rec = &archive.Record{Type: archive.TypeMessage, Seq: h.seq}
			case err != nil:
				return err
			case rec.Content != archive.Erased:
				continue
			}
			gone = append(gone, rec)
		}
		if err := db.erase(ctx, gone); err != nil {
			return err
		}
	}
}

func (db *database) forgetSegment(ctx context.Context, a archive.Folder, segment uint64) error {
	var gone []*archive.Record
	err := a.ScanSegment(segment, func(r *archive.Record) error {
		if r.Content == archive.Erased {
			gone = append(gone, r)
		}
		if len(gone) < forgetBatch {
			return ctx.Err()
		}
		err := db.erase(ctx, gone)
		gone = nil
		return err
	})
	var fault *archive.Fault
	if err != nil && !errors.As(err, &fault) { // what damage is in front of could not be erased either
		return err
	}
	return db.erase(ctx, gone)
}

// erase leaves of records what the archive still has of them.
func (db *database) erase(ctx context.Context, gone []*archive.Record) error {
	if len(gone) == 0 {
		return nil
	}
	tx, err := db.write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after Commit it does nothing
	w := writer{ctx: ctx, tx: tx}
	for _, r := range gone {
		s := w.prepared(fmt.Sprintf("UPDATE record SET ends = ends | %[1]d WHERE seq = ? AND ends & %[1]d = 0", bit(bitErased)))
		if w.err != nil {
			break
		}
		done, err := s.ExecContext(ctx, int64(r.Seq))
		if err != nil {
			return err
		}
		if n, _ := done.RowsAffected(); n == 0 { // not there yet, or without text already
			continue
		}
		w.exec("UPDATE text SET doc = ? WHERE rowid = ?", doc(r), int64(r.Seq))
	}
	if w.err != nil {
		return w.err
	}
	return tx.Commit()
}

// emptyLogTries is how often the log is asked to be empty, while searches read, at intervals of 50 ms.
const emptyLogTries = 600

// emptyLog writes SQLite's log into the file and cuts it off: old pages are in it.
func (db *database) emptyLog(ctx context.Context) error {
	for try := 0; ; try++ {
		var busy, frames, done int
		if err := db.write.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &frames, &done); err != nil {
			return err
		}
		if busy == 0 {
			return nil
		}
		if try == emptyLogTries {
			return errors.New("index: its log stays in use")
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// owed lists what is pending.
func (db *database) owed(ctx context.Context) ([]pending, error) {
	rows, err := db.write.QueryContext(ctx, "SELECT kind, name FROM pending")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []pending
	for rows.Next() {
		var p pending
		if err := rows.Scan(&p.kind, &p.name); err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, rows.Err()
}
