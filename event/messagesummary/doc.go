// Package messagesummary is the event package message-summary: how many messages
// wait for an account (RFC 3842).
//
// It counts the messages that this server keeps until a device takes them, as
// pager-message, and adds what voicemail servers publish for the account. Only the
// account itself may watch. An account without any messages gets "no" rather than
// an error: there are telephones that ask again at once after a 404.
//
// Left out: headers of new messages (RFC 3842 §3.5 has them optional), which are
// taken from a publisher and not passed on, and groups of accounts.
package messagesummary
