package config

import (
	"reflect"
	"slices"
	"strings"
)

// suggest says what to do about an unknown key name in a table (path "" is the top of the file).
func suggest(t reflect.Type, path, name string) string {
	keys := keysOf(t)
	if k, ok := nearest(keys, name); ok {
		return "did you mean " + k + "?"
	}
	// The key may be a right one in the wrong place, which is the usual mistake after a table header.
	if homes := homesOf(name); len(homes) > 0 {
		return "it belongs to " + strings.Join(homes, " or ")
	}
	where := "[" + path + "]"
	if path == "" {
		where = "the top of the file"
	}
	return "known in " + where + ": " + strings.Join(keys, ", ")
}

func keysOf(t reflect.Type) []string {
	var keys []string
	if t == nil || t.Kind() != reflect.Struct {
		return nil
	}
	for f := range t.Fields() {
		if k := f.Tag.Get("toml"); k != "" && k != "-" {
			keys = append(keys, k)
		}
	}
	return keys
}

// homesOf lists the tables that have a key of this name.
func homesOf(name string) []string {
	var homes []string
	root := reflect.TypeFor[Config]()
	if slices.Contains(keysOf(root), name) {
		homes = append(homes, "the top of the file, before the first table")
	}
	for f := range root.Fields() {
		key := f.Tag.Get("toml")
		switch {
		case isTable(f.Type) && slices.Contains(keysOf(f.Type), name):
			homes = append(homes, "["+key+"]")
		case f.Type.Kind() == reflect.Slice && slices.Contains(keysOf(f.Type.Elem()), name):
			homes = append(homes, "[["+key+"]]")
		}
	}
	return homes
}

// nearest finds the known key with the fewest edits, if they are few enough for a slip of the hand.
func nearest(keys []string, name string) (string, bool) {
	best, bestAt := "", 1+max(1, len(name)/3)
	for _, k := range keys {
		if d := distance(strings.ToLower(name), k); d < bestAt {
			best, bestAt = k, d
		}
	}
	return best, best != ""
}

// distance is Levenshtein's, by bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
