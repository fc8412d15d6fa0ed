package config

import (
	_ "embed"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"strconv"
	"strings"
	"sync"
)

// The comments of the struct are the manual, so the source goes into the binary: `init` writes them too.
//
//go:embed config.go
var source []byte

// Table is one table of the file as the manual describes it. The first has an empty name: the top of the file.
type Table struct {
	Name  string // "registrar"
	Array bool   // [[listen]] rather than [registrar]
	Text  string
	Keys  []Key
}

// Key is one key of a table as the manual describes it.
type Key struct {
	Name    string
	Text    string // what it does, a paragraph
	Type    string // "text", "list of text", "duration", "number", "boolean"
	Unit    string // of a number
	Default string // as it is written in TOML; empty when there is none
	Example string // as it is written in TOML; empty when the default shows it
	Reload  bool   // whether SIGHUP applies a changed value; otherwise a restart does
}

// Reference returns the manual of the configuration, table by table, in the order of the file.
func Reference() []Table { return reference() }

var reference = sync.OnceValue(func() []Table {
	comments := fieldComments()
	def := Default()
	def.KeysDir, def.Listen = "", nil // derived, and explained in their comments
	root := reflect.TypeFor[Config]()
	tables := []Table{{}}
	for i := range root.NumField() {
		f := root.Field(i)
		name := f.Tag.Get("toml")
		if name == "" || name == "-" {
			continue
		}
		array := f.Type.Kind() == reflect.Slice && f.Type.Elem().Kind() == reflect.Struct
		if !array && !isTable(f.Type) {
			tables[0].Keys = append(tables[0].Keys, keyOf(f, comments["Config."+f.Name], reflect.ValueOf(def).Elem().Field(i)))
			continue
		}
		t := Table{Name: name, Array: array, Text: comments["Config."+f.Name]}
		ft, value := f.Type, reflect.ValueOf(def).Elem().Field(i)
		if array {
			ft = ft.Elem()
			value = reflect.Zero(ft)
		}
		for j := range ft.NumField() {
			k := keyOf(ft.Field(j), comments[ft.Name()+"."+ft.Field(j).Name], value.Field(j))
			if array {
				k.Default = "" // an array starts empty; its comments say what an absent key means
			}
			t.Keys = append(t.Keys, k)
		}
		tables = append(tables, t)
	}
	return tables
})

func keyOf(f reflect.StructField, text string, def reflect.Value) Key {
	k := Key{Name: f.Tag.Get("toml"), Text: text, Unit: f.Tag.Get("unit"), Example: f.Tag.Get("example"), Reload: f.Tag.Get("reload") == "yes"}
	switch {
	case f.Type == reflect.TypeFor[Duration]():
		k.Type = "duration"
	case f.Type.Kind() == reflect.Slice:
		k.Type = "list of text"
	case f.Type.Kind() == reflect.Int:
		k.Type = "number"
	case f.Type.Kind() == reflect.Bool:
		k.Type = "boolean"
	default:
		k.Type = "text"
	}
	if k.Type != "list of text" && !(k.Type == "text" && def.IsZero()) {
		k.Default = literal(def)
	}
	return k
}

// literal writes a value as TOML.
func literal(v reflect.Value) string {
	if d, ok := v.Interface().(Duration); ok {
		return quote(d.String())
	}
	switch v.Kind() {
	case reflect.Slice:
		parts := make([]string, v.Len())
		for i := range parts {
			parts[i] = literal(v.Index(i))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case reflect.String:
		return quote(v.String())
	case reflect.Bool:
		return strconv.FormatBool(v.Bool())
	}
	return strconv.FormatInt(v.Int(), 10)
}

// quote writes a TOML basic string. Go's escapes are TOML's but for \a, \v, \x.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < 0x20 || r == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// fieldComments maps "Struct.Field" to its comment as one paragraph.
func fieldComments() map[string]string {
	comments := map[string]string{}
	file, err := parser.ParseFile(token.NewFileSet(), "config.go", source, parser.ParseComments)
	if err != nil {
		panic("config: embedded source does not parse: " + err.Error()) // it was compiled, so it does
	}
	for _, d := range file.Decls {
		decl, ok := d.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, spec := range decl.Specs {
			ts, ok := spec.(*ast.TypeSpec)
			if !ok {
				continue
			}
			st, ok := ts.Type.(*ast.StructType)
			if !ok {
				continue
			}
			for _, f := range st.Fields.List {
				for _, n := range f.Names {
					comments[ts.Name.Name+"."+n.Name] = strings.Join(strings.Fields(f.Doc.Text()), " ")
				}
			}
		}
	}
	return comments
}
