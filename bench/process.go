package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"time"
)

// clockTick is the unit of times in /proc/PID/stat. Linux tells user space
// 100 for each second on every architecture.
const clockTick = 10 * time.Millisecond

// CPUTime returns the user and system time that the processes and all their
// living descendants have used so far. It reads /proc; with no processes it
// returns 0.
func CPUTime(pids []int) (time.Duration, error) {
	if len(pids) == 0 {
		return 0, nil
	}
	var sum time.Duration
	err := eachProcess(pids, func(_ int, s procStat) error {
		sum += time.Duration(s.ticks) * clockTick
		return nil
	})
	return sum, err
}

// Memory returns the bytes of memory that the processes and all their
// descendants hold and that the system cannot take back by dropping pages of
// a file: anonymous pages and shared memory (RssAnon and RssShmem of
// /proc/PID/status). Where the system tells it (Pss_Anon and Pss_Shmem of
// smaps_rollup), a page that several of them share is counted once. With no
// processes it returns 0.
func Memory(pids []int) (uint64, error) {
	if len(pids) == 0 {
		return 0, nil
	}
	var sum uint64
	err := eachProcess(pids, func(pid int, _ procStat) error {
		dir := "/proc/" + strconv.Itoa(pid)
		n, found, err := sumFields(dir+"/smaps_rollup", "Pss_Anon:", "Pss_Shmem:")
		if err != nil || !found {
			n, _, err = sumFields(dir+"/status", "RssAnon:", "RssShmem:")
		}
		sum += n
		return err
	})
	return sum, err
}

// TransactionLife is how long a server remembers a transaction that it has answered, over
// UDP (Timer J, RFC 3261 §17.2.2), and a little more.
const TransactionLife = 34 * time.Second

// SettledMemory returns what [Memory] does after some time, such as
// [TransactionLife], once it has not fallen for ten seconds: a garbage
// collector gives back late. It waits 40 s more at most.
func SettledMemory(ctx context.Context, pids []int, after time.Duration) (uint64, error) {
	const still = 10
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-time.After(after):
	}
	lowest, rest := ^uint64(0), 0
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for range 40 {
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-tick.C:
		}
		now, err := Memory(pids)
		if err != nil {
			return 0, err
		}
		// A page more or less is not a change.
		if now+now/200 < lowest {
			lowest, rest = now, 0
			continue
		}
		if rest++; rest >= still {
			return now, nil
		}
	}
	return Memory(pids)
}

// sumFields adds up fields of a /proc file that are given in kB.
func sumFields(file string, names ...string) (sum uint64, found bool, err error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return 0, false, fmt.Errorf("bench: memory of the server: %w", err)
	}
	for line := range bytes.Lines(data) {
		f := bytes.Fields(line)
		for _, name := range names {
			if len(f) >= 2 && string(f[0]) == name {
				kb, err := strconv.ParseUint(string(f[1]), 10, 64)
				if err != nil {
					return 0, false, fmt.Errorf("bench: memory of the server: %w", err)
				}
				sum += kb << 10
				found = true
			}
		}
	}
	return sum, found, nil
}

// procStat is what is used of /proc/PID/stat.
type procStat struct {
	parent int
	ticks  uint64
}

// eachProcess calls f for the processes and their descendants. That one of
// the named processes is gone is an error; a descendant may go at any time.
func eachProcess(pids []int, f func(pid int, s procStat) error) error {
	all := map[int]procStat{}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return fmt.Errorf("bench: processes of the server: %w", err)
	}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		if s, err := readStat(pid); err == nil {
			all[pid] = s
		}
	}
	wanted := map[int]bool{}
	for _, pid := range pids {
		if _, ok := all[pid]; !ok {
			return fmt.Errorf("bench: no process %d", pid)
		}
		wanted[pid] = true
	}
	for pid, s := range all {
		for p, steps := pid, 0; p > 1 && steps < len(all); p, steps = all[p].parent, steps+1 {
			if !wanted[p] {
				continue
			}
			if err := f(pid, s); err != nil {
				if errors.Is(err, fs.ErrNotExist) && !wanted[pid] {
					break
				}
				return err
			}
			break
		}
	}
	return nil
}

func readStat(pid int) (s procStat, err error) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return s, err
	}
	// The name in parentheses may hold anything, blanks included.
	f := bytes.Fields(data[bytes.LastIndexByte(data, ')')+1:])
	if len(f) < 13 {
		return s, fmt.Errorf("bench: /proc/%d/stat is short", pid)
	}
	s.parent, err = strconv.Atoi(string(f[1]))
	for _, i := range []int{11, 12} {
		n, e := strconv.ParseUint(string(f[i]), 10, 64)
		s.ticks += n
		err = errors.Join(err, e)
	}
	return s, err
}
