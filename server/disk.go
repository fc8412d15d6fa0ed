package server

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// A disk that takes slowDisk to make a record durable is told of, once in slowDiskEvery.
const (
	slowDisk      = time.Second
	slowDiskEvery = time.Minute
)

// disk watches how long the disk of the record takes: every message waits for it before it
// is relayed. It is safe for concurrent use.
type disk struct {
	log  *zap.Logger
	took prometheus.Histogram
	told atomic.Int64 // when the log was told last, Unix nanoseconds
}

func newDisk(log *zap.Logger) *disk {
	return &disk{log: log, took: prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "rollcall_archive_sync_seconds", Help: "Time the disk took to make records durable, which all messages of that moment wait for.",
		Buckets: []float64{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10},
	})}
}

// synced is told of each time (archive.Options.Synced).
func (d *disk) synced(took time.Duration) {
	d.took.Observe(took.Seconds())
	if took < slowDisk {
		return
	}
	now, last := time.Now().UnixNano(), d.told.Load()
	if now-last >= int64(slowDiskEvery) && d.told.CompareAndSwap(last, now) {
		d.log.Warn("the disk of the record is slow: messages waited for it",
			zap.Duration("took", took), zap.String("see", "rollcall_archive_sync_seconds of /metrics"))
	}
}
