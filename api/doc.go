// Package api is the HTTP side of a server.
//
// There are two handlers. [New] serves the listener of [http]: /healthz, /readyz and /metrics, to anybody who
// reaches it and without a token; it changes nothing and names no account. [Control] serves the Unix socket
// data_dir/rollcall.sock: accounts, registrations, presence, subscriptions, status and reload under /api/v1/. Who may
// open the socket is administrator; its file mode is the only lock. [Client] speaks to that socket and is what the
// commands use.
//
// What the handlers need of the server is declared here, in [Backend] and [Users].
//
// Left out: tokens and roles, XCAP, /openapi.json, records, policy and the console.
package api
