package rollcall_test

import (
	"fmt"
	"go/parser"
	"go/token"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// rules is deps.txt.
type rules struct {
	layer   map[string]int      // folder → rank, 0 is lowest
	only    map[string][]string // folder of ours → who may import it
	modules map[string][]string // module → folders that may import it
	plain   map[string][]string // folder → the modules it is held to
}

func readRules(t *testing.T) rules {
	t.Helper()
	text, err := os.ReadFile("deps.txt")
	if err != nil {
		t.Fatal(err)
	}
	r := rules{map[string]int{}, map[string][]string{}, map[string][]string{}, map[string][]string{}}
	rank := 0
	for i, line := range strings.Split(string(text), "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		verb, rest, _ := strings.Cut(line, " ")
		name, list, colon := strings.Cut(rest, ":")
		switch {
		case verb == "layer" && !colon:
			for _, folder := range strings.Fields(rest) {
				r.layer[folder] = rank
			}
			rank++
		case verb == "only" && colon:
			r.only[name] = strings.Fields(list)
		case verb == "module" && colon:
			r.modules[name] = strings.Fields(list)
		case verb == "plain" && colon:
			r.plain[name] = strings.Fields(list)
		default:
			t.Fatalf("deps.txt:%d: not understood: %s", i+1, line)
		}
	}
	return r
}

// below says whether folder is prefix or lies in it.
func below(folder, prefix string) bool {
	return folder == prefix || strings.HasPrefix(folder, prefix+"/")
}

// longest returns the longest key that holds name.
func longest[V any](m map[string]V, name string) (key string, ok bool) {
	for k := range m {
		if below(name, k) && len(k) >= len(key) {
			key, ok = k, true
		}
	}
	return key, ok
}

// verdict says what is wrong with one import; "" is nothing.
func (r rules) verdict(folder, imported string, test bool) string {
	first, _, _ := strings.Cut(imported, "/")
	if first == "rollcall" {
		return r.ours(folder, strings.TrimPrefix(strings.TrimPrefix(imported, "rollcall"), "/"), test)
	}
	if !strings.Contains(first, ".") {
		return "" // the standard library
	}
	module, ok := longest(r.modules, imported)
	if !ok {
		return "is of a module that is not in deps.txt"
	}
	if test {
		return ""
	}
	if list, plain := r.plain[folder]; plain && !slices.Contains(list, module) {
		return "does not belong in a folder that deps.txt keeps plain"
	}
	for _, f := range r.modules[module] {
		if f == "*" || below(folder, f) {
			return ""
		}
	}
	return fmt.Sprintf("may be imported from %v only", r.modules[module])
}

func (r rules) ours(folder, target string, test bool) string {
	if test {
		return ""
	}
	if key, ok := longest(r.only, target); ok {
		allowed := below(folder, key)
		for _, f := range r.only[key] {
			allowed = allowed || below(folder, f)
		}
		if !allowed {
			return fmt.Sprintf("may be imported from %v and tests only", r.only[key])
		}
	}
	if folder != target && below(folder, target) {
		return "" // its parent
	}
	me, ok := longest(r.layer, folder)
	if !ok {
		return "is imported by a folder that has no layer in deps.txt"
	}
	it, ok := longest(r.layer, target)
	if !ok {
		return "has no layer in deps.txt"
	}
	if r.layer[it] >= r.layer[me] {
		return "is not of a lower layer"
	}
	return ""
}

func TestImports(t *testing.T) {
	r := readRules(t)
	for _, file := range goFiles(t) {
		folder := path.Dir(file)
		if folder == "." {
			continue
		}
		if _, ok := longest(r.layer, folder); !ok {
			t.Errorf("%s: folder %s has no layer in deps.txt", file, folder)
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, spec := range f.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if imported == "C" {
				t.Errorf("%s: uses cgo", file)
				continue
			}
			if say := r.verdict(folder, imported, strings.HasSuffix(file, "_test.go") || testOnly(folder)); say != "" {
				t.Errorf("%s: %s %s", file, imported, say)
			}
		}
	}
}

// testOnly names the folders that only tests import (storetest, siptest): their
// code is test code.
func testOnly(folder string) bool {
	base := path.Base(folder)
	return strings.HasSuffix(base, "test") || below(folder, "integration")
}

func TestImportRules(t *testing.T) {
	r := readRules(t)
	for _, c := range []struct {
		folder, imported string
		test, ok         bool
	}{
		{"sip", "strings", false, true},
		{"sip", "go.uber.org/zap", false, false},
		{"sip/transport", "go.uber.org/zap", false, true},
		{"sip/transport", "rollcall/sip", false, true},
		{"sip", "rollcall/sip/transport", false, false},
		{"sip/digest", "rollcall/sip/transport", false, false},
		{"im", "rollcall/registrar", false, true},
		{"registrar", "rollcall/im", false, false},
		{"im", "rollcall/proxy", false, false},
		{"im", "rollcall/config", false, false},
		{"server", "rollcall/config", false, true},
		{"cmd/rollcall", "rollcall/config", false, true},
		{"im", "rollcall/config", true, true},
		{"im", "github.com/redis/go-redis/v9", false, false},
		{"store/redis", "github.com/redis/go-redis/v9", false, true},
		{"im", "github.com/emiago/sipgo/sip", false, false},
		{"im", "github.com/emiago/sipgo/sip", true, true},
		{"agent", "github.com/emiago/sipgo/sip", false, true},
		{"archive", "github.com/redis/go-redis/v9", false, false},
		{"archive", "golang.org/x/mod/sumdb/tlog", false, true},
		{"store", "rollcall/archive", false, false},
		{"server", "example.org/else", true, false},
		{"registrar/reginfo", "rollcall/event", false, true},
		{"registrar", "rollcall/event", false, false},
		{"bench/compare", "rollcall/bench", false, true},
		{"server", "rollcall/store/storetest", false, false},
	} {
		if say := r.verdict(c.folder, c.imported, c.test); (say == "") != c.ok {
			t.Errorf("%s imports %s (test %v): verdict %q, want ok %v", c.folder, c.imported, c.test, say, c.ok)
		}
	}
}
