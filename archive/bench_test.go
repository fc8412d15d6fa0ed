package archive

import (
	"context"
	"syscall"
	"testing"
	"time"
)

// BenchmarkAppend has 500 callers that append one record after another, each
// of about a SIP MESSAGE's size. cpu-ns/op is the process's CPU time for each
// record, of the callers, the committer and the kernel's part of the writes.
func BenchmarkAppend(b *testing.B) {
	for _, c := range []struct {
		name    string
		noSync  bool
		callers int
	}{{"fsync-1", false, 1}, {"fsync-500", false, 500}, {"nosync-1", true, 1}, {"nosync-500", true, 500}} {
		b.Run(c.name, func(b *testing.B) {
			j := open(b, b.TempDir(), Options{Node: "n1", noSync: c.noSync})
			defer j.Close()
			raw := make([]byte, 600)
			tmpl := message(1)
			copy(raw, tmpl.Raw)
			tmpl.Raw = raw
			done := make(chan error)
			b.ReportAllocs()
			b.ResetTimer()
			before := cpu()
			n := b.N
			for range c.callers {
				share := n / c.callers
				go func() {
					r := *tmpl
					for range share {
						r.ID = ID{}
						if _, err := j.Append(context.Background(), &r); err != nil {
							done <- err
							return
						}
					}
					done <- nil
				}()
			}
			for range c.callers {
				if err := <-done; err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(cpu()-before)/float64(n), "cpu-ns/op")
			s := j.Stats()
			b.ReportMetric(float64(s.Records)/float64(max(s.Syncs, 1)), "records/sync")
			b.ReportMetric(float64(s.Bytes)/float64(max(s.Records, 1)), "bytes/record")
		})
	}
}

func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkEncode measures what a caller does before the lock.
func BenchmarkEncode(b *testing.B) {
	r := message(1)
	r.Raw = make([]byte, 600)
	buf := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if buf, err = appendFrame(buf[:0], r, nil); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkVerify reads an archive of b.N messages and outcomes.
func BenchmarkVerify(b *testing.B) {
	dir := b.TempDir()
	j := open(b, dir, Options{Node: "n1", noSync: true, MaxPending: 1 << 30})
	for i := range b.N {
		m := message(i)
		if err := j.Note(m); err != nil {
			b.Fatal(err)
		}
		if err := j.Note(outcome(m, Delivered)); err != nil {
			b.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	rep, err := at(dir).Verify()
	if err != nil || !rep.OK || rep.Records != uint64(2*b.N) {
		b.Fatalf("%+v %v", rep, err)
	}
	b.ReportMetric(float64(rep.Records)/b.Elapsed().Seconds(), "records/s")
}
