package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// maxFileBytes is far more than a configuration needs: a device or a log named by mistake is not read to its end.
const maxFileBytes = 1 << 20

// Load reads, completes and validates the file at path. The error is a [Faults] when the file was read but is not
// a good configuration; the Config is nil then.
func Load(path string) (*Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	if len(data) > maxFileBytes {
		return nil, Faults{{File: path, Text: "file is larger than 1 MiB", Fix: "name a rollcall configuration"}}
	}
	return Parse(path, data)
}

// Parse is [Load] of data that is already read; path is the name for faults, and relative paths in the file are
// taken from its folder.
func Parse(path string, data []byte) (*Config, error) {
	c := Default()
	c.Path, c.KeysDir, c.Listen = path, "", nil
	s := scan{file: path, marks: map[string]int{}, arrays: map[string]int{}}
	s.document(data)
	faults := s.faults

	decoder := toml.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	complete := true
	if err := decoder.Decode(c); err != nil {
		var unknown *toml.StrictMissingError
		var bad *toml.DecodeError
		switch {
		case errors.As(err, &unknown):
			for i := range unknown.Errors {
				e := &unknown.Errors[i]
				faults = appendOnLine(faults, decodeFault(path, e, "unknown key"))
			}
		case errors.As(err, &bad):
			complete = false
			faults = appendOnLine(faults, decodeFault(path, bad, strings.TrimPrefix(bad.Error(), "toml: ")))
		default: // of UnmarshalText, without a position; the scan has it
			complete = false
			if len(faults) == 0 {
				faults = Faults{{File: path, Text: err.Error(), Fix: "see docs/config.md"}}
			}
		}
	}
	c.marks = s.marks
	// A file that was decoded in part only has holes that are not its writer's fault.
	if complete && !s.typeFault {
		faults = append(faults, c.Validate()...)
	}
	if len(faults) > 0 {
		faults.sort()
		return nil, faults
	}
	c.complete()
	c.resolve(filepath.Dir(path))
	return c, nil
}

// appendOnLine adds a fault of the decoder unless the scan already said more about that line.
func appendOnLine(faults Faults, f Fault) Faults {
	if slices.ContainsFunc(faults, func(g Fault) bool { return g.Line == f.Line }) {
		return faults
	}
	return append(faults, f)
}

func decodeFault(path string, e *toml.DecodeError, text string) Fault {
	line, _ := e.Position()
	fix := "see docs/config.md"
	if strings.Contains(text, "already") || strings.Contains(text, "duplicate") {
		fix = "a key and a table stand once in a file: keep one of them"
	}
	return Fault{File: path, Line: line, Key: strings.Join(e.Key(), "."), Text: text, Fix: fix}
}

