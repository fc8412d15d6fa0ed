// Command conformance writes docs/conformance.md from the RFC citations in the
// source. `make conformance` runs it at the root of the module.
package main
