package archive

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"
	"time"
)

// ActReview is the action of the acts of supervisors: each cites the message,
// and its object is one of the steps of Steps.
const ActReview = "review"

// The steps of a review.
const (
	StepClaim    = "claim"    // somebody looks into it
	StepComment  = "comment"  // says something about it
	StepApprove  = "approve"  // nothing is wrong; it leaves the queue
	StepEscalate = "escalate" // for somebody else to decide
)

// Steps are the steps of a review, as people give them.
var Steps = []string{StepClaim, StepComment, StepApprove, StepEscalate}

// Review is a message that supervision wants to see, and what was done about it.
type Review struct {
	ID   ID        `json:"id"`
	Seq  uint64    `json:"seq"`
	At   time.Time `json:"received"`
	From string    `json:"from"`
	To   string    `json:"to"`
	// Flags are the lexica that flagged it; Sampled says that chance chose it.
	Flags   string `json:"flags,omitempty"`
	Sampled bool   `json:"sampled,omitempty"`
	Text    string `json:"text,omitempty"`
	Content string `json:"content,omitempty"` // "sealed" or "erased"
	// Status is "open", "claimed", "escalated" or "approved"; By did the last step.
	Status string `json:"status"`
	By     string `json:"by,omitempty"`
	Steps  []Step `json:"steps,omitempty"`
}

// Step is one act of a supervisor.
type Step struct {
	Step    string    `json:"step"`
	By      string    `json:"by"`
	At      time.Time `json:"at"`
	Comment string    `json:"comment,omitempty"`
}

// Sample says how many of the messages of which units are reviewed by chance.
type Sample struct {
	Units   []string // none: all
	Percent int
}

// wants reports whether chance chooses a record. It depends on nothing but the
// record, so that nobody can choose, and a second look gives the same.
func (s *Sample) wants(r *Record) bool {
	if len(s.Units) > 0 && !slices.Contains(s.Units, r.FromUnit) && !slices.Contains(s.Units, r.ToUnit) {
		return false
	}
	h := sha256.Sum256(append([]byte("review"), r.ID[:]...))
	return int(binary.BigEndian.Uint32(h[:])%100) < s.Percent
}

// ReviewStats counts the queue.
type ReviewStats struct {
	Flagged   int `json:"flagged"`
	Sampled   int `json:"sampled"`
	Open      int `json:"open"`
	Claimed   int `json:"claimed"`
	Escalated int `json:"escalated"`
	Approved  int `json:"approved"`
	// Oldest is when the oldest message came that is not approved.
	Oldest time.Time `json:"oldest,omitzero"`
}

// Reviews returns the messages since a time that are to be reviewed, or were,
// oldest first. What was done about them is in the record.
func (a Folder) Reviews(ctx context.Context, since time.Time, samples []Sample) (list []*Review, stats ReviewStats, err error) {
	byID := map[ID]*Review{}
	err = a.Search(ctx, Query{Type: "all", After: since}, func(r *Record, _ Pos) error {
		switch r.Type {
		case TypeMessage:
			sampled := slices.ContainsFunc(samples, func(s Sample) bool { return s.wants(r) })
			if r.Flags == "" && !sampled {
				return nil
			}
			v := r.View(false)
			rev := &Review{ID: r.ID, Seq: r.Seq, At: r.Received, From: r.From, To: r.To, Flags: r.Flags, Sampled: sampled, Text: v.Body, Content: v.Content, Status: "open"}
			byID[r.ID] = rev
			list = append(list, rev)
		case TypeAct:
			rev := byID[r.Cites]
			if r.Action != ActReview || rev == nil {
				return nil
			}
			rev.Steps = append(rev.Steps, Step{r.Object, r.Actor, r.Archived, r.Reason})
			switch r.Object {
			case StepClaim:
				rev.Status, rev.By = "claimed", r.Actor
			case StepApprove:
				rev.Status, rev.By = "approved", r.Actor
			case StepEscalate:
				rev.Status, rev.By = "escalated", r.Actor
			}
		}
		return nil
	})
	if err != nil {
		return nil, stats, err
	}
	for _, rev := range list {
		if rev.Flags != "" {
			stats.Flagged++
		} else {
			stats.Sampled++
		}
		switch rev.Status {
		case "claimed":
			stats.Claimed++
		case "escalated":
			stats.Escalated++
		case "approved":
			stats.Approved++
			continue
		default:
			stats.Open++
		}
		if stats.Oldest.IsZero() {
			stats.Oldest = rev.At
		}
	}
	return list, stats, nil
}

// OfParties reports whether an actor is one of the parties of the message: a
// supervisor does not review himself.
func (r *Review) OfParties(actor string) bool {
	return strings.HasSuffix(actor, " as "+r.From) || strings.HasSuffix(actor, " as "+r.To)
}
