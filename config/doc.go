// Package config reads the one TOML file that describes a server.
//
// Reading is strict: an unknown key, a value of the wrong type, a key given twice and a value out of range are
// faults, each with its file, line, key and what to do about it. All faults of a file are reported, not only the
// first. Nothing that is written in the file is ignored: a setting that names a feature this version does not have
// is a fault too.
//
// The struct [Config] is the manual. [Reference] takes the comments of its fields out of the source, and from
// them come docs/config.md, the example file in deploy/ and what `rollcall init` writes. The field tags say the
// rest: toml the key, unit the unit of a number, reload whether SIGHUP applies a changed value ("yes") or only a
// restart does ("restart").
//
// The package looks at the file only. Whether a port is free, a folder can be written or a store answers is not
// known here; `rollcall check` asks that.
package config
