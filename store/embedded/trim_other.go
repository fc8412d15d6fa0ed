//go:build !linux

package embedded

// trim does nothing where mapped pages are given back by other means.
func (im *image) trim() error { return nil }
