// Command extract adds RFCs to rfc/sections.txt from their plain text: section
// numbers and titles, nothing else.
package main
