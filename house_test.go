package rollcall_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"rollcall/rfc"
)

// files returns the text files of the project, slash-separated and relative to
// the root: all but what is hidden, built, or a test's input.
func files(t *testing.T) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			hidden := p != "." && name[0] == '.' && name != ".ci"
			if hidden || name == "testdata" || p == "bin" {
				return filepath.SkipDir
			}
			return nil
		}
		switch filepath.Ext(name) {
		case ".test", ".prof", ".sum":
			return nil
		}
		built := p == "rollcall" // go build puts it there, git passes over it
		if d.Type().IsRegular() && !built && (name[0] != '.' || name == ".golangci.yml") {
			found = append(found, filepath.ToSlash(p))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// goFiles returns the Go files that `go build ./...` can see.
func goFiles(t *testing.T) []string {
	t.Helper()
	return slices.DeleteFunc(files(t), func(f string) bool {
		return path.Ext(f) != ".go" || strings.HasPrefix(f, ".")
	})
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.FromSlash(file))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestPackageComments: a package opens with doc.go, which says what it is.
func TestPackageComments(t *testing.T) {
	folders := map[string]bool{}
	for _, file := range goFiles(t) {
		folders[path.Dir(file)] = true
	}
	for folder := range folders {
		file := path.Join(folder, "doc.go")
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments|parser.PackageClauseOnly)
		if err != nil {
			t.Errorf("%s: %v", folder, err)
			continue
		}
		want := "Package " + f.Name.Name + " "
		if f.Name.Name == "main" {
			want = "Command " + path.Base(folder) + " "
		}
		if !strings.HasPrefix(f.Doc.Text(), want) {
			t.Errorf("%s: the package comment does not begin with %q", file, want)
		}
	}
}

