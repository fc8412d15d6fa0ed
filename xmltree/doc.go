// Package xmltree reads, changes and writes the small XML documents of presence:
// PIDF (RFC 3863), presence rules (RFC 5025), resource lists (RFC 4826), rlmi
// (RFC 4662), dialog-info (RFC 4235) and what XCAP (RFC 4825) makes of their parts.
//
// A document is a tree of Elements. Names are resolved to their namespace when
// they are read; prefixes and declarations are kept and written again, so that
// what this server does not know survives. A subtree that is moved or cloned gets
// the declarations that its names need at the place where it is written. Prefixes
// inside values (a QName in an attribute) are not seen and not looked after.
//
// # What is refused
//
// Parse takes XML 1.0 in UTF-8 with namespaces. A document type declaration is
// refused as a whole, so that there are no entities but the five of XML and
// character references, and nothing is ever fetched. So are names whose prefix is
// not declared, two attributes of one name, and whatever is over the Limits. An
// error tells line and column.
//
// Comments and processing instructions within the root element are kept; those
// before and after it, and the XML declaration, are not. CDATA sections become
// text, "\r\n" becomes "\n" and white space in attribute values becomes blanks, as
// XML 1.0 says.
//
// # Changes
//
// Patch applies the operations of RFC 5261, Diff makes them. They are the body of
// pidf-diff (RFC 5262) and xcap-diff (RFC 5874).
//
// # Left out
//
// XML 1.1, other encodings, document types, validation, and XPath beyond the
// selectors of RFC 5261 §4.1; of these the id() function.
package xmltree
