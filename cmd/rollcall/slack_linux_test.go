package main

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// slackOf names in the environment the arguments of a process that tells its PID and
// its timer slack.
const slackOf = "ROLLCALL_TEST_SLACK_OF"

func init() {
	if args, ok := os.LookupEnv(slackOf); ok {
		coarseTimers(strings.Fields(args))
		fmt.Println(os.Getpid(), slack())
		os.Exit(0)
	}
}

// A server's threads have the slack, as a process with the PID that was started; what
// is no server is left alone.
func TestTimerSlack(t *testing.T) {
	usual := slack()
	for args, want := range map[string]int{
		"serve --config x": max(usual, timerSlack),
		"dev":              max(usual, timerSlack),
		"send alice bob":   usual,
		"":                 usual,
	} {
		c := exec.Command(os.Args[0])
		c.Env = append(os.Environ(), slackOf+"="+args)
		out, err := c.Output()
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.TrimSpace(string(out)); got != strconv.Itoa(c.Process.Pid)+" "+strconv.Itoa(want) {
			t.Errorf("%q: PID and slack are %s, want %d %d", args, got, c.Process.Pid, want)
		}
	}
}
