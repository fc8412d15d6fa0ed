package main

import (
	"fmt"
	"os"
	"path/filepath"

	"rollcall/rfc"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(1)
	}
}

func run() error {
	uses, err := rfc.Walk(".")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join("docs", "conformance.md"), []byte(rfc.Table(uses)), 0o644)
}
