// Package rollcall is the root of the module. It holds no code of the server:
// its tests are the rules of the house. They check who imports whom (deps.txt),
// package comments, cited RFC sections, generated documents, and that the
// sessions in README.md work as written.
//
// The server starts in cmd/rollcall; docs/architecture.md is the map.
package rollcall
