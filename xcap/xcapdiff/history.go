package xcapdiff

import (
	"container/list"
	"crypto/sha256"
	"sync"
)

// historyBytes bounds the documents that are kept to make patches from, and
// snapshotBytes is what a snapshot costs besides them.
const (
	historyBytes  = 32 << 20
	snapshotBytes = 1 << 10
)

// history finds the snapshot that a body was made from. The zero value is ready.
type history struct {
	mu      sync.Mutex
	entries map[[sha256.Size]byte]*list.Element // of past
	order   list.List                           // newest first
	bytes   int
}

type past struct {
	key      [sha256.Size]byte
	snapshot *Snapshot
	bytes    int
}

func (h *history) put(body []byte, s *Snapshot) {
	n := snapshotBytes
	for _, d := range s.documents {
		n += len(d.Body)
	}
	key := sha256.Sum256(body)
	h.mu.Lock()
	defer h.mu.Unlock()
	if e := h.entries[key]; e != nil {
		h.order.MoveToFront(e)
		return
	}
	if h.entries == nil {
		h.entries = map[[sha256.Size]byte]*list.Element{}
	}
	h.entries[key] = h.order.PushFront(past{key, s, n})
	h.bytes += n
	for h.bytes > historyBytes && h.order.Len() > 1 {
		old := h.order.Remove(h.order.Back()).(past)
		delete(h.entries, old.key)
		h.bytes -= old.bytes
	}
}

func (h *history) get(body []byte) *Snapshot {
	key := sha256.Sum256(body)
	h.mu.Lock()
	defer h.mu.Unlock()
	if e := h.entries[key]; e != nil {
		return e.Value.(past).snapshot
	}
	return nil
}
