package server

import (
	"testing"
	"time"

	"rollcall/archive/index"
)

// TestLoadOf: records and SIP messages a second, whichever is more, tell how much there is to do.
func TestLoadOf(t *testing.T) {
	for _, test := range []struct {
		records, received uint64
		time              time.Duration
		want              index.Load
	}{
		{0, 0, 100 * time.Millisecond, index.Quiet},
		{100, 300, 100 * time.Millisecond, index.Quiet},
		{150, 300, 100 * time.Millisecond, index.Loaded},
		{0, 500, 100 * time.Millisecond, index.Loaded},
		{1199, 2400, 100 * time.Millisecond, index.Loaded},
		{1200, 2400, 100 * time.Millisecond, index.Busy},
		{0, 8000, 200 * time.Millisecond, index.Busy},
		{0, 0, 2 * time.Second, index.Loaded},
	} {
		if got := loadOf(test.records, test.received, test.time); got != test.want {
			t.Errorf("%d records and %d SIP messages in %v: load %d, want %d", test.records, test.received, test.time, got, test.want)
		}
	}
}
