package rfc

import (
	_ "embed"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
)

//go:embed sections.txt
var sections string

// Document is one RFC as the index has it.
type Document struct {
	Number   int
	Title    string
	Sections []Section // in the order of the document, appendices last
}

// Section is one numbered heading. Number is what stands after the § of a
// citation: "10.2.1", or "A.1" in an appendix.
type Section struct {
	Number string
	Title  string
}

// index is made from the embedded text at first use and never changes after.
var index = sync.OnceValue(func() map[int]Document {
	docs, err := Parse(sections)
	if err != nil {
		panic(fmt.Sprintf("rfc: sections.txt: %v", err)) // it is part of the program
	}
	byNumber := make(map[int]Document, len(docs))
	for _, d := range docs {
		byNumber[d.Number] = d
	}
	return byNumber
})

// List returns every document of the index, by number.
func List() []Document {
	docs := make([]Document, 0, len(index()))
	for _, d := range index() {
		docs = append(docs, d)
	}
	slices.SortFunc(docs, func(a, b Document) int { return a.Number - b.Number })
	return docs
}

// Find returns one document; ok is false when the index does not have it.
func Find(number int) (d Document, ok bool) {
	d, ok = index()[number]
	return d, ok
}

// Exists says whether the index has that section of that RFC. The empty section
// stands for the whole document.
func Exists(number int, section string) bool {
	d, ok := Find(number)
	if !ok || section == "" {
		return ok
	}
	_, ok = d.Find(section)
	return ok
}

// Find returns the section with that number.
func (d Document) Find(section string) (Section, bool) {
	i := slices.IndexFunc(d.Sections, func(s Section) bool { return s.Number == section })
	if i < 0 {
		return Section{}, false
	}
	return d.Sections[i], true
}

// Parse reads the format of sections.txt: a line "RFC number title" opens a
// document, an indented line "number title" is a section of it, empty lines and
// lines that begin with # are passed over.
func Parse(text string) ([]Document, error) {
	var docs []Document
	n := 0
	for line := range strings.Lines(text) {
		n++
		trimmed := strings.TrimSpace(line)
		if trimmed == "" || trimmed[0] == '#' {
			continue
		}
		if rest, ok := strings.CutPrefix(trimmed, "RFC "); ok && line[0] == 'R' {
			num, title, _ := strings.Cut(rest, " ")
			number, err := strconv.Atoi(num)
			if err != nil || title == "" {
				return nil, fmt.Errorf("line %d: want \"RFC number title\"", n)
			}
			docs = append(docs, Document{Number: number, Title: title})
			continue
		}
		if len(docs) == 0 {
			return nil, fmt.Errorf("line %d: a section before the first document", n)
		}
		number, title, _ := strings.Cut(trimmed, " ")
		d := &docs[len(docs)-1]
		d.Sections = append(d.Sections, Section{Number: number, Title: title})
	}
	return docs, nil
}

// Format writes what Parse reads.
func Format(docs []Document) string {
	var b strings.Builder
	b.WriteString("# RFCs and their sections: numbers and titles. Made by rfc/extract.\n")
	for _, d := range docs {
		fmt.Fprintf(&b, "\nRFC %d %s\n", d.Number, d.Title)
		for _, s := range d.Sections {
			fmt.Fprintf(&b, "  %s %s\n", s.Number, s.Title)
		}
	}
	return b.String()
}
