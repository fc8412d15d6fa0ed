package rfc

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Table is docs/conformance.md: for each RFC that the code cites, each cited
// section with the code and the tests that cite it. It names declarations, not
// lines, so that it changes only when a citation does.
func Table(uses []Use) string {
	byRFC := map[int]map[string][]Use{}
	for _, u := range uses {
		if byRFC[u.RFC] == nil {
			byRFC[u.RFC] = map[string][]Use{}
		}
		byRFC[u.RFC][u.Section] = append(byRFC[u.RFC][u.Section], u)
	}
	var b strings.Builder
	b.WriteString(`# Conformance

<!-- Made by "make conformance" from the citations in the source. Do not edit. -->

Which section of which RFC is cited where. A section stands here when the source
names it (` + "`RFC 3261 §10.3`" + `); the code column says where it is carried out or
decided, the tests column what proves it. A section that is missing may still be
followed: only citations are counted. Deviations are noted at the code.

`)
	numbers := make([]int, 0, len(byRFC))
	for n := range byRFC {
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	b.WriteString("| RFC | title | sections cited |\n|---|---|---|\n")
	for _, n := range numbers {
		d, _ := Find(n)
		cited := len(byRFC[n])
		if _, whole := byRFC[n][""]; whole {
			cited--
		}
		fmt.Fprintf(&b, "| [%d](#rfc-%d) | %s | %d of %d |\n", n, n, cell(d.Title), cited, len(d.Sections))
	}
	for _, n := range numbers {
		d, _ := Find(n)
		fmt.Fprintf(&b, "\n## RFC %d\n\n%s\n\n| section | code | tests |\n|---|---|---|\n", n, d.Title)
		keys := make([]string, 0, len(byRFC[n]))
		for s := range byRFC[n] {
			keys = append(keys, s)
		}
		slices.SortFunc(keys, compareSections)
		for _, s := range keys {
			label := "whole"
			if s != "" {
				section, _ := d.Find(s)
				label = "§" + s + " " + cell(section.Title)
			}
			fmt.Fprintf(&b, "| %s | %s | %s |\n", label, places(byRFC[n][s], false), places(byRFC[n][s], true))
		}
	}
	return b.String()
}

// places lists the declarations, each file once.
func places(uses []Use, tests bool) string {
	names := map[string][]string{}
	var files []string
	for _, u := range uses {
		if u.Test != tests {
			continue
		}
		if names[u.File] == nil {
			files = append(files, u.File)
			names[u.File] = []string{}
		}
		if u.Name != "" && !slices.Contains(names[u.File], u.Name) {
			names[u.File] = append(names[u.File], u.Name)
		}
	}
	slices.Sort(files)
	parts := make([]string, 0, len(files))
	for _, f := range files {
		slices.Sort(names[f])
		part := "[" + f + "](../" + f + ")"
		if len(names[f]) > 0 {
			part += ": " + strings.Join(names[f], ", ")
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, "<br>")
}

func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }

// compareSections orders 2 before 10, and appendices last.
func compareSections(a, b string) int {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range min(len(as), len(bs)) {
		x, errX := strconv.Atoi(as[i])
		y, errY := strconv.Atoi(bs[i])
		var c int
		switch {
		case errX == nil && errY == nil:
			c = cmp.Compare(x, y)
		case a == "" || b == "":
			c = cmp.Compare(a, b)
		case errX == nil:
			c = -1
		case errY == nil:
			c = 1
		default:
			c = cmp.Compare(as[i], bs[i])
		}
		if c != 0 {
			return c
		}
	}
	return cmp.Compare(len(as), len(bs))
}
