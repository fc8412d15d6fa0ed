package watcherinfo

import (
	"cmp"
	"slices"
	"time"

	"rollcall/event"
	"rollcall/sip"
	"rollcall/xmltree"
)

// MaxWatchers bounds a document, as whoever likes may watch and it has to fit a
// datagram. Of more watchers those are told who wait for a decision, then the newest.
const MaxWatchers = 200

// document writes the state of all subscriptions (RFC 3858 §3).
func document(of string, resource sip.AOR, watchers []event.WatcherInfo, now time.Time) event.Body {
	// A fetch is over when it has begun: it is not told (RFC 3857 §4.7.2).
	watchers = slices.DeleteFunc(watchers, func(w event.WatcherInfo) bool {
		return w.Standing == event.Refused && !w.Waiting && !w.Expires.After(w.Since)
	})
	slices.SortStableFunc(watchers, func(a, b event.WatcherInfo) int {
		return cmp.Or(cmp.Compare(rank(&a), rank(&b)), b.Since.Compare(a.Since))
	})
	var times event.Times
	root := xmltree.New(Space, "", "watcherinfo")
	root.SetAttr("", "version", "0")
	root.SetAttr("", "state", "full")
	list := xmltree.New(Space, "", "watcher-list")
	list.SetAttr("", "resource", resource.String())
	list.SetAttr("", "package", of)
	for i := range watchers[:min(len(watchers), MaxWatchers)] {
		list.Append(element(&watchers[i], now, &times))
	}
	root.Append(list)
	return times.Body(Type, root.Document())
}

// rank puts first who waits for a decision.
func rank(w *event.WatcherInfo) int {
	switch status(w) {
	case "pending", "waiting":
		return 0
	case "active":
		return 1
	}
	return 2
}

func status(w *event.WatcherInfo) string {
	if w.Waiting {
		return "waiting"
	}
	return w.Standing.String()
}

// element writes one watcher.
func element(w *event.WatcherInfo, now time.Time, times *event.Times) *xmltree.Element {
	e := xmltree.New(Space, "", "watcher")
	e.SetAttr("", "id", w.ID)
	e.SetAttr("", "status", status(w))
	e.SetAttr("", "event", cause(w))
	if w.Display != "" {
		e.SetAttr("", "display-name", w.Display)
	}
	if w.Expires.After(now) && w.Standing != event.Refused {
		e.SetAttr("", "expiration", times.Left(w.Expires))
	}
	e.SetAttr("", "duration-subscribed", times.Since(w.Since))
	e.SetText(w.AOR.String())
	return e
}

// cause is what led to the status, in the words of the schema (RFC 3858 §6). A
// subscription that another of its device took the place of was discarded without
// a change in authorization, which is "deactivated" (RFC 3857 §4.7.1).
func cause(w *event.WatcherInfo) string {
	switch w.Event {
	case "subscribe", "approved", "deactivated", "probation", "rejected", "timeout", "giveup", "noresource":
		return w.Event
	}
	if w.Standing == event.Refused {
		return "deactivated"
	}
	return "subscribe"
}
