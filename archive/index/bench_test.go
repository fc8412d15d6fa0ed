package index_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"rollcall/archive"
)

// benchRecords is how many records a benchmark makes; ROLLCALL_INDEX_RECORDS says otherwise.
func benchRecords(b *testing.B) int {
	text := os.Getenv("ROLLCALL_INDEX_RECORDS")
	if text == "" {
		return 20_000
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		b.Fatal(err)
	}
	return n
}

// word is one of 20,000 words, of which the first are frequent.
func word(r *rand.Rand) string {
	n := int(20_000 * r.Float64() * r.Float64() * r.Float64())
	return fmt.Sprintf("w%x", n)
}

// filled is a record with n records of 1000 people, half of them outcomes.
func filled(b *testing.B, n int) *record {
	v := newRecord(b, 64<<20)
	v.stop()
	r := rand.New(rand.NewPCG(3, 4))
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range n / 2 {
		who := func() string { return fmt.Sprintf("user%d@example.com", int(1000*r.Float64()*r.Float64())) }
		body := make([]string, 15)
		for j := range body {
			body[j] = word(r)
		}
		at = at.Add(20 * time.Second)
		m := message(who(), who(), strings.Join(body, " "))
		m.Received, m.FromUnit, m.ToUnit, m.FromName = at, fmt.Sprintf("unit%d", r.IntN(20)), fmt.Sprintf("unit%d", r.IntN(20)), "A User"
		if r.IntN(500) == 0 {
			m.Flags = "lexicon"
		}
		o := &archive.Record{Type: archive.TypeOutcome, Received: at, From: m.From, To: m.To, Disposition: archive.Delivered, Status: 200, Reason: "OK"}
		if r.IntN(1000) == 0 {
			o.Disposition = archive.Failed
		}
		for {
			err := v.journal.Note(m)
			if err == nil {
				o.Cites = m.ID
				err = v.journal.Note(o)
			}
			if err == nil {
				break
			}
			if !errors.Is(err, archive.ErrBusy) {
				b.Fatal(err)
			}
			time.Sleep(time.Millisecond)
		}
		if i%500 == 0 {
			v.append(&archive.Record{Type: archive.TypeAct, Received: at, Actor: "server", Action: "purge"})
		}
	}
	v.append(&archive.Record{Type: archive.TypeAct, Actor: "server", Action: "end"})
	return v
}

// BenchmarkIndexing makes the index of an archive: records/s, and bytes of the index for each.
func BenchmarkIndexing(b *testing.B) {
	n := benchRecords(b)
	v := filled(b, n)
	for b.Loop() {
		if err := os.RemoveAll(v.dir); err != nil {
			b.Fatal(err)
		}
		start := time.Now()
		v.start()
		v.wait()
		b.ReportMetric(float64(n)/time.Since(start).Seconds(), "records/s")
		v.stop()
	}
	size, err := os.Stat(v.dir + "/index.db")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(size.Size())/float64(n), "bytes/record")
	v.start()
}

// BenchmarkSearch searches for the first 100 records, as the API does, and reports the 99th of 100 times too.
func BenchmarkSearch(b *testing.B) {
	v := filled(b, benchRecords(b))
	v.start()
	v.wait()
	enough := errors.New("enough")
	for _, query := range []string{
		"w10", "w4e10", `"w10 w20"`, "w1 w2 w3", "from:user3 w10", "with:user900", "with:user3 with:user4", "conversation:user3,user4",
		"unit:unit3 w4e10", "after:2026-03-01 before:2026-03-02", "with:user3 after:2026-02-01 w5", "flagged:lexicon", "disposition:failed", "disposition:failed with:user3",
		"with:example.com flagged:lexicon disposition:failed", "disposition:delivered w10", "type:act", "nothing",
	} {
		q, err := archive.ParseQuery(query, nil)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(strings.ReplaceAll(query, " ", "+"), func(b *testing.B) {
			var times []time.Duration
			n := 0
			for b.Loop() {
				n = 0
				start := time.Now()
				err := v.index.Search(context.Background(), q, func(*archive.Record) error {
					if n++; n == 100 {
						return enough
					}
					return nil
				})
				if err != nil && !errors.Is(err, enough) {
					b.Fatal(err)
				}
				times = append(times, time.Since(start))
			}
			slices.Sort(times)
			b.ReportMetric(float64(times[len(times)*99/100])/1e6, "p99-ms")
			b.ReportMetric(float64(n), "records")
		})
	}
}
