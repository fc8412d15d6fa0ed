package policy_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rollcall/policy"
)

// documented returns the example of docs/policy.md.
func documented(t testing.TB) []byte {
	t.Helper()
	text, err := os.ReadFile("../docs/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, ok := strings.Cut(string(text), "```toml policy\n")
	if !ok {
		t.Fatal("no example in docs/policy.md")
	}
	block, _, _ = strings.Cut(block, "```")
	return []byte(block)
}

func parse(t testing.TB, text string) *policy.Rules {
	t.Helper()
	r, err := policy.Parse("policy.toml", []byte(text), []string{"example.com"}, map[string]string{"example.net": "n", "example.org": "o"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

var (
	research = policy.Party{AOR: "sip:rita@example.com", Groups: []string{"other", "research"}}
	trading  = policy.Party{AOR: "sip:tom@example.com", Groups: []string{"trading"}, Unit: "Desk 1"}
	intern   = policy.Party{AOR: "sip:ina@example.com", Groups: []string{"interns"}}
	plain    = policy.Party{AOR: "sip:bob@example.com"}
	officer  = policy.Party{AOR: "sip:compliance@example.com", Groups: []string{"research", "trading"}}
	mallory  = policy.Party{AOR: "sip:mallory@example.com"}
	stranger = policy.Party{AOR: "sip:x@example.org"}
	rival    = policy.Party{AOR: "sip:x@example.net"}

	noon = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC) // a Wednesday
)

func message(from, to policy.Party, body string) *policy.Message {
	domain := func(p policy.Party) string { _, d, _ := strings.Cut(p.AOR, "@"); return d }
	return &policy.Message{From: from, To: to, FromDomain: domain(from), ToDomain: domain(to), UserAgent: "Linphone/5", ContentType: "text/plain; charset=utf-8", Body: body, At: noon}
}

// TestRules runs the documented file.
func TestRules(t *testing.T) {
	rules := parse(t, string(documented(t)))
	if v := rules.Version(); !strings.HasPrefix(v, "2026-11 ") || len(v) != len("2026-11 ")+12 {
		t.Errorf("version %q", v)
	}
	with := func(m *policy.Message, f func(*policy.Message)) *policy.Message { f(m); return m }
	for i, c := range []struct {
		m           *policy.Message
		rule, flags string
		allowed     bool
	}{
		{message(plain, intern, "hello"), "company", "", true},
		{message(mallory, plain, "hello"), "left-in-october", "", false},
		{message(plain, mallory, "hello"), "left-in-october", "", false},
		{message(research, trading, "hello"), "research-trading", "", false},
		{message(trading, research, "hello"), "research-trading", "", false},
		{message(research, plain, "hello"), "company", "", true},
		{message(research, research, "hello"), "company", "", true},
		{message(officer, trading, "hello"), "company", "", true},
		{message(plain, rival, "hello"), "competitors", "", false},
		{message(plain, stranger, "hello"), "peer o", "", true},
		{message(intern, stranger, "hello"), "interns-stay-inside", "", false},
		{message(stranger, intern, "hello"), "interns-stay-inside", "", false},
		{with(message(plain, intern, "hello"), func(m *policy.Message) { m.UserAgent = "Unknown/1" }), "known-clients", "", false},
		{with(message(plain, intern, "hello"), func(m *policy.Message) { m.UserAgent = "" }), "known-clients", "", false},
		{with(message(trading, plain, "hello"), func(m *policy.Message) { m.At = noon.Add(8 * time.Hour) }), "trading-hours", "", false},
		{with(message(trading, plain, "hello"), func(m *policy.Message) { m.At = noon.AddDate(0, 0, 3) }), "trading-hours", "", false},
		{with(message(plain, intern, "hello"), func(m *policy.Message) { m.At = noon.Add(10 * time.Hour) }), "company", "", true},
		{with(message(plain, intern, "hello"), func(m *policy.Message) { m.ContentType = "image/png" }), "text-only", "", false},
		{with(message(plain, intern, "hello"), func(m *policy.Message) { m.ContentType = "" }), "company", "", true},
		{message(plain, intern, strings.Repeat("x", 10001)), "text-only", "", false},
		{message(trading, plain, "Keep THIS, between\r\nus!"), "company", "insider", true},
		{message(plain, trading, "keep this between ushers"), "company", "", true},
		{message(plain, intern, "keep this between us"), "company", "", true}, // not their unit
		{message(trading, plain, "isin DE0007164600 now"), "company", "insider", true},
		{message(trading, plain, "tomorrow we should all go and buy"), "company", "insider", true},
		{message(trading, plain, "tomorrow we should all go there and buy"), "company", "", true},
	} {
		d := rules.Message(c.m)
		if !d.Valid() || d.Rule() != c.rule || d.Flags() != c.flags || (d.Refusal() == nil) != c.allowed || d.Version() != rules.Version() {
			t.Errorf("%d: %s by %s, flags %q; want %s, %q", i, d, d.Rule(), d.Flags(), c.rule, c.flags)
		}
	}
	for i := range 121 {
		if d := rules.Message(message(plain, intern, "x")); (d.Rule() == "flood") != (i >= 120-8) && i > 120 {
			t.Errorf("message %d of a flood: %s", i, d.Rule())
		}
	}
	if d := rules.Message(message(plain, intern, "x")); d.Rule() != "flood" || d.Refusal() == nil {
		t.Errorf("after a flood: %s", d.Rule())
	}
	if d := rules.Message(&policy.Message{From: plain, To: intern, FromDomain: "example.com", ToDomain: "example.com", UserAgent: "baresip", At: noon.Add(time.Minute)}); d.Refusal() != nil {
		t.Errorf("a minute later: %s", d.Rule())
	}
	for _, c := range []struct {
		a, b policy.Party
		want string
	}{{research, trading, "research-trading"}, {trading, research, "research-trading"}, {officer, trading, ""}, {plain, mallory, "left-in-october"}, {plain, trading, ""}, {officer, officer, ""}} {
		if got := rules.Between(c.a, c.b); got != c.want {
			t.Errorf("between %s and %s: %q", c.a.AOR, c.b.AOR, got)
		}
	}
}

// TestFaults: each fault is told with its line, all at once.
func TestFaults(t *testing.T) {
	for text, want := range map[string]string{
		"nonsense = 1":                         "policy.toml:1: unknown key nonsense",
		"[[barrier]]\nname = \"x\"\nbtween=[]": "policy.toml:3: unknown key barrier.btween",
		"[[barrier":                            "policy.toml:1: ",
		"[[barrier]]\nname = \"x\"\nbetween = [\"a\"]":                                                 "policy.toml:1: barrier: x: write between",
		"\n\n[[rate]]\nname = \"x\"\nmessages = 1\nper = \"fortnight\"":                                "policy.toml:3: rate: x: write messages",
		"[[lexicon]]\nname = \"x\"\naction = \"warn\"\nphrases = [\"a\"]":                              `policy.toml:1: lexicon: x: action is "block", "flag" or "notify"`,
		"[[lexicon]]\nname = \"x\"\naction = \"notify\"\nphrases = [\"a\"]":                            `policy.toml:1: lexicon: x: write notify`,
		"[[disclaimer]]\nname = \"x\"":                                                                 "policy.toml:1: disclaimer: x: write text",
		"[[disclaimer]]\nname = \"x\"\ntext = \"y\"\nto = \"all\"":                                     "disclaimer: x: to is",
		"[[disclaimer]]\nname = \"x\"\ntext = \"y\"\nper = \"1s\"":                                     "disclaimer: x: write per",
		"[[disclaimer]]\nname = \"x\"\ntext = \"y\"\nfrom = \"sip:a@example.net\"":                     "no address of the company",
		"[[lexicon]]\nname = \"x\"\naction = \"flag\"\npatterns = ['(']":                               "missing closing )",
		"[[lexicon]]\nname = \"x\"\naction = \"flag\"\npatterns = ['a{1000}{1000}']":                   "x: pattern",
		"[[lexicon]]\nname = \"x\"\naction = \"flag\"\nphrases = ['...']":                              "neither letters nor digits",
		"[[lexicon]]\nname = \"x\"\naction = \"flag\"\nphrases = ['" + strings.Repeat("a ", 51) + "']": "more than 50 words",
		"[[hours]]\nname = \"x\"\nfrom = \"20:00\"\nto = \"07:00\"":                                    "from is not before to",
		"[[client]]\nname = \"x\"\n[[client]]\nname = \"x\"\nallow = [\"a\"]":                          "policy.toml:3: client: name \"x\" stands twice",
		"[[suspended]]\nname = \"a b\"\naccounts = [\"bob\"]":                                          "no address of record",
		"[[content]]\nname = \"x\"\n[[direction]]\nname = \"y\"\ndeny = [\"up\"]":                      "policy.toml:3: direction: y: deny has \"up\"",
	} {
		_, err := policy.Parse("policy.toml", []byte(text), nil, nil, nil)
		var faults policy.Faults
		if !errors.As(err, &faults) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	if _, err := policy.Load(filepath.Join(t.TempDir(), "none"), nil, nil, nil); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// large is a policy of 200 rules with lexica of many phrases.
func large(phrases int) string {
	var b strings.Builder
	for i := range 98 {
		fmt.Fprintf(&b, "[[barrier]]\nname = \"b%d\"\nbetween = [\"g%d\", \"h%d\"]\n", i, i, i)
		fmt.Fprintf(&b, "[[client]]\nname = \"c%d\"\ndeny = [\"Bad%d\"]\n", i, i)
	}
	for l := range 4 {
		fmt.Fprintf(&b, "[[lexicon]]\nname = \"l%d\"\naction = \"flag\"\nphrases = [", l)
		for i := range phrases / 4 {
			fmt.Fprintf(&b, "\"word%d phrase%d of some length\",", l*phrases+i, i)
		}
		b.WriteString("]\n")
	}
	return b.String()
}

// TestSlowPattern: what would hang a backtracking engine is linear here.
func TestSlowPattern(t *testing.T) {
	rules := parse(t, "[[lexicon]]\nname = \"x\"\naction = \"flag\"\npatterns = ['(a+)+$', '(a|aa)+b', '(.*)(.*)(.*)(.*)c']\n")
	if d := rules.Message(message(plain, intern, strings.Repeat("a", 60_000)+"!")); d.Flags() != "" {
		t.Error(d.Flags())
	}
}

func BenchmarkMessage(b *testing.B) {
	rules := parse(b, large(10_000))
	m := message(policy.Party{AOR: plain.AOR, Groups: []string{"g1", "g2"}}, policy.Party{AOR: intern.AOR, Groups: []string{"g5"}},
		"The figures of the last quarter are better than we thought, and nobody outside of the desk knows why.")
	b.ReportAllocs()
	for b.Loop() {
		if d := rules.Message(m); d.Refusal() != nil {
			b.Fatal(d.Rule())
		}
	}
}

// FuzzParse: any file gives rules or faults.
func FuzzParse(f *testing.F) {
	f.Add(documented(f))
	f.Add([]byte("[[lexicon]]\nname='x'\naction='flag'\npatterns=['[']"))
	f.Fuzz(func(t *testing.T, text []byte) {
		rules, err := policy.Parse("p", text, []string{"example.com"}, nil, nil)
		if err == nil {
			rules.Message(message(research, trading, string(text)))
			rules.Between(research, trading)
		}
	})
}

// TestManyPhrases: phrases of many lexica that begin alike are found each for its lexicon, wherever they stand, and their
// number costs no time.
func TestManyPhrases(t *testing.T) {
	var b strings.Builder
	for l := range 30 {
		fmt.Fprintf(&b, "[[lexicon]]\nname = \"l%d\"\naction = \"flag\"\nphrases = [\"the same for all\", \"the\u00a0%d\", ", l, l)
		for i := range 300 {
			fmt.Fprintf(&b, "\"the word %d of %d\",", i, l)
		}
		b.WriteString("]\n")
	}
	rules := parse(t, b.String())
	all := ""
	for l := range 30 {
		all += fmt.Sprintf(" l%d", l)
	}
	for text, want := range map[string]string{
		"The word 7 of 3": "l3", "the word 7, of: 30": "", "Not the WORD 299 of 29!": "l29", "the word 7 of 3 and the word 8 of 2": "l2 l3",
		"the same for all": all[1:], "the same for": "", "the": "", "": "", "the 12": "l12", "the word 7 of the 4": "l4",
	} {
		if d := rules.Message(message(plain, intern, text)); d.Flags() != want {
			t.Errorf("%q: %q, want %q", text, d.Flags(), want)
		}
	}
	rules.Message(message(plain, intern, strings.Repeat("the word the word 7 of ", 3000))) // 65 KB; a second would be too long for the race detector alone
}