// TestText holds every file to what may not stand in any: paths of a machine,
// notes to oneself, tests that are passed over. The patterns are written so that
// this file does not match them.
func TestText(t *testing.T) {
	for _, rule := range []struct {
		say     string
		pattern *regexp.Regexp
		only    string // extension, "" is all
	}{
		{"names a path of one machine", regexp.MustCompile(`(^|[^\w.])/(work|root|farm)/`), ""},
		{"is a note to oneself: what is left out stands in doc.go", regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME)\b`), ""},
		{"passes over a test", regexp.MustCompile(`\b[tbf]\.Skip(Now|f)?\(|testing\.Short\(`), ".go"},
	} {
		for _, file := range files(t) {
			if file == "LICENSE" || rule.only != "" && path.Ext(file) != rule.only {
				continue
			}
			text := read(t, file)
			if strings.ContainsRune(text[:min(len(text), 8192)], 0) {
				continue // a binary that somebody built here
			}
			for i, line := range strings.Split(text, "\n") {
				if rule.pattern.MatchString(line) {
					t.Errorf("%s:%d: %s: %.200s", file, i+1, rule.say, strings.TrimSpace(line))
				}
			}
		}
	}
}

// TestCitations: a cited section exists.
func TestCitations(t *testing.T) {
	uses, err := rfc.Walk(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range uses {
		if !rfc.Exists(u.RFC, u.Section) {
			t.Errorf("%s:%d: %s is not in rfc/sections.txt", u.File, u.Line, u.Citation)
		}
	}
	for _, file := range files(t) {
		if path.Ext(file) != ".md" || file == "docs/conformance.md" {
			continue
		}
		for _, paragraph := range strings.Split(read(t, file), "\n\n") {
			for _, c := range rfc.Cited(paragraph) {
				if !rfc.Exists(c.RFC, c.Section) {
					t.Errorf("%s: %s is not in rfc/sections.txt", file, c)
				}
			}
		}
	}
}

func TestConformanceTable(t *testing.T) {
	uses, err := rfc.Walk(".")
	if err != nil {
		t.Fatal(err)
	}
	if read(t, "docs/conformance.md") != rfc.Table(uses) {
		t.Error("docs/conformance.md is not what the source cites: run `make conformance`")
	}
}

// TestMutexes: docs/concurrency.md lists every mutex, and none that is gone.
func TestMutexes(t *testing.T) {
	listed := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(read(t, "docs/concurrency.md"), -1) {
		listed[m[1]] = true
	}
	found := map[string]bool{}
	for _, file := range goFiles(t) {
		if strings.HasSuffix(file, "_test.go") || testOnly(path.Dir(file)) {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, name := range mutexes(f) {
			found[path.Dir(file)+"."+name] = true
		}
	}
	for name := range found {
		if !listed[name] {
			t.Errorf("docs/concurrency.md does not say what `%s` guards", name)
		}
	}
	for name := range listed {
		if !found[name] {
			t.Errorf("docs/concurrency.md lists `%s`, which is not there", name)
		}
	}
}

// mutexes names the mutexes that a file declares: "Type.field", or "variable".
func mutexes(f *ast.File) []string {
	isMutex := func(e ast.Expr) bool {
		switch t := e.(type) {
		case *ast.StarExpr:
			e = t.X
		case *ast.ArrayType:
			e = t.Elt
		}
		sel, ok := e.(*ast.SelectorExpr)
		if !ok {
			return false
		}
		pkg, ok := sel.X.(*ast.Ident)
		return ok && pkg.Name == "sync" && (sel.Sel.Name == "Mutex" || sel.Sel.Name == "RWMutex")
	}
	var names []string
	fields := func(prefix string, e ast.Expr) {
		ast.Inspect(e, func(n ast.Node) bool {
			field, ok := n.(*ast.Field)
			if !ok {
				return true
			}
			if isMutex(field.Type) {
				if len(field.Names) == 0 {
					names = append(names, prefix+"."+embedded(field.Type))
				}
				for _, name := range field.Names {
					names = append(names, prefix+"."+name.Name)
				}
			}
			return true
		})
	}
	for _, decl := range f.Decls {
		gen, ok := decl.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, spec := range gen.Specs {
			switch s := spec.(type) {
			case *ast.TypeSpec:
				fields(s.Name.Name, s.Type)
			case *ast.ValueSpec:
				if s.Type == nil {
					continue
				}
				for _, name := range s.Names {
					if isMutex(s.Type) {
						names = append(names, name.Name)
					} else {
						fields(name.Name, s.Type)
					}
				}
			}
		}
	}
	return names
}

// embedded is the name of a field without a name: that of its type.
func embedded(e ast.Expr) string {
	if star, ok := e.(*ast.StarExpr); ok {
		e = star.X
	}
	return e.(*ast.SelectorExpr).Sel.Name
}

// TestDependencies: every module that deps.txt lets in and the code imports has
// its paragraph.
func TestDependencies(t *testing.T) {
	text := read(t, "docs/dependencies.md")
	r := readRules(t)
	importer := map[string]string{}
	for _, file := range goFiles(t) {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, spec := range f.Imports {
			if module, ok := longest(r.modules, strings.Trim(spec.Path.Value, `"`)); ok {
				importer[module] = file
			}
		}
	}
	for module, file := range importer {
		if !strings.Contains(text, "## "+module+"\n") {
			t.Errorf("%s imports %s, which docs/dependencies.md does not explain", file, module)
		}
	}
}

// TestLinks: a relative link in a page leads somewhere.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	fence := regexp.MustCompile("(?s)```.*?```")
	for _, file := range files(t) {
		if path.Ext(file) != ".md" {
			continue
		}
		for _, m := range link.FindAllStringSubmatch(fence.ReplaceAllString(read(t, file), ""), -1) {
			target, _, _ := strings.Cut(m[1], "#")
			if target == "" || strings.Contains(target, ":") {
				continue
			}
			if _, err := os.Stat(filepath.FromSlash(path.Join(path.Dir(file), target))); err != nil {
				t.Errorf("%s: the link %s leads nowhere", file, m[1])
			}
		}
	}
}

// TestReceiptsFromElsewhere: only the journal on Redis may say that a record is durable
// which the archive did not write.
func TestReceiptsFromElsewhere(t *testing.T) {
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		b, err := os.ReadFile(path)
		if err == nil && strings.Contains(string(b), "DurableElsewhere(") && path != "archive/sealed.go" && !strings.HasPrefix(path, "archive/stream/") {
			t.Errorf("%s makes a receipt by hand", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
