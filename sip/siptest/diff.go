package siptest

import (
	"fmt"
	"strconv"
	"strings"
)

// Diff shows where two messages differ, line by line, or "" when they are equal.
// Lines begin with "-" when only want has them and with "+" when only got has
// them; what a terminal would not show is escaped.
func Diff[S, T ~string | ~[]byte](want S, got T) string {
	if string(want) == string(got) {
		return ""
	}
	a, b := lines(string(want)), lines(string(got))
	// common[i][j] is the length of the longest common sequence of a[i:], b[j:].
	common := make([][]int, len(a)+1)
	for i := range common {
		common[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	var out strings.Builder
	line := func(mark, s string) { fmt.Fprintf(&out, "%s %s\n", mark, visible(s)) }
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			line(" ", a[i])
			i, j = i+1, j+1
		case j == len(b) || i < len(a) && common[i+1][j] >= common[i][j+1]:
			line("-", a[i])
			i++
		default:
			line("+", b[j])
			j++
		}
	}
	return out.String()
}

// lines splits behind each LF. A regular CRLF is cut off; any other line end
// stays to be seen.
func lines(s string) []string {
	if s == "" {
		return nil
	}
	all := strings.SplitAfter(s, "\n")
	for i, l := range all {
		if cut, ok := strings.CutSuffix(l, "\r\n"); ok {
			all[i] = cut
		} else if i == len(all)-1 {
			all[i] += "\x00end" // told apart from a line that ends with CRLF
		}
	}
	return all
}

// visible escapes control characters.
func visible(s string) string {
	if cut, ok := strings.CutSuffix(s, "\x00end"); ok {
		if cut == "" {
			return "(end)"
		}
		return visible(cut) + " (end)"
	}
	q := strconv.Quote(s)
	return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
}
