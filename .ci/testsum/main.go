// Command testsum runs `go test -json` with its own arguments and prints what a
// person wants to read: one line for each package, the output of what failed,
// and a last line that counts. It exits as go test did.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sort"
	"strings"
	"time"
)

// event is one line of `go test -json` (see `go doc test2json`); build output
// and build failures carry ImportPath instead of Package.
type event struct {
	Action     string
	Package    string
	ImportPath string
	Test       string
	Elapsed    float64
	Output     string
}

// counts is what the summary says.
type counts struct {
	passed, failed, skipped int
	failures                []string
}

func main() {
	os.Exit(run(os.Args[1:], os.Stdout))
}

func run(args []string, out io.Writer) int {
	start := time.Now()
	cmd := exec.Command("go", append([]string{"test", "-json"}, args...)...)
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		fmt.Fprintln(os.Stderr, "testsum:", err)
		return 1
	}
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, "testsum:", err)
		return 1
	}
	sum := read(stdout, out)
	code := 0
	if err := cmd.Wait(); err != nil {
		code = 1
		var exit *exec.ExitError
		if errors.As(err, &exit) && exit.ExitCode() > 0 {
			code = exit.ExitCode()
		}
	}
	if code == 0 && sum.failed > 0 {
		code = 1
	}
	if len(sum.failures) > 0 {
		sort.Strings(sum.failures)
		fmt.Fprintln(out, "\nfailed:")
		for _, name := range sum.failures {
			fmt.Fprintln(out, "  "+name)
		}
	}
	if code != 0 && sum.failed == 0 {
		sum.failed = 1 // go test itself failed: never report a clean count
	}
	line := fmt.Sprintf("%d passed, %d failed", sum.passed, sum.failed)
	if sum.skipped > 0 {
		line += fmt.Sprintf(", %d skipped", sum.skipped)
	}
	fmt.Fprintf(out, "\nin %s\n%s\n", time.Since(start).Round(time.Second), line)
	return code
}

// read prints as it goes: the output of a test only when that test failed, the
// output of a package outside any test (a panic, a build error) only when the
// package failed.
func read(in io.Reader, out io.Writer) counts {
	var sum counts
	kept := map[string][]string{} // "package test" → its output
	failedIn := map[string]bool{} // packages with a failing test
	builds := map[string][]string{}
	lines := bufio.NewReaderSize(in, 1<<20)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) != nil {
				fmt.Fprintf(out, "%s", line)
			} else {
				sum.add(e, kept, failedIn, builds, out)
			}
		}
		if err != nil {
			return sum
		}
	}
}

func (sum *counts) add(e event, kept map[string][]string, failedIn map[string]bool, builds map[string][]string, out io.Writer) {
	key := e.Package + " " + e.Test
	switch e.Action {
	case "build-output":
		builds[e.ImportPath] = append(builds[e.ImportPath], e.Output)
		return
	case "build-fail":
		fmt.Fprintf(out, "FAIL  %s does not build\n%s", e.ImportPath, strings.Join(builds[e.ImportPath], ""))
		return
	case "output":
		kept[key] = append(kept[key], e.Output)
		return
	case "pass", "fail", "skip":
	default:
		return
	}
	defer delete(kept, key)
	if e.Test != "" {
		switch e.Action {
		case "pass":
			sum.passed++
		case "skip":
			sum.skipped++
		case "fail":
			sum.failed++
			failedIn[e.Package] = true
			sum.failures = append(sum.failures, key)
			fmt.Fprintf(out, "%s", strings.Join(kept[key], ""))
		}
		return
	}
	switch e.Action {
	case "pass":
		fmt.Fprintf(out, "ok    %-40s %7.1fs\n", e.Package, e.Elapsed)
	case "skip":
		fmt.Fprintf(out, "-     %-40s no tests\n", e.Package)
	case "fail":
		fmt.Fprintf(out, "FAIL  %-40s %7.1fs\n", e.Package, e.Elapsed)
		if failedIn[e.Package] {
			return
		}
		// Nothing in it said it failed: it did not build, panicked or ran out of
		// time. What was still running has its output under its own name.
		sum.failed++
		sum.failures = append(sum.failures, e.Package)
		for k, text := range kept {
			if strings.HasPrefix(k, e.Package+" ") {
				fmt.Fprintf(out, "%s", strings.Join(text, ""))
			}
		}
	}
}
