//go:build plainjournal

package server

// This build is for measurements alone (bench/compare, part record).
func init() { plainJournal = true }
