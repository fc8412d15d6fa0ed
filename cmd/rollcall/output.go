package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"
)

// isTerminal reports whether a person looks at w.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// color marks text on a terminal, unless NO_COLOR asks not to (no-color.org).
func (a *app) color(code, text string) string {
	if !isTerminal(a.stdout) || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

const (
	bold  = "1"
	dim   = "2"
	red   = "31"
	green = "32"
)

// table prints rows: columns under a header on a terminal, lines with tabs and no header in a pipe.
func (a *app) table(header []string, rows [][]string) error {
	var b strings.Builder
	if !isTerminal(a.stdout) {
		for _, row := range rows {
			for i, cell := range row {
				if i > 0 {
					b.WriteByte('\t')
				}
				b.WriteString(printable(cell))
			}
			b.WriteByte('\n')
		}
	} else {
		width := make([]int, len(header))
		for _, row := range append([][]string{header}, rows...) {
			for i, cell := range row {
				width[i] = max(width[i], utf8.RuneCountInString(printable(cell)))
			}
		}
		line := func(row []string, code string) {
			for i, cell := range row {
				cell = printable(cell)
				pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell))
				if code != "" {
					cell = a.color(code, cell)
				}
				b.WriteString(cell)
				if i < len(row)-1 {
					b.WriteString(pad + "  ")
				}
			}
			b.WriteByte('\n')
		}
		line(header, bold)
		for _, row := range rows {
			line(row, "")
		}
	}
	_, err := io.WriteString(a.stdout, b.String())
	return err
}

// json prints a value as indented JSON.
func (a *app) json(v any) error {
	e := json.NewEncoder(a.stdout)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// printable keeps text of strangers on its line: what moves a cursor or parts a column is replaced.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r):
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

// say prints a line of a result.
func (a *app) say(format string, args ...any) error {
	_, err := fmt.Fprintf(a.stdout, format+"\n", args...)
	return err
}

// note prints a line beside the result.
func (a *app) note(format string, args ...any) {
	fmt.Fprintf(a.stderr, format+"\n", args...)
}

// bytesText is a size for people.
func bytesText(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	f, i := float64(n), 0
	for f >= 1024 && i < len(units)-1 {
		f, i = f/1024, i+1
	}
	if i == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", f, units[i])
}

// lines prints rows without a header.
func (a *app) lines(rows [][]string) error {
	sep := "\t"
	if isTerminal(a.stdout) {
		sep = "  "
	}
	var b strings.Builder
	for _, row := range rows {
		b.WriteString(strings.Join(row, sep) + "\n")
	}
	_, err := io.WriteString(a.stdout, b.String())
	return err
}
