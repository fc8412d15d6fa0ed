package rollcall_test

import (
	"regexp"
	"strings"
	"testing"

	"rollcall/config"
)

// A step is one command of a console block with the output shown below it.
type step struct {
	command string
	shown   []string
}

// fenced returns the contents of a page's blocks of one language, in order.
func fenced(page, language string) []string {
	var blocks []string
	for _, m := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```$").FindAllStringSubmatch(page, -1) {
		blocks = append(blocks, m[1])
	}
	return blocks
}

func steps(t *testing.T, page string) []step {
	t.Helper()
	var all []step
	for _, block := range fenced(page, "console") {
		for line := range strings.Lines(block) {
			line = strings.TrimRight(line, "\n")
			if command, ok := strings.CutPrefix(line, "$ "); ok {
				all = append(all, step{command: command})
			} else if len(all) == 0 {
				t.Fatalf("output before the first command: %q", line)
			} else {
				all[len(all)-1].shown = append(all[len(all)-1].shown, line)
			}
		}
	}
	return all
}

// normal replaces what differs from run to run: times, record IDs, addresses,
// spacing.
func normal(line string) string {
	for _, r := range []struct{ pattern, name string }{
		{`\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)?`, "DATE"},
		{`\b\d\d:\d\d:\d\d(\.\d+)?\b`, "TIME"},
		{`\b[0-7][0-9A-HJKMNP-TV-Z]{25}\b`, "ID"},
		{`127\.0\.0\.1:\d+`, "ADDRESS"},
		{`\b(\d+(\.\d+)?(h|ms|µs|m|s))+\b`, "DURATION"},
		{`\s+`, " "},
	} {
		line = regexp.MustCompile(r.pattern).ReplaceAllString(line, r.name)
	}
	return strings.TrimSpace(line)
}

// matches compares output with what a page shows: a line "…" stands for any
// lines, … within a line for any text.
func matches(shown []string, output string) bool {
	var pattern strings.Builder
	pattern.WriteString(`^`)
	for _, line := range shown {
		if line == "…" {
			pattern.WriteString(`(?:[^\n]*\n)*?`)
			continue
		}
		parts := strings.Split(normal(line), "…")
		for i := range parts {
			parts[i] = regexp.QuoteMeta(parts[i])
		}
		pattern.WriteString(strings.Join(parts, `[^\n]*`) + `\n`)
	}
	pattern.WriteString(`$`)
	var got strings.Builder
	for line := range strings.Lines(output) {
		if line = normal(line); line != "" {
			got.WriteString(line + "\n")
		}
	}
	return regexp.MustCompile(pattern.String()).MatchString(got.String())
}

// fields splits a command line at spaces outside double quotes.
func fields(line string) []string {
	var words []string
	for i, part := range strings.Split(line, `"`) {
		if i%2 == 1 {
			words = append(words, part)
		} else {
			words = append(words, strings.Fields(part)...)
		}
	}
	return words
}

// TestConfigurations: every TOML block of README.md and docs/start.md is a good
// configuration.
func TestConfigurations(t *testing.T) {
	for _, page := range []string{"README.md", "docs/start.md"} {
		blocks := fenced(read(t, page), "toml")
		if len(blocks) == 0 {
			t.Errorf("%s has no example", page)
		}
		for i, block := range blocks {
			if _, err := config.Parse("rollcall.toml", []byte(block)); err != nil {
				t.Errorf("%s: example %d: %v", page, i+1, err)
			}
		}
	}
}

func TestMatches(t *testing.T) {
	const id = "01JD3Z4M5N6P7Q8R9S0T1V2W3X"
	for _, c := range []struct {
		shown  string
		output string
		want   bool
	}{
		{"200 OK", "200 OK\n", true},
		{"200 OK", "200 OK\nmore\n", false},
		{"200 OK\n…", "200 OK\nmore\nand more\n", true},
		{"…\nlast", "first\nlast\n", true},
		{"…", "", true},
		{"10:12:01 registered for 1h0m0s", "23:59:59 registered for 59m58s\n", true},
		{id + " 2026-11-02T10:12:09.031Z  hello", "01KBSQ4M5N6P7Q8R9S0T1V2W3X 2027-01-01T00:00:00Z hello\n", true},
		{"…alice…hello…", "a sip:alice@localhost says hello there\n", true},
		{"…alice…hello…", "a sip:bob@localhost says hello there\n", false},
		{"on 127.0.0.1:5060", "on 127.0.0.1:40000\n", true},
	} {
		if got := matches(strings.Split(c.shown, "\n"), c.output); got != c.want {
			t.Errorf("%q against %q: %v, want %v", c.shown, c.output, got, c.want)
		}
	}
}
