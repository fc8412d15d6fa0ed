package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"

	"rollcall/bench"
)

// share tells how much of the machine was used by programs that are neither
// the servers nor the generator.
type share struct {
	busy, all time.Duration
	ours      time.Duration
}

// takeShare notes the machine's CPU time, and that of this process and its
// descendants, which the servers are.
func takeShare() (share, error) {
	var s share
	data, err := os.ReadFile("/proc/stat")
	if err != nil {
		return s, err
	}
	line, _, _ := bytes.Cut(data, []byte{'\n'})
	fields := bytes.Fields(line)
	if len(fields) < 8 {
		return s, fmt.Errorf("/proc/stat begins with %q", line)
	}
	for i, f := range fields[1:] {
		n, err := strconv.ParseInt(string(f), 10, 64)
		if err != nil {
			return s, fmt.Errorf("/proc/stat: %w", err)
		}
		t := time.Duration(n) * 10 * time.Millisecond
		switch i {
		case 0, 1, 2, 5, 6: // user, nice, system, irq, softirq
			s.busy += t
			s.all += t
		case 3, 4, 7: // idle, iowait, steal
			s.all += t
		}
	}
	s.ours, err = bench.CPUTime([]int{os.Getpid()})
	return s, err
}

// others is the share of the machine's time that others used since s.
func (s share) others() (float64, error) {
	now, err := takeShare()
	if err != nil || now.all <= s.all {
		return 0, err
	}
	used := (now.busy - s.busy) - (now.ours - s.ours)
	return max(0, float64(used)/float64(now.all-s.all)), nil
}