// resolve makes paths absolute, from the folder of the file.
func (c *Config) resolve(dir string) {
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	paths := []*string{&c.DataDir, &c.KeysDir, &c.Policy.File, &c.Store.PasswordFile,
		&c.Archive.TSACAFile, &c.Replica.AccessKeyFile, &c.Replica.SecretKeyFile}
	for i := range c.Listen {
		l := &c.Listen[i]
		paths = append(paths, &l.CertFile, &l.KeyFile, &l.ClientCAFile)
	}
	for i := range c.Peer {
		paths = append(paths, &c.Peer[i].CAFile)
	}
	for _, p := range paths {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
}

// A scan walks the document beside the decoder. The decoder stops at its first type error and knows no lines
// afterwards; the scan finds every unknown key and every wrong type, and the line of each key for Validate.
type scan struct {
	file      string
	faults    Faults
	typeFault bool
	marks     map[string]int
	arrays    map[string]int // path of an array of tables → how many so far
	parser    unstable.Parser
}

func (s *scan) document(data []byte) {
	s.parser.Reset(data)
	root := reflect.TypeFor[Config]()
	table, path := root, ""
	for s.parser.NextExpression() {
		e := s.parser.Expression()
		switch e.Kind {
		case unstable.Table, unstable.ArrayTable:
			table, path = s.table(root, e)
		case unstable.KeyValue:
			s.keyValue(table, path, e)
		}
	}
	// A syntax error ends the scan; the decoder reports it.
}

// table resolves a header. The type is nil when the table is not known: its keys are then passed over, since the
// header has been reported.
func (s *scan) table(t reflect.Type, e *unstable.Node) (reflect.Type, string) {
	path := ""
	it := e.Key()
	for it.Next() {
		n := it.Node()
		name := string(n.Data)
		line := s.line(n)
		ft, ok := field(t, name)
		if !ok {
			s.unknown(t, path, name, line)
			return nil, ""
		}
		path = join(path, name)
		array := ft.Kind() == reflect.Slice && ft.Elem().Kind() == reflect.Struct
		switch {
		case array && e.Kind == unstable.ArrayTable && it.IsLast():
			path = fmt.Sprintf("%s[%d]", path, s.arrays[path])
			s.arrays[strings.TrimSuffix(path, path[strings.LastIndexByte(path, '['):])]++
			t = ft.Elem()
		case !array && isTable(ft) && e.Kind == unstable.Table:
			t = ft
		default:
			fix := "write " + name + " = " + sample(ft)
			if array {
				fix = "write [[" + name + "]]"
			} else if isTable(ft) {
				fix = "write [" + name + "]"
			}
			s.fault(line, path, "wrong kind of table", fix)
			s.typeFault = true
			return nil, ""
		}
		if _, ok := s.marks[path]; !ok {
			s.marks[path] = line
		}
	}
	return t, path
}

func (s *scan) keyValue(t reflect.Type, path string, e *unstable.Node) {
	if t == nil {
		return
	}
	line := 0
	it := e.Key()
	for it.Next() {
		n := it.Node()
		name := string(n.Data)
		line = s.line(n)
		ft, ok := field(t, name)
		if !ok {
			s.unknown(t, path, name, line)
			return
		}
		path = join(path, name)
		s.marks[path] = line
		if !it.IsLast() && !isTable(ft) {
			s.fault(line, path, "is not a table", "write "+name+" = "+sample(ft))
			s.typeFault = true
			return
		}
		t = ft
	}
	s.value(t, path, line, e.Value())
}

func (s *scan) value(t reflect.Type, path string, line int, v *unstable.Node) {
	want := unstable.Invalid
	switch {
	case isTable(t):
		want = unstable.InlineTable
	case t.Kind() == reflect.Slice:
		want = unstable.Array
	case t == reflect.TypeFor[Duration](), t.Kind() == reflect.String:
		want = unstable.String
	case t.Kind() == reflect.Int:
		want = unstable.Integer
	case t.Kind() == reflect.Bool:
		want = unstable.Bool
	}
	if v.Kind != want {
		s.fault(line, path, fmt.Sprintf("is %s, but %s is wanted", article(v.Kind), article(want)),
			"write "+lastName(path)+" = "+sample(t))
		s.typeFault = true
		return
	}
	switch want {
	case unstable.InlineTable:
		for it := v.Children(); it.Next(); {
			if it.Node().Kind == unstable.KeyValue {
				s.keyValue(t, path, it.Node())
			}
		}
	case unstable.Array:
		i := 0
		for it := v.Children(); it.Next(); i++ {
			p := fmt.Sprintf("%s[%d]", path, i)
			s.marks[p] = line
			s.value(t.Elem(), p, line, it.Node())
		}
	case unstable.String:
		if t == reflect.TypeFor[Duration]() {
			var d Duration
			if d.UnmarshalText(v.Data) != nil {
				s.fault(line, path, fmt.Sprintf("%q is not a duration", v.Data), `write a number and a unit (ms, s, m, h), such as "90s" or "1h30m"`)
				s.typeFault = true
			}
		}
	}
}

func (s *scan) line(n *unstable.Node) int { return s.parser.Shape(n.Raw).Start.Line }

func (s *scan) fault(line int, path, text, fix string) {
	s.faults = append(s.faults, Fault{File: s.file, Line: line, Key: display(path), Text: text, Fix: fix})
}

func (s *scan) unknown(t reflect.Type, path, name string, line int) {
	s.fault(line, join(path, name), "unknown key", suggest(t, display(path), name))
}

// field finds the field of a table by its key, exactly as written: the decoder alone would take "Domains" too.
func field(t reflect.Type, name string) (reflect.Type, bool) {
	if t == nil || t.Kind() != reflect.Struct {
		return nil, false
	}
	for f := range t.Fields() {
		if key := f.Tag.Get("toml"); key == name && key != "-" {
			return f.Type, true
		}
	}
	return nil, false
}

func isTable(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && t != reflect.TypeFor[Duration]()
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// display drops the indexes, which are ours: the file has lines instead.
func display(path string) string {
	var b strings.Builder
	for part := range strings.SplitSeq(path, "[") {
		if _, rest, ok := strings.Cut(part, "]"); ok {
			part = rest
		}
		b.WriteString(part)
	}
	return b.String()
}

func lastName(path string) string {
	p := display(path)
	return p[strings.LastIndexByte(p, '.')+1:]
}

func sample(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[Duration]():
		return `"90s", a duration in quotes`
	case isTable(t):
		return "{ … }, or a table of its own"
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.String:
		return `["…"]`
	case t.Kind() == reflect.Slice:
		return "[{ … }], or tables of their own"
	case t.Kind() == reflect.Int:
		return "100, a whole number without quotes"
	case t.Kind() == reflect.Bool:
		return "true or false, without quotes"
	}
	return `"…", text in quotes`
}

func article(k unstable.Kind) string {
	switch k {
	case unstable.String:
		return "text"
	case unstable.Integer:
		return "a whole number"
	case unstable.Bool:
		return "a boolean"
	case unstable.Float:
		return "a number with a fraction"
	case unstable.Array:
		return "a list"
	case unstable.InlineTable:
		return "a table"
	}
	return "a date or time"
}
