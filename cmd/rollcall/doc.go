// Command rollcall is the SIP registrar, message relay and record, and the tools that go with it: one binary with
// subcommands, a file for each. What they do lies in the packages; here are flags, output and exit codes.
//
// Exit codes: 0 done, 1 refused or failed, 2 wrong usage. Results go to standard output, everything else to
// standard error. On a terminal lists are tables; in a pipe they are lines with tabs and without a header, and with
// --json they are JSON.
package main
