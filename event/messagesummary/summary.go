package messagesummary

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"rollcall/sip"
)

// Limits of a published summary.
const (
	maxBytes   = 8 << 10
	maxLines   = 16
	maxClass   = 64
	maxAccount = 512
)

// Count is a summary line: the messages of one context class.
type Count struct {
	Class                string // in lower case: voice-message
	New, Old             uint32
	UrgentNew, UrgentOld uint32 // of those
}

// Summary is the body of a notification (RFC 3842 §5.2).
type Summary struct {
	Waiting bool
	Account string // URI where the messages are, "" if not told
	Counts  []Count
}

// ParseSummary reads a summary. Names are taken in any case and lines may end in LF.
// Headers of messages are passed over.
func ParseSummary(body []byte) (*Summary, error) {
	if len(body) > maxBytes {
		return nil, errors.New("summary too long")
	}
	s := &Summary{}
	first := true
	for line := range strings.SplitSeq(string(body), "\n") {
		line = strings.TrimSuffix(line, "\r")
		if line == "" && !first { // headers follow
			break
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return nil, errors.New("line without colon")
		}
		name, value = strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value)
		switch {
		case first:
			if name != "messages-waiting" || !strings.EqualFold(value, "yes") && !strings.EqualFold(value, "no") {
				return nil, errors.New("no Messages-Waiting: yes or no")
			}
			s.Waiting, first = strings.EqualFold(value, "yes"), false
		case name == "message-account":
			if len(value) > maxAccount {
				return nil, errors.New("Message-Account too long")
			}
			if !isURI(value) {
				return nil, errors.New("Message-Account is no URI")
			}
			s.Account = value
		default:
			if err := s.count(name, value); err != nil {
				return nil, err
			}
		}
	}
	return s, nil
}

func isURI(s string) bool {
	scheme, rest, ok := strings.Cut(s, ":")
	return ok && scheme != "" && rest != "" && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f })
}

func (s *Summary) count(class, value string) error {
	if !isToken(class) {
		return errors.New("bad message-context-class")
	}
	if slices.ContainsFunc(s.Counts, func(c Count) bool { return c.Class == class }) {
		return fmt.Errorf("%s stands twice", class)
	}
	if len(s.Counts) == maxLines {
		return errors.New("too many lines")
	}
	c := Count{Class: class}
	all, urgent, ok := strings.Cut(value, "(")
	if !pair(all, &c.New, &c.Old) {
		return fmt.Errorf("bad count of %s", class)
	}
	if ok {
		urgent, ok = strings.CutSuffix(strings.TrimSpace(urgent), ")")
		if !ok || !pair(urgent, &c.UrgentNew, &c.UrgentOld) {
			return fmt.Errorf("bad count of urgent %s", class)
		}
	}
	s.Counts = append(s.Counts, c)
	return nil
}

func isToken(s string) bool {
	if s == "" || len(s) > maxClass {
		return false
	}
	for _, r := range s {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && !strings.ContainsRune("-.!%*_+`'~", r) {
			return false
		}
	}
	return true
}

func pair(s string, a, b *uint32) (ok bool) {
	x, y, ok := strings.Cut(s, "/")
	if !ok {
		return false
	}
	if *a, ok = sip.ParseUint(strings.TrimSpace(x)); !ok {
		return false
	}
	*b, ok = sip.ParseUint(strings.TrimSpace(y))
	return ok
}

// add counts what another place has.
func (s *Summary) add(o *Summary) {
	s.Waiting = s.Waiting || o.Waiting // RFC 3842 §3.10
	if s.Account == "" {
		s.Account = o.Account
	}
	for _, c := range o.Counts {
		i := slices.IndexFunc(s.Counts, func(have Count) bool { return have.Class == c.Class })
		if i < 0 {
			s.Counts = append(s.Counts, c)
			continue
		}
		have := &s.Counts[i]
		have.New, have.Old = plus(have.New, c.New), plus(have.Old, c.Old)
		have.UrgentNew, have.UrgentOld = plus(have.UrgentNew, c.UrgentNew), plus(have.UrgentOld, c.UrgentOld)
	}
}

func plus(a, b uint32) uint32 { return uint32(min(uint64(a)+uint64(b), math.MaxUint32)) }

// Append writes the summary, classes in the order of their names.
func (s *Summary) Append(b []byte) []byte {
	status := "no"
	if s.Waiting {
		status = "yes"
	}
	b = append(append(append(b, "Messages-Waiting: "...), status...), "\r\n"...)
	if s.Account != "" {
		b = append(append(append(b, "Message-Account: "...), s.Account...), "\r\n"...)
	}
	counts := slices.SortedFunc(slices.Values(s.Counts), func(x, y Count) int { return strings.Compare(x.Class, y.Class) })
	for _, c := range counts {
		b = append(append(b, title(c.Class)...), ": "...)
		b = appendPair(b, c.New, c.Old)
		b = append(appendPair(append(b, " ("...), c.UrgentNew, c.UrgentOld), ")\r\n"...)
	}
	return b
}

func appendPair(b []byte, x, y uint32) []byte {
	b = strconv.AppendUint(b, uint64(x), 10)
	return strconv.AppendUint(append(b, '/'), uint64(y), 10)
}

// title writes a class as telephones know it: Voice-Message.
func title(class string) string {
	out := []byte(class)
	for i := range out {
		if c := out[i]; (i == 0 || out[i-1] == '-') && c >= 'a' && c <= 'z' {
			out[i] = c - 'a' + 'A'
		}
	}
	return string(out)
}
