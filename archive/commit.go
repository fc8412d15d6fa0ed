package archive

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"os"
	"syscall"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

const (
	// roomBytes of zeros are written behind the record when less than roomLeast of the
	// last ones are left. A commit then changes bytes that the file has already: its
	// length and where it lies stay as they are, and the file system has nothing of its
	// own to make durable with them, which would be another write to wait for.
	roomBytes = 1 << 20
	roomLeast = 256 << 10
	// startWriting is SYNC_FILE_RANGE_WRITE of sync_file_range(2).
	startWriting = 2
	// noteDelay is how long a note that was written waits for the sync of
	// a commit that is needed anyway.
	noteDelay = 2 * time.Millisecond
	// restTime is the least time from one commit to the next, and gatherTime that
	// under load. A disk that is quicker would be asked more often than anybody
	// needs, and each time costs processor time, 0.3 ms and more on a virtual
	// machine. A message that comes after a rest waits for the disk alone. gatherFrom
	// is how many must have waited for a commit for this to count as load, and
	// loadLasts for how many commits it counts.
	restTime   = time.Millisecond
	gatherTime = 2 * time.Millisecond
	gatherFrom = 16
	loadLasts  = 8
	// spareBuffers are kept for the next batches.
	spareBuffers = 3
)

// segment is the file that the committer appends to.
type segment struct {
	f      *os.File
	name   string
	header header
	seed   uint32 // of its CRCs
	off    int64  // behind the last byte written
	crc    uint32
	sum    hash.Hash // SHA-256 of all before off
	room   int64     // up to here the file has bytes: zeros behind the last written

	// What a commit made durable.
	durable    int64 // 0 until the header is
	durableCRC uint32
	durableSum [sha256.Size]byte
	durableSeq uint64
}

// run is the committer. It owns the segment and the sequence.
func (j *Journal) run() {
	defer close(j.stopped)
	timer, sign := time.NewTimer(time.Hour), time.NewTimer(time.Hour)
	timer.Stop()
	sign.Stop()
	armed, signing := false, false
	for {
		if due := j.o.Signers != nil && j.tree.size > j.signed; due != signing {
			if signing = due; signing {
				sign.Reset(checkpointEvery - time.Since(j.checkpointed))
			} else {
				sign.Stop()
			}
		}
		if waiting := len(j.unsynced) > 0; waiting != armed {
			if armed = waiting; armed {
				timer.Reset(noteDelay)
			} else {
				timer.Stop()
			}
		}
		select {
		case <-j.wake:
		case <-timer.C:
			armed = false
			j.syncNotes()
		case <-sign.C:
			signing = false
			j.signDue()
		}
		for {
			j.gatherMore()
			b, closing := j.take()
			if b != nil {
				j.commit(b)
				if time.Since(j.checkpointed) >= checkpointEvery { // no timer is looked at under load
					j.signDue()
				}
				continue
			}
			if closing {
				j.finish()
				return
			}
			break
		}
	}
}

// gatherMore waits until restTime after the last commit began, or gatherTime if one of
// the last ones was for many: what comes together goes on together, so a large batch
// is followed by small ones. A full batch does not wait.
func (j *Journal) gatherMore() {
	least := restTime
	if j.loaded > 0 {
		least = gatherTime
	}
	rest := least - time.Since(j.lastCommit)
	if rest <= 0 {
		return
	}
	j.mu.Lock()
	full := len(j.queue) > 0 || j.closing
	j.mu.Unlock()
	if !full {
		time.Sleep(rest)
	}
}

// take returns the oldest batch, or nil when none waits.
func (j *Journal) take() (b *batch, closing bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case len(j.queue) > 0:
		b = j.queue[0]
		j.queue = j.queue[1:]
	case j.cur != nil:
		b, j.cur = j.cur, nil
	}
	if b != nil {
		j.expected = len(b.calls)
	}
	return b, j.closing
}

