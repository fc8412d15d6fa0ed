// Package registrar keeps who can be reached where: it carries out REGISTER
// (RFC 3261 §10.3) and answers where an address of record is bound.
//
// With it come Path (RFC 3327) and the bindings of RFC 5626 §6: +sip.instance
// names a device, reg-id one of its flows, and a new registration of the same
// device and flow takes the place of the old one. A binding made over a
// connection lives no longer than the connection (RFC 5626 §7), and no longer
// than the process that held it: the device registers again when it sees the
// connection gone, and what comes meanwhile is kept for it. A binding that came
// through another proxy stands on its Path or contact instead.
//
// Decisions where the RFCs leave room:
//   - A contact is a sip or sips URI without header components. Other schemes,
//     which RFC 3261 §10.2.1 allows, are refused with 403: nothing is relayed to them.
//   - A contact that leads back here is refused with 403 (RFC 5393 tells what
//     such loops cost).
//   - An older request (CSeq not higher within a Call-ID) gets 500, the status that
//     RFC 3261 §10.3 item 7 has for updates that fail.
//   - Over the contact limit the whole request gets 403; no binding is ever
//     dropped to make room.
//   - Path is taken also when the device does not say Supported: path (RFC 3327
//     §5.3 lets a registrar choose).
//   - A device that registers without reg-id is in one place: its bindings at
//     other contacts, from earlier requests, are replaced.
//   - A contact that stands twice in one request counts as the later one says.
//   - Display names of contacts are not kept.
//
// Left out: Service-Route (RFC 3608), and telling of bindings
// that expire: they are just gone. The event package reg (RFC 3680) is in reginfo.
// The caller does authentication, Require and the choice whether the Request-URI is
// ours (RFC 3261 §10.3 items 1 to 3).
package registrar
