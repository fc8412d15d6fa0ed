// Package api is the HTTP side of a server.
//
// There are two handlers. [New] serves the listener of [http]: /healthz, /readyz, /metrics and /openapi.json to
// anybody who reaches it, and /api/v1/ to who has a token whose role may use the path. [Control] serves the Unix socket
// data_dir/rollcall.sock: accounts, registrations, presence, subscriptions, status and reload under /api/v1/. Who may
// open the socket is administrator; its file mode is the only lock. [Client] speaks to that socket and is what the
// commands use.
//
// What the handlers need of the server is declared here, in [Backend] and [Users].
//
// Left out: XCAP, streams, sending messages, and the console.
package api
