//go:build !linux

package main

// coarseTimers does nothing: other systems have no such setting.
func coarseTimers([]string) {}
