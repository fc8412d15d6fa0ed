package main

import (
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"rollcall/archive"
)

// Set by the linker in make build. A binary of go build has what Go stamped instead.
var version, commit string

// buildVersion returns the version and the commit of this binary, as far as known.
func buildVersion() (v, c string) {
	v, c = version, commit
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return cmpOr(v, "devel"), cmpOr(c, "unknown")
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && c == "" {
			c = s.Value
		}
	}
	if v == "" && info.Main.Version != "(devel)" {
		v = info.Main.Version
	}
	return cmpOr(v, "devel"), cmpOr(c, "unknown")
}

func (a *app) version() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "version",
		Short: "Print version, commit, Go and archive format",
		Args:  args(0, 0, ""),
		RunE: func(*cobra.Command, []string) error {
			v, commit := buildVersion()
			if asJSON {
				return a.json(map[string]any{"version": v, "commit": commit, "go": runtime.Version(), "archive_format": archive.FormatVersion})
			}
			return a.say("rollcall %s\ncommit %s\n%s %s/%s\narchive format %d", v, commit, runtime.Version(), runtime.GOOS, runtime.GOARCH, archive.FormatVersion)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}
