package transport

import (
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What one batch holds for one peer goes through the kernel's IP layer once where it
// can (UDP_SEGMENT): a run of datagrams of one size, of which the last may be shorter,
// is given as one and parted again below. Behind a proxy or an SBC that is most of
// what leaves.

// sendBatch is how many datagrams are looked at together, and maxRun how many the
// kernel takes as one (UDP_MAX_SEGMENTS).
const (
	sendBatch = 256
	maxRun    = 64
)

// maxSegment is the size up to which datagrams are put together. It is what every
// IPv6 path takes, 1280 bytes, less the headers: larger ones than the path's MTU are refused.
const maxSegment = 1280 - 40 - 8

// segmentsPause is how long nothing is put together after the kernel refused it.
const segmentsPause = time.Minute

// maxSegmented bounds what one run holds, as an IP packet does.
const maxSegmented = 65535 - 40 - 8

// segments says whether the kernel parts what is sent.
func segments(fd int) bool {
	_, err := unix.GetsockoptInt(fd, unix.SOL_UDP, unix.UDP_SEGMENT)
	return err == nil
}

// run is datagrams to one peer, a chain through runs.next.
type run struct {
	remote      netip.AddrPort
	first, last int
	n           int
	size        int // of each, but the last
	bytes       int
	open        bool // for one more
}

// runs are the runs of one batch. Those to one peer are in the order of its
// datagrams.
type runs struct {
	n    int
	list [sendBatch]run
	next [sendBatch]uint8
	of   [sendBatch]uint16 // by peer: 1 + its newest run, unless another peer is in the same place
}

func (r *runs) reset() {
	r.n = 0
	clear(r.of[:])
}

// add takes the i-th datagram of the batch, with join into a run that there is.
func (r *runs) add(i int, m *outMsg, join bool) {
	size := m.to - m.from
	a := m.remote.Addr().As16()
	place := &r.of[(uint(m.remote.Port())+31*uint(a[15])+97*uint(a[14]))%uint(len(r.of))]
	if join && *place > 0 {
		o := &r.list[*place-1]
		if o.open && o.n < maxRun && size <= o.size && o.bytes+size <= maxSegmented && o.remote == m.remote {
			r.next[o.last] = uint8(i)
			o.last = i
			o.n++
			o.bytes += size
			o.open = size == o.size
			return
		}
	}
	r.list[r.n] = run{remote: m.remote, first: i, last: i, n: 1, size: size, bytes: size, open: size <= maxSegment}
	r.n++
	*place = uint16(r.n)
}

// each calls f with the numbers of the datagrams of a run.
func (r *runs) each(o *run, f func(i int)) {
	for i := o.first; ; i = int(r.next[i]) {
		f(i)
		if i == o.last {
			return
		}
	}
}

// segmentSize is the control message that has the kernel part what is sent.
type segmentSize struct {
	hdr  unix.Cmsghdr
	size uint16
	_    [unsafe.Sizeof(uintptr(0)) - 2]byte
}

func (c *segmentSize) set(size int) {
	c.hdr.Level, c.hdr.Type = unix.SOL_UDP, unix.UDP_SEGMENT
	c.hdr.SetLen(unix.CmsgLen(2))
	c.size = uint16(size)
}
