package rfc_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rollcall/rfc"
)

func TestCited(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"see RFC 3261 §10.3.", "RFC 3261 §10.3"},
		{"RFC 3261 §7, 19 and 20", "RFC 3261 §7|RFC 3261 §19|RFC 3261 §20"},
		{"RFC 3261\n§10.3", "RFC 3261 §10.3"},
		{"(RFC 5626, 5923, 7118)", "RFC 5626|RFC 5923|RFC 7118"},
		{"RFC 3327 §5.3 and 5626 §4", "RFC 3327 §5.3|RFC 5626 §4"},
		{"RFC 3263 §4.2, 5060 is the port", "RFC 3263 §4.2"},
		{"RFC 3261 §8.2.2.3, 420 with Unsupported", "RFC 3261 §8.2.2.3"},
		{"RFC 3261 section 10.3", "RFC 3261 §10.3"},
		{"Section 4.2 of RFC 4320 says", "RFC 4320 §4.2"},
		{"RFC 3261 says it; §16.6 repeats it", "RFC 3261|RFC 3261 §16.6"},
		{"RFC 3261 and FORMAT.md §3", "RFC 3261"},
		{"§3 of nothing", ""},
		{"RFC 3261.\n\nAnd §3 of something else", "RFC 3261"},
		{"RFC 4475 Appendix A", "RFC 4475 §A"},
		{"RFC 3261 §17.2.2 to 17.2.4", "RFC 3261 §17.2.2|RFC 3261 §17.2.4"},
		{"RFC3261", "RFC 3261"},
		{"§17 with RFC 4320 and 6026", "RFC 4320|RFC 6026"},
	} {
		var got []string
		for _, x := range rfc.Cited(c.text) {
			got = append(got, x.String())
		}
		if g := strings.Join(got, "|"); g != c.want {
			t.Errorf("%q cites %q, want %q", c.text, g, c.want)
		}
	}
}

const source = `// Package p follows RFC 3428.
package p

// T is as RFC 3261 §10.3
// has it, step 7 (§10.2.1).
type T struct{}

// RFC 3903 §4.1
func (t *T[E]) Do() string {
	return "RFC 3261 §21.4.1"
}
`

func TestWalkAndTable(t *testing.T) {
	root := t.TempDir()
	write(t, root, "p/p.go", source)
	write(t, root, "p/p_test.go", "package p\n\n// RFC 3261 §10.3\nfunc TestDo() {}\n")
	write(t, root, "rfc/x.go", "package rfc // RFC 3261 §99\n")
	write(t, root, "p/testdata/x.go", "package x // RFC 3261 §99\n")
	uses, err := rfc.Walk(root)
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for _, u := range uses {
		fmt.Fprintf(&got, "%s:%d %s %q %v\n", u.File, u.Line, u.Citation, u.Name, u.Test)
	}
	want := `p/p.go:1 RFC 3428 "" false
p/p.go:4 RFC 3261 §10.3 "T" false
p/p.go:4 RFC 3261 §10.2.1 "T" false
p/p.go:8 RFC 3903 §4.1 "T.Do" false
p/p.go:10 RFC 3261 §21.4.1 "T.Do" false
p/p_test.go:3 RFC 3261 §10.3 "TestDo" true
`
	if got.String() != want {
		t.Errorf("got:\n%swant:\n%s", got.String(), want)
	}
	table := rfc.Table(uses)
	for _, line := range []string{
		"| §10.3 Processing REGISTER Requests | [p/p.go](../p/p.go): T | [p/p_test.go](../p/p_test.go): TestDo |",
		"| whole | [p/p.go](../p/p.go) |  |",
		"| [3261](#rfc-3261) | SIP: Session Initiation Protocol | 3 of 315 |",
	} {
		if !strings.Contains(table, line+"\n") {
			t.Errorf("the table lacks %q:\n%s", line, table)
		}
	}
	if strings.Index(table, "§10.3") > strings.Index(table, "§21.4.1") {
		t.Error("sections are out of order")
	}
}

func write(t *testing.T, root, name, text string) {
	t.Helper()
	file := filepath.Join(root, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
