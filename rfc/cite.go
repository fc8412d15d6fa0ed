package rfc

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Citation names a section of an RFC, or the whole RFC when Section is empty.
type Citation struct {
	RFC     int
	Section string
}

func (c Citation) String() string {
	if c.Section == "" {
		return fmt.Sprintf("RFC %d", c.RFC)
	}
	return fmt.Sprintf("RFC %d §%s", c.RFC, c.Section)
}

const sectionNumber = `((?:\d{1,2}|[A-Z])(?:\.\d+)*)`

var (
	reRFC     = regexp.MustCompile(`^RFCs?[ -]?(\d{3,5})\b`)
	reMark    = regexp.MustCompile(`^ ?(?:§+|[Ss]ections?|[Aa]ppendix) ?` + sectionNumber + `\b`)
	reBare    = regexp.MustCompile(`^§+ ?` + sectionNumber + `\b`)
	reMore    = regexp.MustCompile(`^(?:, ?(?:and )?| and | or | to |–)§? ?(\d{1,2}(?:\.\d+)*)\b`)
	reMoreRFC = regexp.MustCompile(`^(?:, ?(?:and )?| and | or | with )(\d{4})\b`)
	reOf      = regexp.MustCompile(`^[Ss]ection ` + sectionNumber + ` of RFC ?(\d{3,5})\b`)
	reFile    = regexp.MustCompile(`(?:\.md|draft-[a-z0-9-]+) $`)
	reSpace   = regexp.MustCompile(`\s+`)
)

// Cited returns what a text cites, in order. It knows "RFC 3261 §10.3", "RFC
// 3261 §7, 19 and 20", "RFC 5626, 5923", "RFC 3261 section 10.3", "Section 10.3
// of RFC 3261", and a bare "§10.3" after an RFC in the same paragraph, which
// belongs to the one named last unless the name of a file stands before it.
func Cited(text string) []Citation {
	var found []Citation
	for paragraph := range strings.SplitSeq(text, "\n\n") {
		found = append(found, citedIn(reSpace.ReplaceAllString(paragraph, " "))...)
	}
	return found
}

func citedIn(text string) []Citation {
	var found []Citation
	last := 0 // the RFC named last
	for i := 0; i < len(text); {
		rest := text[i:]
		if m := reOf.FindStringSubmatch(rest); m != nil {
			last = atoi(m[2])
			found = append(found, Citation{last, m[1]})
			i += len(m[0])
			continue
		}
		if m := reRFC.FindStringSubmatch(rest); m != nil && !wordBefore(text, i) {
			last = atoi(m[1])
			var n int
			found, last, n = list(found, last, rest[len(m[0]):])
			i += len(m[0]) + n
			continue
		}
		if m := reBare.FindStringSubmatch(rest); m != nil {
			if last != 0 && !reFile.MatchString(text[:i]) {
				found = append(found, Citation{last, m[1]})
				i += len(m[0]) + more(&found, last, rest[len(m[0]):])
				continue
			}
		}
		i++
	}
	return found
}

// list reads what follows an RFC number: its sections, or further RFCs.
func list(found []Citation, number int, rest string) ([]Citation, int, int) {
	n := 0
	for {
		if m := reMark.FindStringSubmatch(rest[n:]); m != nil {
			found = append(found, Citation{number, m[1]})
			n += len(m[0])
			n += more(&found, number, rest[n:])
		} else {
			found = append(found, Citation{number, ""})
		}
		m := reMoreRFC.FindStringSubmatch(rest[n:])
		// A number of four digits after a section is an RFC only with a section
		// of its own: "RFC 3263 §4.2, 5060" is a port.
		if m == nil || (found[len(found)-1].Section != "" && !reMark.MatchString(rest[n+len(m[0]):])) {
			return found, number, n
		}
		number = atoi(m[1])
		n += len(m[0])
	}
}

// more reads further sections of the same RFC: ", 19 and 20".
func more(found *[]Citation, number int, rest string) int {
	n := 0
	for {
		m := reMore.FindStringSubmatch(rest[n:])
		if m == nil {
			return n
		}
		*found = append(*found, Citation{number, m[1]})
		n += len(m[0])
	}
}

func wordBefore(text string, i int) bool {
	return i > 0 && (text[i-1] >= 'a' && text[i-1] <= 'z' || text[i-1] >= 'A' && text[i-1] <= 'Z')
}

func atoi(digits string) int {
	n, err := strconv.Atoi(digits)
	if err != nil {
		panic(err) // the pattern lets only digits through
	}
	return n
}

// Use is a citation and where it stands.
type Use struct {
	Citation
	File string // slash-separated, relative to the root of the module
	Line int
	Name string // the declaration around it: "Registrar.ServeSIP"; empty in a package comment
	Test bool
}

// Walk collects the citations in comments and strings of all Go files below
// root. It passes over folders that go build ignores, testdata, and this
// package, whose tests cite what does not exist.
func Walk(root string) ([]Use, error) {
	var uses []Use
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if rel != "." && (name[0] == '.' || name[0] == '_' || name == "testdata" || rel == "rfc" || rel == "bin") {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(name) != ".go" {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		found, err := inFile(filepath.ToSlash(rel), text)
		if err != nil {
			return err
		}
		uses = append(uses, found...)
		return nil
	})
	return uses, err
}

func inFile(name string, text []byte) ([]Use, error) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	var uses []Use
	add := func(pos token.Pos, text string) {
		for _, c := range Cited(text) {
			uses = append(uses, Use{
				Citation: c, File: name, Line: fset.Position(pos).Line,
				Name: around(file, pos), Test: strings.HasSuffix(name, "_test.go"),
			})
		}
	}
	for _, group := range file.Comments {
		add(group.Pos(), group.Text())
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			if s, err := strconv.Unquote(lit.Value); err == nil {
				add(lit.Pos(), s)
			}
		}
		return true
	})
	slices.SortStableFunc(uses, func(a, b Use) int { return a.Line - b.Line })
	return uses, nil
}

// around names the top-level declaration that holds pos, its doc comment included.
func around(file *ast.File, pos token.Pos) string {
	for _, decl := range file.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if within(pos, d, d.Doc) {
				if d.Recv == nil || len(d.Recv.List) == 0 {
					return d.Name.Name
				}
				return receiver(d.Recv.List[0].Type) + "." + d.Name.Name
			}
		case *ast.GenDecl:
			if !within(pos, d, d.Doc) {
				continue
			}
			if d.Tok != token.TYPE && d.Tok != token.VAR && d.Tok != token.CONST {
				return ""
			}
			for _, spec := range d.Specs {
				if t, ok := spec.(*ast.TypeSpec); ok && (len(d.Specs) == 1 || within(pos, t, t.Doc)) {
					return t.Name.Name
				}
				if v, ok := spec.(*ast.ValueSpec); ok && (len(d.Specs) == 1 || within(pos, v, v.Doc)) {
					return v.Names[0].Name
				}
			}
			return ""
		}
	}
	return ""
}

func within(pos token.Pos, n ast.Node, doc *ast.CommentGroup) bool {
	start := n.Pos()
	if doc != nil {
		start = doc.Pos()
	}
	return start <= pos && pos < n.End()
}

func receiver(t ast.Expr) string {
	switch t := t.(type) {
	case *ast.StarExpr:
		return receiver(t.X)
	case *ast.IndexExpr:
		return receiver(t.X)
	case *ast.IndexListExpr:
		return receiver(t.X)
	case *ast.Ident:
		return t.Name
	}
	return ""
}
