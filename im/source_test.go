package im_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// place is a call in the source: the folder, the function it stands in and what
// it calls.
type place struct{ folder, function, call string }

// server side folders hold the server; these hold clients and tools, which are
// other programs, and may send what they like.
var clients = []string{"agent", "bench", "integration", "cmd", "sip/siptest"}

// calls walks the source of the module and returns the calls of methods of these
// names, by their selector.
func calls(t *testing.T, names ...string) []place {
	t.Helper()
	var found []place
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		folder := filepath.ToSlash(filepath.Dir(strings.TrimPrefix(path, ".."+string(filepath.Separator))))
		if d.IsDir() {
			rel := filepath.ToSlash(strings.TrimPrefix(path, ".."+string(filepath.Separator)))
			if path != ".." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || slices.Contains(clients, rel)) {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, decl := range f.Decls {
			name := "a variable"
			if fn, ok := decl.(*ast.FuncDecl); ok {
				name = fn.Name.Name
			}
			ast.Inspect(decl, func(n ast.Node) bool {
				// A selector that is not called is a method value, which could be
				// called anywhere: it counts too.
				if sel, ok := n.(*ast.SelectorExpr); ok && slices.Contains(names, sel.Sel.Name) {
					found = append(found, place{folder, name, text(sel)})
				}
				return true
			})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func text(e ast.Expr) string {
	switch x := e.(type) {
	case *ast.SelectorExpr:
		return text(x.X) + "." + x.Sel.Name
	case *ast.Ident:
		return x.Name
	case *ast.CallExpr:
		return text(x.Fun) + "()"
	}
	return "?"
}

// TestOnePlaceToLeave: a MESSAGE leaves the server in one place. Only sendOver
// starts a client transaction, only sendTo calls sendOver, and before it does it
// looks at the receipt. What is sent without a client transaction is answers.
func TestOnePlaceToLeave(t *testing.T) {
	var starts []place
	for _, p := range calls(t, "Request", "Write") {
		// tx.Request() and its like give the request of a server transaction.
		if strings.HasSuffix(p.call, ".Transactions.Request") || strings.HasSuffix(p.call, ".Transactions.Write") || p.folder != "im" && (strings.HasSuffix(p.call, ".tx.Request") && p.folder != "server" || strings.HasSuffix(p.call, "layer.Request") || strings.HasSuffix(p.call, ".tx.Write") || strings.HasSuffix(p.call, "layer.Write")) {
			starts = append(starts, p)
		}
	}
	if want := []place{{"im", "sendOver", "a.r.o.Transactions.Write"}}; !slices.Equal(starts, want) {
		t.Errorf("client transactions start at %v, want %v", starts, want)
	}
	for _, p := range calls(t, "sendOver") {
		if p.folder != "im" || p.function != "sendTo" {
			t.Errorf("sendOver is called by %s in %s", p.function, p.folder)
		}
	}
	for _, p := range calls(t, "AppendForward") {
		if p.folder != "im" || p.function != "Append" {
			t.Errorf("a request to pass on is written by %s in %s", p.function, p.folder)
		}
	}
	// Below, the transaction layer sends what Request and Write were given and what Reply and
	// its like were given; server sends answers without state.
	answers := []string{"faulty", "respond", "stateless"}
	for _, p := range calls(t, "Send") {
		switch {
		case p.folder == "sip/transaction", p.folder == "sip/transport":
		case p.folder == "server" && slices.Contains(answers, p.function):
		default:
			t.Errorf("%s in %s sends past the transaction layer", p.function, p.folder)
		}
	}
	for _, p := range calls(t, "AppendReply") {
		if i := slices.Index(answers, p.function); p.folder == "server" && i >= 0 {
			answers = slices.Delete(answers, i, i+1)
		}
	}
	if len(answers) > 0 {
		t.Errorf("%q in server send something else than answers", answers)
	}
}

// TestSendToLooksAtTheReceiptFirst: the check is the first thing that sendTo
// does.
func TestSendToLooksAtTheReceiptFirst(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "attempt.go", nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	for _, decl := range f.Decls {
		fn, ok := decl.(*ast.FuncDecl)
		if !ok || fn.Name.Name != "sendTo" {
			continue
		}
		check, ok := fn.Body.List[0].(*ast.IfStmt)
		if !ok {
			t.Fatal("sendTo begins with something else")
		}
		not, ok := check.Cond.(*ast.UnaryExpr)
		if !ok || not.Op != token.NOT || text(not.X) != "a.o.receipt.Valid()" {
			t.Fatal("sendTo looks at something else first")
		}
		if call, ok := check.Body.List[0].(*ast.ExprStmt); !ok || text(call.X) != "panic()" {
			t.Fatal("sendTo goes on without a receipt")
		}
		return
	}
	t.Fatal("no sendTo in attempt.go")
}
