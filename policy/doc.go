// Package policy decides who may write to whom. Its Decision is the evidence
// that a request was judged, and by which rule; the record names both.
//
// So far there are three rules: within the domains of the company all is
// allowed, a configured peer domain may be written to, and every other domain
// is refused. Rule files, barriers and lexica have their place here.
package policy
