// Package timestamptest has a time-stamp authority for tests.
package timestamptest
