package config_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"rollcall/config"
)

var update = flag.Bool("update", false, "write docs/config.md and the example file")

// Example is the configuration that deploy/rollcall.toml shows.
func example() *config.Config {
	c := config.Default()
	c.Domains = []string{"example.com"}
	return c
}

func TestGenerated(t *testing.T) {
	for path, want := range map[string][]byte{
		"../docs/config.md":       config.Markdown(),
		"../deploy/rollcall.toml": example().TOML(),
	} {
		if *update {
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, want, 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not what the comments of config.go say; run go generate ./config", path)
		}
	}
}
