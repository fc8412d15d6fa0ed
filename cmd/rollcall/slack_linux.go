package main

import (
	"os"
	"runtime"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// timerSlack is how much later than asked the kernel may end a sleep of a server's
// threads, in nanoseconds; it is 50 µs if nobody says. The monitor thread of Go's
// runtime sleeps 20 µs at a time for a millisecond after each system call that
// blocked, and the journal makes some hundred of those in a second: so it hardly ever
// slept longer, for a thirteenth of a busy server's CPU. Nothing in a server needs to
// sleep so exactly.
const timerSlack = 500_000

// coarseTimers starts a server's process anew, with the same PID, as one that has
// timerSlack: a thread gets it from the one that made it, and the monitor thread is
// made before any code of ours runs. Where that can't be, the server costs more and
// is the same.
func coarseTimers(args []string) {
	if !slices.Contains(args, "serve") && !slices.Contains(args, "dev") {
		return
	}
	runtime.LockOSThread() // prctl and execve are about this one
	defer runtime.UnlockOSThread()
	if slack() >= timerSlack { // the second time, or somebody else said so
		return
	}
	if unix.Prctl(unix.PR_SET_TIMERSLACK, timerSlack, 0, 0, 0) != nil || slack() != timerSlack {
		return
	}
	if path, err := os.Executable(); err == nil {
		_ = syscall.Exec(path, os.Args, os.Environ()) // does not return, unless it can't
	}
}

// slack returns that of this thread in nanoseconds.
func slack() int {
	n, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err != nil {
		return 0
	}
	return n
}