// commit writes b and, if anybody waits, makes it and all before it durable.
func (j *Journal) commit(b *batch) {
	j.lastCommit = time.Now()
	if b.waiters >= gatherFrom {
		j.loaded = loadLasts
	} else if j.loaded > 0 {
		j.loaded--
	}
	if err := j.write(b); err != nil {
		j.fail(err, b)
		return
	}
	j.unsynced = append(j.unsynced, b)
	if b.waiters == 0 && !b.probe {
		return // notes go out with the next sync
	}
	if err := j.sync(); err != nil {
		j.fail(err)
		return
	}
	j.makeRoom()
	if j.seg.off >= j.o.SegmentBytes {
		j.signDue() // each segment ends with a checkpoint over all its records
		if j.seg == nil {
			return
		}
		if err := j.rotate(); err != nil {
			j.fail(err)
		}
	}
}

// signDue makes a checkpoint, if there is anything new to state.
func (j *Journal) signDue() {
	if j.o.Signers == nil {
		return
	}
	j.mu.Lock()
	failed := j.failed != nil
	j.mu.Unlock()
	if failed { // only a probe tries the disk then
		j.checkpointed = time.Now()
		return
	}
	if err := j.checkpoint(); err != nil {
		j.fail(err)
	}
}

func (j *Journal) syncNotes() {
	if len(j.unsynced) == 0 {
		return
	}
	if err := j.sync(); err != nil {
		j.fail(err)
	}
}

// write stamps the frames of b and writes them behind the last.
func (j *Journal) write(b *batch) error {
	if j.seg == nil {
		if err := j.create(); err != nil {
			return err
		}
	}
	s := j.seg
	// The clock may jump; the archive's time stands still then.
	j.lastArchived = max(j.lastArchived, nowMicros())
	b.archived, b.firstSeq = j.lastArchived, j.nextSeq
	b.leaves = make([]tlog.Hash, 0, b.records)
	for at, i := 0, uint64(0); at < len(b.buf); i++ {
		f := b.buf[at : at+frameSize(b.buf[at:])]
		word := uint32(len(f) - frameHead)
		if at == 0 && s.off == s.durable {
			word |= flagFence
		}
		binary.LittleEndian.PutUint32(f, word)
		binary.LittleEndian.PutUint64(f[frameHead+atSeq:], b.firstSeq+i)
		binary.LittleEndian.PutUint64(f[frameHead+atArchived:], uint64(b.archived))
		sealFrame(f, s.seed)
		at += len(f)
		h, buf, err := leafHash(j.leaf, f[frameHead:])
		if err != nil {
			return err
		}
		j.leaf, b.leaves = buf, append(b.leaves, h)
	}
	if err := j.put(b.buf); err != nil {
		return err
	}
	j.nextSeq += uint64(b.records)
	return nil
}

// put appends bytes to the segment.
func (j *Journal) put(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	if err := j.hook(OpWrite, len(b)); err != nil {
		return err
	}
	s := j.seg
	if _, err := s.f.WriteAt(b, s.off); err != nil {
		return fmt.Errorf("write %s: %w", s.name, err)
	}
	j.writes.Add(1)
	s.crc = crc32.Update(s.crc, castagnoli, b)
	_, _ = s.sum.Write(b) // a hash never returns an error
	s.off += int64(len(b))
	s.room = max(s.room, s.off)
	return nil
}

// makeRoom writes zeros behind the record if few are left, and has the disk begin
// with them: it is done with that when the next commit comes. Where there is no room
// for so much the write of the records decides.
func (j *Journal) makeRoom() {
	s := j.seg
	if s.room-s.off >= roomLeast {
		return
	}
	from, to := s.room, min(s.off+roomBytes, j.o.SegmentBytes)
	if to <= from {
		return
	}
	n, _ := s.f.WriteAt(zeros[:to-from], from)
	if n == 0 { // to sync_file_range that would be the whole file
		return
	}
	s.room += int64(n)
	_ = syscall.SyncFileRange(int(s.f.Fd()), from, int64(n), startWriting)
}

