package config

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// Fault is one thing that is wrong with a configuration, and what to do about it.
type Fault struct {
	File string // empty for a Config that was made in memory
	Line int    // from 1; 0 when the fault is something that is not there
	Key  string // "registrar.min_expires"; empty when the file as a whole is meant
	Text string // what is wrong
	Fix  string // what to do
}

// Error is the fault on one line: file:line: key: text: fix.
func (f Fault) Error() string {
	var b strings.Builder
	if f.File != "" {
		b.WriteString(f.File)
		if f.Line > 0 {
			b.WriteByte(':')
			b.WriteString(strconv.Itoa(f.Line))
		}
		b.WriteString(": ")
	}
	if f.Key != "" {
		b.WriteString(f.Key)
		b.WriteString(": ")
	}
	b.WriteString(f.Text)
	if f.Fix != "" {
		b.WriteString("; ")
		b.WriteString(f.Fix)
	}
	return b.String()
}

// Faults are all faults of one file, in the order of their lines. A Faults that is returned as an error is not empty.
type Faults []Fault

// Error is one line for each fault.
func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i := range f {
		lines[i] = f[i].Error()
	}
	return strings.Join(lines, "\n")
}

func (f Faults) sort() {
	slices.SortStableFunc(f, func(a, b Fault) int { return cmp.Compare(a.Line, b.Line) })
}
