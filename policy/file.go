package policy

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"
)

// file is a policy file as it is written. docs/policy.md explains each key.
type file struct {
	Version    string      `toml:"version"`
	Suspended  []suspended `toml:"suspended"`
	Barriers   []barrier   `toml:"barrier"`
	Domains    []domains   `toml:"domains"`
	Directions []direction `toml:"direction"`
	Clients    []client    `toml:"client"`
	Hours      []hours     `toml:"hours"`
	Rates      []rate      `toml:"rate"`
	Contents   []content   `toml:"content"`
	Lexica     []lexicon   `toml:"lexicon"`

	Disclaimers []disclaimer `toml:"disclaimer"`
}

// scope says whose messages a rule is for: of members of the groups or units.
// Without any it is for all.
type scope struct {
	Groups []string `toml:"groups"`
	Units  []string `toml:"units"`
}

type suspended struct {
	Name     string   `toml:"name"`
	Accounts []string `toml:"accounts"`
}

type barrier struct {
	Name    string   `toml:"name"`
	Between []string `toml:"between"` // two groups
	Except  []string `toml:"except"`  // AORs
}

type domains struct {
	Name  string   `toml:"name"`
	Allow []string `toml:"allow"`
	Block []string `toml:"block"`
	scope
}

type direction struct {
	Name string   `toml:"name"`
	Deny []string `toml:"deny"` // internal, in, out
	scope
}

type client struct {
	Name  string   `toml:"name"`
	Allow []string `toml:"allow"`
	Deny  []string `toml:"deny"`
	scope
}

type hours struct {
	Name string   `toml:"name"`
	Days []string `toml:"days"`
	From string   `toml:"from"`
	To   string   `toml:"to"`
	scope
}

type rate struct {
	Name     string `toml:"name"`
	Messages int    `toml:"messages"`
	Per      string `toml:"per"`
	scope
}

type content struct {
	Name     string   `toml:"name"`
	Allow    []string `toml:"allow"`
	Deny     []string `toml:"deny"`
	MaxBytes int      `toml:"max_bytes"`
	scope
}

type lexicon struct {
	Name     string   `toml:"name"`
	Action   string   `toml:"action"`
	Phrases  []string `toml:"phrases"`
	Patterns []string `toml:"patterns"`
	Near     []near   `toml:"near"`
	Notify   []string `toml:"notify"` // AORs that are told of a hit
	scope
}

type near struct {
	Words  []string `toml:"words"`
	Within int      `toml:"within"`
}

type disclaimer struct {
	Name string `toml:"name"`
	Text string `toml:"text"`
	From string `toml:"from"` // AOR
	To   string `toml:"to"`   // recipient, sender, both
	Per  string `toml:"per"`
	scope
}

// Fault is something wrong with a policy file.
type Fault struct {
	File string
	Line int    // from 1; 0 when it is not known
	Text string // what is wrong, and what to do
}

func (f Fault) Error() string {
	if f.Line == 0 {
		return f.File + ": " + f.Text
	}
	return fmt.Sprintf("%s:%d: %s", f.File, f.Line, f.Text)
}

// Faults are all faults of a file.
type Faults []Fault

func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i := range f {
		lines[i] = f[i].Error()
	}
	return strings.Join(lines, "\n")
}

// Limits of a policy file. A message meets each rule, so they bound its cost.
const (
	maxFile     = 4 << 20
	maxRules    = 2000
	maxPhrases  = 100_000 // of all lexica
	maxPatterns = 200     // of all lexica
	maxPattern  = 1000    // bytes
	maxPhrase   = 50      // words: a text is compared with so many from each of its own
	maxGroups   = 256     // that rules name
	maxNear     = 100     // words between
	maxNotified = 20      // accounts that one lexicon tells
	maxText     = 1000    // bytes of a disclaimer: a datagram takes it
)

// Load reads the rules in a file, for a company as New has it. Times of day
// are in zone. The error is a Faults when the file was read and is not good.
func Load(path string, domains []string, peers map[string]string, zone *time.Location) (*Rules, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read policy: %w", err)
	}
	defer f.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(&limited{f, maxFile}); err != nil {
		return nil, fmt.Errorf("read policy: %w", err)
	}
	return Parse(path, b.Bytes(), domains, peers, zone)
}

// Parse is Load of a file that was read; path names it in faults.
func Parse(path string, text []byte, domains []string, peers map[string]string, zone *time.Location) (*Rules, error) {
	if zone == nil {
		zone = time.UTC
	}
	c := &compiler{path: path, text: text, zone: zone, rules: New(domains, peers), names: map[string]bool{}}
	var f file
	d := toml.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return nil, c.syntax(err)
	}
	c.compile(&f)
	if len(c.faults) > 0 {
		return nil, c.faults
	}
	sum := sha256.Sum256(text)
	r := c.rules
	if r.version = f.Version; r.version != "" {
		r.version += " "
	}
	r.text = string(text)
	r.version += hex.EncodeToString(sum[:6])
	return r, nil
}

// syntax tells where TOML is wrong, or a key is not known.
func (c *compiler) syntax(err error) error {
	var strict *toml.StrictMissingError
	if errors.As(err, &strict) {
		for i := range strict.Errors {
			line, _ := strict.Errors[i].Position()
			c.faults = append(c.faults, Fault{c.path, line, fmt.Sprintf("unknown key %s; docs/policy.md lists the keys", strings.Join(strict.Errors[i].Key(), "."))})
		}
		return c.faults
	}
	var bad *toml.DecodeError
	if errors.As(err, &bad) {
		line, _ := bad.Position()
		return Faults{{c.path, line, strings.TrimPrefix(bad.Error(), "toml: ")}}
	}
	return Faults{{c.path, 0, err.Error()}}
}

var tableLine = regexp.MustCompile(`^\s*\[\[\s*([a-z]+)\s*\]\]`)

// line returns the line of the nth table of a kind, from 0.
func (c *compiler) line(kind string, n int) int {
	line := 0
	for text := range strings.Lines(string(c.text)) {
		line++
		if m := tableLine.FindStringSubmatch(text); m != nil && m[1] == kind {
			if n == 0 {
				return line
			}
			n--
		}
	}
	return 0
}

// limited ends with an error behind a number of bytes.
type limited struct {
	f    *os.File
	left int
}

func (l *limited) Read(p []byte) (int, error) {
	n, err := l.f.Read(p)
	if l.left -= n; l.left < 0 {
		return 0, fmt.Errorf("larger than %d bytes", maxFile)
	}
	return n, err
}
