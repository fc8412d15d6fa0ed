package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"rollcall/rfc"
)

func main() {
	file := flag.String("into", filepath.Join("rfc", "sections.txt"), "index to add to")
	indented := flag.Bool("indented", false, "headings are indented, as in some RFCs before 2000")
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: go run ./rfc/extract [-into FILE] [-indented] rfcNNNN.txt…")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(*file, flag.Args(), *indented); err != nil {
		fmt.Fprintln(os.Stderr, "extract:", err)
		os.Exit(1)
	}
}

// run replaces the documents it is given and keeps the others.
func run(file string, names []string, indented bool) error {
	old, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	docs, err := rfc.Parse(string(old))
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		d, err := extract(string(text), indented)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		docs = slices.DeleteFunc(docs, func(o rfc.Document) bool { return o.Number == d.Number })
		docs = append(docs, d)
	}
	slices.SortFunc(docs, func(a, b rfc.Document) int { return a.Number - b.Number })
	return os.WriteFile(file, []byte(rfc.Format(docs)), 0o644)
}

var (
	reNumber   = regexp.MustCompile(`(?m)^Request for Comments: +(\d+)`)
	reSection  = regexp.MustCompile(`^(\d+(?:\.\d+)*)\.?(\s+)(\S.*)$`)
	reTight    = regexp.MustCompile(`^(\d+(?:\.\d+)*)\.([A-Z].*)$`)
	reAppendix = regexp.MustCompile(`^(?:Appendix|APPENDIX|Annex) +([A-Z])[.:]?(\s+(?:-+\s+)?)?(\S.*)?$`)
	reSub      = regexp.MustCompile(`^(?:Appendix )?([A-Z](?:\.\d+)+)\.?(\s+)(\S.*)$`)
	rePageFoot = regexp.MustCompile(`\[Page \d+\]\s*$`)
	rePageHead = regexp.MustCompile(`^RFC \d+ .*\d{4}\s*$`)
	reLetter   = regexp.MustCompile(`^([A-Z])\.?(\s+)(\S.*)$`)
)

// extract finds the headings of an RFC in its plain text: flush left, numbered,
// each the successor of one before, which tells them from numbered lists and
// lines of examples. The table of contents is indented and so is passed over.
func extract(text string, indented bool) (rfc.Document, error) {
	m := reNumber.FindStringSubmatch(text)
	if m == nil {
		return rfc.Document{}, fmt.Errorf("no \"Request for Comments\" line")
	}
	number, err := strconv.Atoi(m[1])
	if err != nil {
		return rfc.Document{}, err
	}
	lines := unpage(text)
	d := rfc.Document{Number: number, Title: title(lines)}
	seen := map[string]bool{}
	for i, line := range lines {
		// An indented heading stands alone between empty lines.
		if indented && i > 0 && i+1 < len(lines) && lines[i-1] == "" && lines[i+1] == "" {
			line = strings.TrimLeft(line, " ")
		}
		no, gap, rest, ok := heading(line, seen)
		if !ok || !follows(no, seen) {
			continue
		}
		seen[no] = true
		indent := len(line) - len(rest)
		// A title that goes on stands under its first word, right below.
		for j := i + 1; rest != "" && j < len(lines) && j < i+3; j++ {
			next := lines[j]
			t := strings.TrimLeft(next, " ")
			if t == "" || len(next)-len(t) != indent || gap == 0 {
				break
			}
			rest += " " + t
		}
		d.Sections = append(d.Sections, rfc.Section{Number: no, Title: strings.TrimSpace(rest)})
	}
	if len(d.Sections) == 0 {
		return rfc.Document{}, fmt.Errorf("no numbered section")
	}
	return d, nil
}

func heading(line string, seen map[string]bool) (no string, gap int, rest string, ok bool) {
	if strings.Contains(line, " . . .") || strings.Contains(line, ".....") {
		return "", 0, "", false // a table of contents that is not indented
	}
	if m := reSection.FindStringSubmatch(line); m != nil {
		return m[1], len(m[2]), m[3], true
	}
	if m := reTight.FindStringSubmatch(line); m != nil { // RFC 3428 has one
		return m[1], 0, m[2], true
	}
	if m := reSub.FindStringSubmatch(line); m != nil && seen[m[1][:1]] {
		return m[1], len(m[2]), m[3], true
	}
	if m := reAppendix.FindStringSubmatch(line); m != nil {
		return m[1], len(m[2]), m[3], true
	}
	// "A Table of Timer Values": only where numbered sections went before.
	if m := reLetter.FindStringSubmatch(line); m != nil && seen["1"] && len(m[2]) > 0 {
		return m[1], len(m[2]), m[3], true
	}
	return "", 0, "", false
}

// follows says whether number no may come next: the first of its level under a
// heading that was seen, or one more than one that was seen; never again.
func follows(no string, seen map[string]bool) bool {
	if seen[no] {
		return false
	}
	head, last := "", no
	if i := strings.LastIndexByte(no, '.'); i >= 0 {
		head, last = no[:i+1], no[i+1:]
		if !seen[no[:i]] {
			return false
		}
	}
	if last >= "A" { // an appendix
		return last == "A" || seen[string(last[0]-1)]
	}
	n, err := strconv.Atoi(last)
	if err != nil {
		return false
	}
	// RFC 3261 and others have no gap; a heading that a tool lost may leave one.
	return n <= 1 || seen[head+strconv.Itoa(n-1)]
}

// unpage drops page breaks with their headers and footers.
func unpage(text string) []string {
	text = strings.TrimPrefix(text, "\ufeff")
	var out []string
	for line := range strings.Lines(text) {
		line = strings.TrimPrefix(strings.TrimRight(line, " \r\n"), "\f")
		if rePageFoot.MatchString(line) || rePageHead.MatchString(line) {
			continue
		}
		out = append(out, line)
	}
	return out
}

// title is the paragraph below the head of the first page.
func title(lines []string) string {
	i := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, "Request for Comments") })
	for i < len(lines) && lines[i] != "" {
		i++
	}
	for i < len(lines) && lines[i] == "" {
		i++
	}
	var words []string
	for ; i < len(lines) && lines[i] != ""; i++ {
		words = append(words, strings.Fields(lines[i])...)
	}
	return strings.Join(words, " ")
}
