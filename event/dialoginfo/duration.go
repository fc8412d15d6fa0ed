package dialoginfo

import (
	"strconv"
	"strings"
	"time"

	"rollcall/xmltree"
)

// durationOf is how long ago a dialog began when the document was written (RFC 4235
// §4.1.3). More than ten years is no duration.
func durationOf(dialog *xmltree.Element) (time.Duration, bool) {
	e := dialog.Child(Space, "duration")
	if e == nil {
		return 0, false
	}
	n, err := strconv.ParseUint(strings.TrimSpace(e.Text()), 10, 32)
	if err != nil || n > 10*366*24*3600 {
		return 0, false
	}
	return time.Duration(n) * time.Second, true
}

// setDuration writes the duration of a dialog, behind its state as the schema has it.
func setDuration(dialog *xmltree.Element, seconds string) {
	e := dialog.Child(Space, "duration")
	if e == nil {
		e = xmltree.New(Space, "", "duration")
		at := 0
		if s := dialog.Child(Space, "state"); s != nil {
			at = dialog.Index(s) + 1
		}
		dialog.InsertAt(at, e)
	}
	e.SetText(seconds)
}

// aged returns the document as it would be written so much later.
func (d *Document) aged(by time.Duration) *Document {
	out := &Document{}
	for _, e := range d.Dialogs {
		if lasts, ok := durationOf(e); ok {
			e = e.Clone()
			setDuration(e, strconv.FormatInt(int64((lasts+by)/time.Second), 10))
		}
		out.Dialogs = append(out.Dialogs, e)
	}
	return out
}
