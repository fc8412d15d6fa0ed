package policy

import (
	"time"

	"rollcall/sip"
)

// Notice is a message of the company's own: a disclaimer, or word of a lexicon's hit.
type Notice struct {
	Rule string
	From sip.AOR // the zero value: of the domain of the one it is for
	To   sip.AOR
	// Text of a disclaimer; "" for word of a hit, which names the record.
	Text string
	// Once is how long a disclaimer holds for a conversation; 0 for word of a hit.
	Once time.Duration
}

// Decision says that the rules want the notice sent.
func (r *Rules) Decision(n Notice) Decision { return Decision{rule: n.Rule, version: r.version} }

// Disclaimer reports that it goes before the message that it is due to.
func (n *Notice) Disclaimer() bool { return n.Once > 0 }

type disclaimerRule struct {
	name                  string
	scope                 compiledScope
	text                  string
	from                  sip.AOR
	toSender, toRecipient bool
	per                   time.Duration
}

// tell adds a notice for each account that a lexicon tells of its hits.
func (d *Decision) tell(l *lexiconRule) {
	for _, to := range l.notify {
		d.notices = append(d.notices, Notice{Rule: l.name, To: to})
	}
}

// disclaim adds the disclaimers that the parties of an allowed message are to see.
func (r *Rules) disclaim(d *Decision, s *sides) {
	for i := range r.disclaimers {
		l := &r.disclaimers[i]
		if len(s.m.Body) == 0 || !l.scope.covers(s) {
			continue
		}
		for _, side := range [...]struct {
			wanted bool
			aor    string
		}{{l.toRecipient, s.m.To.AOR}, {l.toSender, s.m.From.AOR}} {
			if to, err := sip.ParseAORString(side.aor); side.wanted && err == nil && to != l.from {
				d.notices = append(d.notices, Notice{Rule: l.name, From: l.from, To: to, Text: l.text, Once: l.per})
			}
		}
	}
}

func (c *compiler) disclaimer(n int, d *disclaimer) {
	rule := disclaimerRule{name: c.name("disclaimer", n, d.Name), scope: c.scope("disclaimer", n, d.scope), text: d.Text, per: 24 * time.Hour}
	if d.Text == "" || len(d.Text) > maxText {
		c.fault("disclaimer", n, "%s: write text, up to %d bytes", d.Name, maxText)
	}
	if d.From != "" {
		rule.from = c.ours("disclaimer", n, d.From)
	}
	switch d.To {
	case "", "recipient":
		rule.toRecipient = true
	case "sender":
		rule.toSender = true
	case "both":
		rule.toRecipient, rule.toSender = true, true
	default:
		c.fault("disclaimer", n, `%s: to is "recipient", "sender" or "both"`, d.Name)
	}
	if d.Per != "" {
		per, err := time.ParseDuration(d.Per)
		if err != nil || per < time.Minute || per > 366*24*time.Hour {
			c.fault("disclaimer", n, `%s: write per = "24h", from a minute to a year`, d.Name)
		}
		rule.per = per
	}
	c.rules.disclaimers = append(c.rules.disclaimers, rule)
}
