package config

import (
	"bytes"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
)

// TOML writes c as a file with the comments of the manual. A key that has its default is commented out, so the file
// shows both what can be set and what is.
func (c *Config) TOML() []byte {
	var b bytes.Buffer
	b.WriteString("# Configuration of rollcall. docs/config.md explains every key.\n" +
		"# A key that is commented out shows its default, or an example where it has none.\n" +
		"# `rollcall check` looks for faults; SIGHUP reads the file again.\n\n")
	set := *c
	if set.KeysDir == filepath.Join(set.DataDir, "keys") {
		set.KeysDir = ""
	}
	values := reflect.ValueOf(set)
	for i, t := range Reference() {
		switch {
		case i == 0:
			writeTable(&b, t, values)
		case t.Array:
			b.WriteString("\n" + wrap(t.Text))
			writeTables(&b, t, values.Field(fieldIndex(values.Type(), t.Name)))
		default:
			b.WriteString("\n" + wrap(t.Text) + "[" + t.Name + "]\n")
			writeTable(&b, t, values.Field(fieldIndex(values.Type(), t.Name)))
		}
	}
	return b.Bytes()
}

func writeTable(b *bytes.Buffer, t Table, v reflect.Value) {
	for i, k := range t.Keys {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(wrap(k.Text))
		f := v.Field(fieldIndex(v.Type(), k.Name))
		switch value := literal(f); {
		case f.IsZero() && k.Default == "", value == k.Default:
			fmt.Fprintf(b, "# %s = %s\n", k.Name, shown(k))
		default:
			fmt.Fprintf(b, "%s = %s\n", k.Name, value)
		}
	}
}

// writeTables explains the keys once and then writes the elements of an array of tables.
func writeTables(b *bytes.Buffer, t Table, list reflect.Value) {
	for _, k := range t.Keys {
		b.WriteString(wrap(k.Name + ": " + k.Text))
	}
	if list.Len() == 0 {
		fmt.Fprintf(b, "# [[%s]]\n", t.Name)
		for _, k := range t.Keys {
			if k.Example != "" {
				fmt.Fprintf(b, "# %s = %s\n", k.Name, k.Example)
			}
		}
	}
	for i := range list.Len() {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(b, "[[%s]]\n", t.Name)
		for _, k := range t.Keys {
			if f := list.Index(i).Field(fieldIndex(list.Type().Elem(), k.Name)); !f.IsZero() {
				fmt.Fprintf(b, "%s = %s\n", k.Name, literal(f))
			}
		}
	}
}

// shown is what a commented-out key shows.
func shown(k Key) string {
	switch {
	case k.Default != "":
		return k.Default
	case k.Example != "":
		return k.Example
	}
	return `""`
}

func fieldIndex(t reflect.Type, key string) int {
	for i := range t.NumField() {
		if t.Field(i).Tag.Get("toml") == key {
			return i
		}
	}
	panic("config: no key " + key) // keys come from Reference
}

// wrap writes text as comment lines.
func wrap(text string) string {
	var b strings.Builder
	width := 0
	for word := range strings.FieldsSeq(text) {
		switch {
		case width == 0:
			b.WriteByte('#')
			width = 1
		case width+1+len(word) > 110:
			b.WriteString("\n#")
			width = 1
		}
		b.WriteByte(' ')
		b.WriteString(word)
		width += 1 + len(word)
	}
	if width > 0 {
		b.WriteByte('\n')
	}
	return b.String()
}

// Markdown is the text of docs/config.md.
func Markdown() []byte {
	var b bytes.Buffer
	b.WriteString(`# Configuration

One TOML file. A key that is not known, a value of the wrong type or out of range, and a key given twice are errors:
the server does not start, or goes on with what it has at a reload. ` + "`rollcall check`" + ` prints every fault with its line.

The file is looked for in this order: ` + "`--config FILE`, `ROLLCALL_CONFIG`, `./rollcall.toml`" + `, that of a running
` + "`rollcall dev`, `/etc/rollcall/rollcall.toml`. `rollcall init`" + ` writes one.

A duration is text with units (ms, s, m, h): ` + "`\"90s\"`, `\"168h\"`" + `. A size is a number of bytes. A relative path is taken from
the folder of the file. SIGHUP reads the file again; "at a reload" below means that it then applies the key, "at a
restart" that it logs that the key has changed and keeps the old value.

This page is made from the comments in config/config.go by ` + "`go generate ./config`" + `.
`)
	for _, t := range Reference() {
		switch {
		case t.Name == "":
			b.WriteString("\n## Top of the file\n")
		case t.Array:
			fmt.Fprintf(&b, "\n## [[%s]]\n\n%s\n", t.Name, t.Text)
		default:
			fmt.Fprintf(&b, "\n## [%s]\n\n%s\n", t.Name, t.Text)
		}
		for _, k := range t.Keys {
			fmt.Fprintf(&b, "\n### `%s`\n\n%s\n\n", k.Name, k.Text)
			facts := []string{k.Type}
			if k.Unit != "" {
				facts[0] += " of " + k.Unit
			}
			if k.Default != "" {
				facts = append(facts, "default `"+k.Default+"`")
			} else {
				facts = append(facts, "no default")
			}
			if k.Example != "" {
				facts = append(facts, "for example `"+k.Example+"`")
			}
			if k.Reload {
				facts = append(facts, "applied at a reload")
			} else {
				facts = append(facts, "applied at a restart")
			}
			b.WriteString(strings.Join(facts, " · ") + "\n")
		}
	}
	return b.Bytes()
}