// zeros is never written to, so it takes no memory.
var zeros [roomBytes]byte

// sync makes durable what was written, and acknowledges it.
func (j *Journal) sync() error {
	began := time.Now()
	if j.o.Keys != nil { // no record without the key to it
		if err := j.o.Keys.Sync(); err != nil {
			return fmt.Errorf("make keys durable: %w", err)
		}
	}
	if err := j.datasync(began); err != nil {
		return err
	}
	s := j.seg
	s.durable, s.durableCRC, s.durableSeq = s.off, s.crc, j.nextSeq-1
	s.sum.Sum(s.durableSum[:0])
	j.seq.Store(s.durableSeq)
	var probe bool
	var bytes int
	for _, b := range j.unsynced {
		for _, h := range b.leaves {
			j.tree.add(h)
		}
		j.records.Add(uint64(b.records))
		bytes += len(b.buf)
		probe = probe || b.probe
	}
	j.bytes.Add(uint64(bytes))
	j.mu.Lock()
	j.pending -= bytes
	for _, b := range j.unsynced {
		if len(j.spare) < spareBuffers && cap(b.buf) <= 2*j.o.MaxBatchBytes {
			j.spare = append(j.spare, b.buf[:0])
		}
	}
	if probe {
		j.failed, j.probing = nil, false
		if len(j.backlog) > 0 { // came during the probe; before all that comes now
			j.gather(0)
		}
	}
	j.mu.Unlock()
	if probe {
		j.event(Event{What: "journal works again", File: s.name})
	}
	for i, b := range j.unsynced {
		j.acknowledge(b)
		j.unsynced[i] = nil
	}
	j.unsynced = j.unsynced[:0]
	return nil
}

// create makes the next segment and writes its header, which the first
// commit makes durable.
func (j *Journal) create() error {
	if err := j.hook(OpCreate, 0); err != nil {
		return err
	}
	name := segmentName(j.number)
	path := segmentPath(j.dir, j.number)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) && j.leftover == j.number {
		if err = os.Remove(path); err == nil {
			f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		}
	}
	if err != nil {
		return fmt.Errorf("create segment: %w", err)
	}
	now := nowMicros()
	s := &segment{f: f, name: name, sum: sha256.New(), durableSeq: j.nextSeq - 1, header: header{
		node: j.o.Node, number: j.number, firstSeq: j.nextSeq,
		created: max(now, j.lastArchived), notBefore: j.lastArchived, prev: j.prev,
	}}
	_, _ = rand.Read(s.header.id[:]) // crypto/rand.Read never returns an error
	s.seed = seedOf(s.header.id)
	j.seg = s
	if err := j.put(s.header.encode()); err != nil {
		return err
	}
	if err := j.datasync(time.Now()); err != nil {
		return err
	}
	if err := j.syncFolder(); err != nil {
		return err
	}
	s.durable, s.durableCRC = s.off, s.crc
	s.sum.Sum(s.durableSum[:0])
	if j.o.Began != nil {
		j.o.Began()
	}
	return nil
}

// rotate finishes the segment; the next commit begins another.
func (j *Journal) rotate() error {
	s := j.seg
	e := end{id: s.header.id, records: s.durableSeq + 1 - s.header.firstSeq, offset: s.off, crc: s.crc}
	if err := j.put(e.encode()); err != nil {
		return err
	}
	if err := s.f.Truncate(s.off); err != nil {
		return fmt.Errorf("cut %s to its length: %w", s.name, err)
	}
	if err := j.datasync(time.Now()); err != nil {
		return err
	}
	j.prev = link{id: s.header.id, length: s.off, crc: s.crc}
	j.number++
	j.seg = nil
	if err := s.f.Close(); err != nil { // it is durable already
		j.event(Event{What: "close of segment failed", File: s.name, Err: err})
	}
	return nil
}

