// Package dialog is this server's side of the dialogs of RFC 3261 §12 that a
// SUBSCRIBE makes (RFC 6665 §4.4.1): what identifies them, where their requests
// go, and in which order those of the peer come.
//
// Left out: dialogs that INVITE makes, and those that this server begins.
package dialog
