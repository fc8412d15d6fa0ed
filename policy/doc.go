// Package policy decides who may write to whom. Its Decision is the evidence
// that a request was judged, and by which rule; the record names both.
//
// Without a policy file there are three rules: within the domains of the
// company all is allowed, a configured peer domain may be written to, and every
// other domain is refused. A policy file ([Load], docs/policy.md) adds
// information barriers, domains, directions, clients, hours, content types,
// lexica and rates. Rules are declared, not programmed; no pattern can hang.
//
// Not here: disclaimers, and who may see whose presence beyond the barriers
// (presrules).
package policy