// fail gives up the segment after an error of the disk. What is not durable
// is cut off and refused; after a failed sync nobody knows what a second one
// of the same file would mean, so the journal goes on in a fresh segment,
// whose header says where this one ends.
func (j *Journal) fail(cause error, more ...*batch) {
	file := ""
	if s := j.seg; s != nil {
		file = s.name
		if s.durable == 0 {
			if err := os.Remove(segmentPath(j.dir, j.number)); err != nil {
				j.leftover = j.number
			}
		} else {
			// Best effort: the next header declares the rest void anyhow.
			_ = s.f.Truncate(s.durable)
			j.prev = link{id: s.header.id, length: s.durable, crc: s.durableCRC}
			j.number++
		}
		_ = s.f.Close()
		j.nextSeq = s.durableSeq + 1
		j.seg = nil
	}
	lost := append(j.unsynced, more...)
	j.unsynced = nil

	j.mu.Lock()
	again := j.failed != nil
	lost = append(lost, j.queue...)
	j.queue = nil
	if j.cur != nil {
		lost = append(lost, j.cur)
		j.cur = nil
	}
	err := fmt.Errorf("%w: %w", ErrUnavailable, cause)
	j.failed, j.probing, j.probedAt = err, false, time.Now()
	for _, b := range lost {
		j.pending -= len(b.buf)
		for _, at := range b.notes {
			f := b.buf[at : at+frameSize(b.buf[at:])]
			j.backlog = append(j.backlog, f...)
			j.pending += len(f)
		}
		b.err = err
	}
	j.mu.Unlock()
	if !again {
		j.failures.Add(1)
		j.event(Event{What: "journal failed", File: file, Err: cause})
	}
	for _, b := range lost {
		j.acknowledge(b)
	}
}

// finish is the committer's last act.
func (j *Journal) finish() {
	j.syncNotes()
	j.signDue()
	if j.seg != nil {
		if err := j.rotate(); err != nil {
			j.closeErr = fmt.Errorf("finish segment: %w", err)
			j.fail(err)
		}
	}
	j.tiles.close()
	j.mu.Lock()
	if len(j.backlog) > 0 {
		j.closeErr = fmt.Errorf("%d bytes of notes not written: %w", len(j.backlog), j.failed)
	}
	j.mu.Unlock()
}

func (j *Journal) hook(op Op, bytes int) error {
	if j.o.Hook == nil {
		return nil
	}
	return j.o.Hook(op, bytes)
}

// datasync makes the bytes of the segment durable, and the length it has. Began is when
// that was begun with, the keys to them included.
func (j *Journal) datasync(began time.Time) error {
	if j.o.Synced != nil {
		defer func() { j.o.Synced(time.Since(began)) }()
	}
	if err := j.hook(OpSync, 0); err != nil {
		return err
	}
	j.syncs.Add(1)
	if j.o.noSync {
		return nil
	}
	for {
		err := syscall.Fdatasync(int(j.seg.f.Fd()))
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, syscall.EINTR):
			return fmt.Errorf("sync %s: %w", j.seg.name, err)
		}
	}
}

// syncFolder makes the names of the segments durable.
func (j *Journal) syncFolder() error {
	if j.o.noSync {
		return nil
	}
	if err := j.dirf.Sync(); err != nil {
		return fmt.Errorf("sync archive folder: %w", err)
	}
	return nil
}

// frameSize is the whole size of the frame that b begins with.
func frameSize(b []byte) int { return int(binary.LittleEndian.Uint32(b)&lengthMask) + frameHead }

func seqOf(f []byte) uint64 { return binary.LittleEndian.Uint64(f[frameHead+atSeq:]) }

func archivedOf(f []byte) int64 { return int64(binary.LittleEndian.Uint64(f[frameHead+atArchived:])) }
