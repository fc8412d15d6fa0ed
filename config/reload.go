package config

import (
	"fmt"
	"reflect"
)

// RestartKeys names the keys that differ between the running configuration and a new one and that a reload does not
// apply, such as "listen" or "store.url".
func RestartKeys(running, next *Config) []string {
	var keys []string
	root := reflect.TypeFor[Config]()
	a, b := reflect.ValueOf(running).Elem(), reflect.ValueOf(next).Elem()
	for i := range root.NumField() {
		f := root.Field(i)
		name := f.Tag.Get("toml")
		switch {
		case name == "" || name == "-":
		case isTable(f.Type):
			for j := range f.Type.NumField() {
				k := f.Type.Field(j)
				if k.Tag.Get("reload") != "yes" && !reflect.DeepEqual(a.Field(i).Field(j).Interface(), b.Field(i).Field(j).Interface()) {
					keys = append(keys, fmt.Sprintf("%s.%s", name, k.Tag.Get("toml")))
				}
			}
		case f.Tag.Get("reload") != "yes" && !reflect.DeepEqual(a.Field(i).Interface(), b.Field(i).Interface()):
			keys = append(keys, name)
		}
	}
	return keys
}
