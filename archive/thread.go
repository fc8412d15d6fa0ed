package archive

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Thread is a part of a conversation in which nobody was silent for long.
type Thread struct {
	Parties  []string  `json:"parties"` // AORs that wrote or were written to, sorted
	First    time.Time `json:"first"`
	Last     time.Time `json:"last"`
	Messages []View    `json:"messages"`
}

// ThreadGap is the silence after which a new thread begins if nobody says otherwise.
const ThreadGap = time.Hour

// Threads sorts messages by their time, and begins a thread at each that comes gap or longer after the one before.
func Threads(messages []View, gap time.Duration) []Thread {
	list := slices.Clone(messages)
	slices.SortStableFunc(list, func(a, b View) int { return cmp.Or(a.Time().Compare(b.Time()), cmp.Compare(a.Seq, b.Seq)) })
	threads := []Thread{}
	for _, v := range list {
		n := len(threads) - 1
		if n < 0 || v.Time().Sub(threads[n].Last) >= gap {
			threads = append(threads, Thread{First: v.Time()})
			n++
		}
		t := &threads[n]
		t.Last, t.Messages = v.Time(), append(t.Messages, v)
		for _, p := range nonEmpty(v.From, v.To) {
			if i, found := slices.BinarySearch(t.Parties, p); !found {
				t.Parties = slices.Insert(t.Parties, i, p)
			}
		}
	}
	return threads
}

// Time is Record.Time.
func (v *View) Time() time.Time {
	if v.Received.IsZero() {
		return v.Archived
	}
	return v.Received
}

// WriteThreads writes threads for people, with times in a zone: a head for each, and a line for each message, what more
// lines it has below it. Bytes that a terminal would act on are written as escapes.
func WriteThreads(w io.Writer, threads []Thread, zone *time.Location) error {
	var b strings.Builder
	for i := range threads {
		t := &threads[i]
		if i > 0 {
			fmt.Fprintf(&b, "\n(%s later)\n\n", silence(t.First.Sub(threads[i-1].Last)))
		}
		first, last := t.First.In(zone), t.Last.In(zone)
		until := last.Format("15:04:05 Z07:00")
		if first.Format(time.DateOnly) != last.Format(time.DateOnly) {
			until = last.Format("2006-01-02 15:04:05 Z07:00")
		}
		messages := "1 message"
		if n := len(t.Messages); n != 1 {
			messages = fmt.Sprintf("%d messages", n)
		}
		fmt.Fprintf(&b, "%s – %s  %s: %s\n", first.Format("2006-01-02 15:04:05"), until, printable(strings.Join(each(t.Parties, shortAOR), ", "), false), messages)
		for j := range t.Messages {
			v := &t.Messages[j]
			who := shortAOR(v.From)
			if len(t.Parties) != 2 {
				who += " → " + shortAOR(v.To)
			}
			text := strings.TrimRight(printable(v.text(), true), "\n")
			fmt.Fprintf(&b, "%s  %s  %s: %s\n", v.ID, v.Time().In(zone).Format("15:04:05"), printable(who, false), strings.ReplaceAll(text, "\n", "\n"+strings.Repeat(" ", 38)))
		}
		if _, err := io.WriteString(w, b.String()); err != nil {
			return err
		}
		b.Reset()
	}
	return nil
}

// text is what a message says, or why that is not shown.
func (v *View) text() string {
	switch {
	case v.Content != "":
		return "(" + v.Content + ")"
	case v.BodyOmitted:
		return "(body not kept)"
	case len(v.BodyBytes) > 0:
		return fmt.Sprintf("(%d bytes)", len(v.BodyBytes))
	}
	return v.Body
}

func shortAOR(s string) string { return strings.TrimPrefix(s, "sip:") }

// silence is a time between messages, to its minute.
func silence(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", int(d.Hours()/24))
	case d >= time.Hour:
		return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
	}
	return d.Round(time.Second).String()
}
