package index

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"rollcall/archive"
)

// row is what the index keeps of a record.
type row struct {
	seq, segment uint64
	place        int64
	id           archive.ID
	kind         archive.Type
	at           int64
	ends         int64
	doc          string
}

// batch gathers records for one transaction.
type batch struct {
	rows    []row
	byID    map[archive.ID]int // of the messages in rows
	ends    map[archive.ID]int64
	pending []pending
	last    *archive.Record
}

// pending is an erasure or a purge of which the record tells.
type pending struct{ kind, name string }

// Kinds of pending, which are the actions of the acts that tell of them.
const (
	pendingErase = "erase" // name is an author
	pendingPurge = "purge" // name is the file of a segment
)

func newBatch() *batch {
	return &batch{byID: map[archive.ID]int{}, ends: map[archive.ID]int64{}}
}

func (b *batch) add(r *archive.Record, at archive.Pos) {
	b.last = r
	one := row{seq: r.Seq, segment: at.Segment(), place: at.Offset, id: r.ID, kind: r.Type, at: r.Time().UnixMicro(), doc: doc(r)}
	switch r.Type {
	case archive.TypeMessage:
		b.byID[r.ID] = len(b.rows)
	case archive.TypeOutcome:
		if d := int(r.Disposition); d <= maxEnd {
			one.ends = bit(d)
			b.cite(r.Cites, bit(d))
		}
	case archive.TypeAct:
		if r.Comments() {
			b.cite(r.Cites, bit(bitComment))
		}
		switch {
		case r.Action == pendingErase:
			b.pending = append(b.pending, pending{pendingErase, r.Object})
		case r.Action == archive.ActSegment && r.Reason == pendingPurge:
			b.pending = append(b.pending, pending{pendingPurge, r.Object})
		}
	}
	b.rows = append(b.rows, one)
}

// cite notes what a later record says about a message.
func (b *batch) cite(id archive.ID, bits int64) {
	if i, ok := b.byID[id]; ok {
		b.rows[i].ends |= bits
		return
	}
	b.ends[id] |= bits
}

// commit writes the batch, and that the index has come so far.
func (db *database) commit(ctx context.Context, b *batch, pace *pacer) error {
	if len(b.rows) == 0 {
		return nil
	}
	tx, err := db.write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after Commit it does nothing
	w := writer{ctx: ctx, tx: tx}
	for i := range b.rows {
		w.row(&b.rows[i])
		if i%pieceRecords == pieceRecords-1 {
			pace.end()
		}
	}
	for id, bits := range b.ends {
		w.cited(id, bits)
	}
	for _, p := range b.pending {
		w.exec("INSERT OR IGNORE INTO pending VALUES (?, ?)", p.kind, p.name)
	}
	w.exec("UPDATE state SET value = ? WHERE name = 'seq'", b.rows[len(b.rows)-1].seq)
	w.spans(b.rows)
	if w.err != nil {
		return fmt.Errorf("write index: %w", w.err)
	}
	return tx.Commit()
}

// writer runs the statements of a transaction; after the first error it does nothing.
type writer struct {
	ctx   context.Context
	tx    *sql.Tx
	stmts map[string]*sql.Stmt
	err   error
}

func (w *writer) prepared(query string) *sql.Stmt {
	s := w.stmts[query]
	if s == nil && w.err == nil {
		if w.stmts == nil {
			w.stmts = map[string]*sql.Stmt{}
		}
		s, w.err = w.tx.PrepareContext(w.ctx, query) // closed with the transaction
		w.stmts[query] = s
	}
	return s
}

func (w *writer) exec(query string, args ...any) {
	if s := w.prepared(query); w.err == nil {
		_, w.err = s.ExecContext(w.ctx, args...)
	}
}

func (w *writer) row(r *row) {
	w.exec("INSERT INTO record VALUES (?, ?, ?, ?, ?, ?, ?)", int64(r.seq), r.id[:], int64(r.kind), r.at, int64(r.segment), r.place, r.ends)
	if r.doc != "" {
		w.exec("INSERT INTO text (rowid, doc) VALUES (?, ?)", int64(r.seq), r.doc)
	}
	w.marks(r.seq, r.ends)
}

func (w *writer) marks(seq uint64, bits int64) {
	for n := 0; bits>>n != 0; n++ {
		if bits&bit(n) != 0 && marked(n) {
			w.exec("INSERT OR IGNORE INTO mark VALUES (?, ?)", n, int64(seq))
		}
	}
}

// marked reports whether mark lists the records with a bit. Most messages are delivered: those are found as quickly without it.
func marked(n int) bool { return n != bitErased && n != int(archive.Delivered) }

// cited notes what was said about a message of an earlier batch.
func (w *writer) cited(id archive.ID, bits int64) {
	s := w.prepared("UPDATE record SET ends = ends | ? WHERE id = ? AND type = 1 RETURNING seq")
	if w.err != nil {
		return
	}
	var seq uint64
	switch err := s.QueryRowContext(w.ctx, bits, id[:]).Scan(&seq); {
	case errors.Is(err, sql.ErrNoRows): // about something else, or about a record that cannot be read
	case err != nil:
		w.err = err
	default:
		w.marks(seq, bits)
	}
}

// spans widens the spans of the rows.
func (w *writer) spans(rows []row) {
	for len(rows) > 0 {
		n := spanOf(rows[0].seq)
		earliest, latest := rows[0].at, rows[0].at
		i := 0
		for ; i < len(rows) && spanOf(rows[i].seq) == n; i++ {
			earliest, latest = min(earliest, rows[i].at), max(latest, rows[i].at)
		}
		w.exec("INSERT INTO span VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET earliest = min(earliest, ?2), latest = max(latest, ?3)", int64(n), earliest, latest)
		rows = rows[i:]
	}
}

// rewind takes out the records from seq on: they were not durable and are void.
func (db *database) rewind(ctx context.Context, seq uint64) error {
	tx, err := db.write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after Commit it does nothing
	w := writer{ctx: ctx, tx: tx}
	w.exec("DELETE FROM text WHERE rowid >= ?", int64(seq))
	w.exec("DELETE FROM mark WHERE seq >= ?", int64(seq))
	w.exec("DELETE FROM record WHERE seq >= ?", int64(seq))
	w.exec("UPDATE state SET value = ? WHERE name = 'seq'", int64(seq-1))
	if w.err != nil {
		return w.err
	}
	return tx.Commit()
}
