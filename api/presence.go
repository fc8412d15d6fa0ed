package api

import "time"

// State is a presence document in a few words.
type State struct {
	Basic      string   `json:"basic,omitempty"`      // "open" or "closed" (RFC 3863 §4.1.4); absent: the document does not say
	Activities []string `json:"activities,omitempty"` // "busy", "away", …, of RFC 4480 §3.2
	Note       string   `json:"note,omitempty"`
}

// Presence is what the server knows of the presence of an account.
type Presence struct {
	AOR string `json:"aor"`
	State
	Document      string         `json:"document"` // composed of all there is: PIDF (RFC 3863)
	Publications  []Publication  `json:"publications"`
	Permanent     *Permanent     `json:"permanent,omitempty"`
	Registrations []Registration `json:"registrations"`
}

// Permanent is what holds without a publication: the document that the account keeps at the server (RFC 4827).
type Permanent struct {
	State
	Document string `json:"document"`
}

// Publication is what one device published (RFC 3903).
type Publication struct {
	Publisher string `json:"publisher"`
	Device    string `json:"device,omitempty"` // Call-ID of the PUBLISH that began it
	State
	ContentType string    `json:"content_type"`
	Document    string    `json:"document"`
	Created     time.Time `json:"created"`
	Changed     time.Time `json:"changed"`
	Expires     time.Time `json:"expires"`
	Lost        bool      `json:"lost,omitempty"` // the connection that it came over is gone: it ends soon
}

// Subscription is one subscription (RFC 6665) that this server holds.
type Subscription struct {
	ID        string    `json:"id"`
	Watcher   string    `json:"watcher"`
	Resource  string    `json:"resource"`
	Event     string    `json:"event"`
	Standing  string    `json:"standing"` // pending, active or terminated
	Rule      string    `json:"rule,omitempty"`
	Type      string    `json:"type"`             // of the bodies in its NOTIFYs
	Device    string    `json:"device,omitempty"` // instance or contact of the watcher
	Flow      string    `json:"flow,omitempty"`
	Suspended bool      `json:"suspended,omitempty"` // its connection is gone; it waits for the watcher
	Since     time.Time `json:"since"`
	Expires   time.Time `json:"expires"`
	Notified  uint32    `json:"notified"` // CSeq of the last NOTIFY
	CallID    string    `json:"call_id,omitempty"`
}

// Explanation says what a watcher sees of a presentity, and why.
type Explanation struct {
	Watcher    string `json:"watcher"`
	Presentity string `json:"presentity"`
	Standing   string `json:"standing"` // active, pending or refused
	Rule       string `json:"rule"`     // that decided
	// Class is what the rule lets be seen: "" is all, "offline" what is seen of one who never published, others are
	// the rules' own.
	Class string `json:"class,omitempty"`
	// Until is when the verdict may change by itself; absent: never.
	Until *time.Time `json:"until,omitempty"`
	// Sees is what a NOTIFY tells the watcher now; absent unless Standing is active.
	Sees *View `json:"sees,omitempty"`
	// Presence is all that the presentity shows, and what made it.
	Presence Presence `json:"presence"`
	// Subscriptions are those of the watcher to the presentity.
	Subscriptions []Subscription `json:"subscriptions"`
}

// View is the presence of somebody as one watcher sees it.
type View struct {
	State
	Document string `json:"document"`
	// Whole: the watcher sees all that there is.
	Whole bool `json:"whole"`
}
