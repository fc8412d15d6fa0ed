package archive

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"time"
)

// FormatVersion is the version of the files, as FORMAT.md states it.
const FormatVersion = 1

// Limits of the format. A writer refuses what is larger, and a reader takes a
// larger length for damage before it allocates anything.
const (
	MaxField    = 1<<16 - 1 // bytes of one text field
	MaxEnvelope = 1 << 18   // bytes of all fields of a record
	MaxContent  = 8 << 20   // bytes of Raw
)

// Sizes and marks of FORMAT.md.
const (
	recordVersion = 1

	frameHead   = 8  // length and flags word, CRC
	recordHead  = 40 // fixed part of a record's payload
	innerHead   = 20 // fixed part of a record's content
	structHead  = 8  // fixed part of a payload that is no record
	maxInner    = innerHead + MaxEnvelope + MaxContent
	maxPayload  = recordHead + MaxEnvelope + commitment + maxInner + maxSeal
	lengthMask  = 1<<24 - 1
	flagFence   = 1 << 24 // all before this frame was durable when it was written
	flagOmitted = 1 << 0  // the body is not in the content

	formNone   = 0 // no content
	formPlain  = 1 // salt, private fields, Raw
	formSealed = 2 // the commitment, then the same, sealed
	formErased = 3 // the commitment alone

	typeMax    = 239 // last type that has a seq
	typeHeader = 240 // first frame of a segment
	typeEnd    = 241 // last frame of a segment that was finished

	typeCheckpoint = 242 // a signed note over the records before it

	// Of compressed segments.
	typeEnvelopes = 243 // records without their content
	typeContents  = 244 // contents under one key
	typeIndex     = 245 // where the others stand
)

// Offsets in the payload of a record.
const (
	atVersion  = 0
	atType     = 1
	atFlags    = 2
	atForm     = 3
	atEnvelope = 4
	atSeq      = 8
	atArchived = 16
	atID       = 24
)

// The tags of a record's fields, in the order in which they are written.
const (
	tagNode        = 1
	tagReceived    = 2
	tagCites       = 3
	tagDirection   = 4
	tagChannel     = 5
	tagFrom        = 6
	tagTo          = 7
	tagFromName    = 8
	tagSubject     = 9
	tagCallID      = 10
	tagCSeq        = 11
	tagBranch      = 12
	tagMethod      = 13
	tagRequestURI  = 14
	tagSource      = 15
	tagFlow        = 16
	tagDevice      = 17
	tagUserAgent   = 18
	tagContentType = 19
	tagMessageID   = 20
	tagDate        = 21
	tagDecision    = 22
	tagRule        = 23
	tagDisposition = 24
	tagStatus      = 25
	tagReason      = 26
	tagTarget      = 27
	tagRequestKey  = 28
	tagPolicy      = 29
	tagFlags       = 30
	tagClass       = 31
	tagFromUnit    = 32
	tagToUnit      = 33
	tagActor       = 34
	tagAction      = 35
	tagObject      = 36
	tagSize        = 37
	tagFromGroups  = 38
	tagToGroups    = 39
	tagAlias       = 40
	tagLast        = tagAlias
)

// private are the tags that stand with the content when there is one: they
// tell what the author wrote or where he was, and are erased with it.
const private = 1<<tagFromName | 1<<tagSubject | 1<<tagCallID | 1<<tagBranch | 1<<tagRequestURI | 1<<tagSource |
	1<<tagFlow | 1<<tagDevice | 1<<tagUserAgent | 1<<tagMessageID | 1<<tagDate

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// text returns the field of a text tag, or nil for any other tag. Encoder and
// decoder share it, so that they cannot disagree.
func (r *Record) text(tag uint64) *string {
	switch tag {
	case tagNode:
		return &r.Node
	case tagChannel:
		return &r.Channel
	case tagFrom:
		return &r.From
	case tagTo:
		return &r.To
	case tagFromName:
		return &r.FromName
	case tagSubject:
		return &r.Subject
	case tagCallID:
		return &r.CallID
	case tagBranch:
		return &r.Branch
	case tagMethod:
		return &r.Method
	case tagRequestURI:
		return &r.RequestURI
	case tagSource:
		return &r.Source
	case tagFlow:
		return &r.Flow
	case tagDevice:
		return &r.Device
	case tagUserAgent:
		return &r.UserAgent
	case tagContentType:
		return &r.ContentType
	case tagMessageID:
		return &r.MessageID
	case tagDate:
		return &r.Date
	case tagDecision:
		return &r.Decision
	case tagRule:
		return &r.Rule
	case tagReason:
		return &r.Reason
	case tagTarget:
		return &r.Target
	case tagPolicy:
		return &r.Policy
	case tagFlags:
		return &r.Flags
	case tagClass:
		return &r.Class
	case tagFromUnit:
		return &r.FromUnit
	case tagToUnit:
		return &r.ToUnit
	case tagFromGroups:
		return &r.FromGroups
	case tagToGroups:
		return &r.ToGroups
	case tagAlias:
		return &r.Alias
	case tagActor:
		return &r.Actor
	case tagAction:
		return &r.Action
	case tagObject:
		return &r.Object
	}
	return nil
}

// check refuses what the format cannot hold and returns a bound of the bytes
// that the record takes, frame included.
func (r *Record) check() (int, error) {
	if r.Type == 0 || r.Type > typeMax {
		return 0, fmt.Errorf("%w: type %d", ErrInvalid, r.Type)
	}
	if r.Type == TypeOutcome && r.Cites.IsZero() {
		return 0, fmt.Errorf("%w: an outcome that cites nothing", ErrInvalid)
	}
	n, longest := 0, 0
	for _, s := range [...]string{
		r.Node, r.Channel, r.From, r.To, r.FromName, r.Subject, r.CallID, r.Branch, r.Method, r.RequestURI, r.Source, r.Flow,
		r.Device, r.UserAgent, r.ContentType, r.MessageID, r.Date, r.Decision, r.Rule, r.Reason, r.Target,
		r.Policy, r.Flags, r.Class, r.FromUnit, r.ToUnit, r.FromGroups, r.ToGroups, r.Actor, r.Action, r.Object, r.Alias,
	} {
		n += len(s) + 4
		longest = max(longest, len(s))
	}
	if longest > MaxField {
		return 0, r.tooLong()
	}
	n += 80 // numbers, times, IDs
	if n > MaxEnvelope {
		return 0, fmt.Errorf("%w: fields take %d bytes", ErrTooLarge, n)
	}
	if len(r.Raw) > MaxContent {
		return 0, fmt.Errorf("%w: content has %d bytes", ErrTooLarge, len(r.Raw))
	}
	return frameHead + recordHead + n + commitment + innerHead + len(r.Raw) + maxSeal, nil
}

// tooLong names a field that is longer than the format allows.
func (r *Record) tooLong() error {
	for tag := uint64(tagNode); tag <= tagLast; tag++ {
		if p := r.text(tag); p != nil && len(*p) > MaxField {
			return fmt.Errorf("%w: field %d has %d bytes", ErrTooLarge, tag, len(*p))
		}
	}
	return ErrTooLarge
}

// AppendBinary appends the record to b as the payload of its frame, as
// FORMAT.md states it, with plain content, or erased when it is not there. Equal
// records give equal bytes.
func (r *Record) AppendBinary(b []byte) ([]byte, error) {
	if _, err := r.check(); err != nil {
		return b, err
	}
	return r.encode(b, nil)
}

// encode appends the payload. With a Sealer the content is sealed for the
// record's author, if it names one.
func (r *Record) encode(b []byte, keys Sealer) ([]byte, error) {
	start := len(b)
	var head [recordHead]byte
	head[atVersion] = recordVersion
	head[atType] = byte(r.Type)
	if r.BodyOmitted {
		head[atFlags] |= flagOmitted
	}
	binary.LittleEndian.PutUint64(head[atSeq:], r.Seq)
	binary.LittleEndian.PutUint64(head[atArchived:], uint64(micros(r.Archived)))
	copy(head[atID:], r.ID[:])
	b = append(b, head[:]...)

	b = appendText(b, tagNode, r.Node)
	if !r.Received.IsZero() {
		b = append(b, tagReceived, 8)
		b = binary.LittleEndian.AppendUint64(b, uint64(micros(r.Received)))
	}
	if !r.Cites.IsZero() {
		b = append(b, tagCites, 16)
		b = append(b, r.Cites[:]...)
	}
	b = appendNumber(b, tagDirection, uint64(r.Direction))
	b = appendText(b, tagChannel, r.Channel)
	b = appendText(b, tagFrom, r.From)
	b = appendText(b, tagTo, r.To)
	content := len(r.Raw) > 0 || r.Content != Present
	if !content {
		b = appendText(b, tagFromName, r.FromName)
		b = appendText(b, tagSubject, r.Subject)
		b = appendText(b, tagCallID, r.CallID)
	}
	b = appendNumber(b, tagCSeq, uint64(r.CSeq))
	if !content {
		b = appendText(b, tagBranch, r.Branch)
	}
	b = appendText(b, tagMethod, r.Method)
	if !content {
		b = appendText(b, tagRequestURI, r.RequestURI)
		b = appendText(b, tagSource, r.Source)
		b = appendText(b, tagFlow, r.Flow)
		b = appendText(b, tagDevice, r.Device)
		b = appendText(b, tagUserAgent, r.UserAgent)
	}
	b = appendText(b, tagContentType, r.ContentType)
	if !content {
		b = appendText(b, tagMessageID, r.MessageID)
		b = appendText(b, tagDate, r.Date)
	}
	b = appendText(b, tagDecision, r.Decision)
	b = appendText(b, tagRule, r.Rule)
	b = appendNumber(b, tagDisposition, uint64(r.Disposition))
	b = appendNumber(b, tagStatus, uint64(r.Status))
	b = appendText(b, tagReason, r.Reason)
	b = appendText(b, tagTarget, r.Target)
	if r.RequestKey != [16]byte{} {
		b = append(b, tagRequestKey, 16)
		b = append(b, r.RequestKey[:]...)
	}
	b = appendText(b, tagPolicy, r.Policy)
	b = appendText(b, tagFlags, r.Flags)
	b = appendText(b, tagClass, r.Class)
	b = appendText(b, tagFromUnit, r.FromUnit)
	b = appendText(b, tagToUnit, r.ToUnit)
	b = appendText(b, tagActor, r.Actor)
	b = appendText(b, tagAction, r.Action)
	b = appendText(b, tagObject, r.Object)
	b = appendNumber(b, tagSize, r.Size)
	b = appendText(b, tagFromGroups, r.FromGroups)
	b = appendText(b, tagToGroups, r.ToGroups)
	b = appendText(b, tagAlias, r.Alias)
	binary.LittleEndian.PutUint32(b[start+atEnvelope:], uint32(len(b)-start-recordHead))
	switch {
	case !content:
		return b, nil
	case r.Content != Present:
		b[start+atForm] = formErased
		return append(b, r.Commitment[:]...), nil
	}
	if keys == nil || r.From == "" {
		b[start+atForm] = formPlain
		return r.appendInner(b), nil
	}
	b[start+atForm] = formSealed
	return r.seal(b, keys)
}

// appendInner appends the content: the salt, the private fields and Raw.
func (r *Record) appendInner(b []byte) []byte {
	b = append(b, r.Salt[:]...)
	at := len(b)
	b = append(b, 0, 0, 0, 0)
	b = appendText(b, tagFromName, r.FromName)
	b = appendText(b, tagSubject, r.Subject)
	b = appendText(b, tagCallID, r.CallID)
	b = appendText(b, tagBranch, r.Branch)
	b = appendText(b, tagRequestURI, r.RequestURI)
	b = appendText(b, tagSource, r.Source)
	b = appendText(b, tagFlow, r.Flow)
	b = appendText(b, tagDevice, r.Device)
	b = appendText(b, tagUserAgent, r.UserAgent)
	b = appendText(b, tagMessageID, r.MessageID)
	b = appendText(b, tagDate, r.Date)
	binary.LittleEndian.PutUint32(b[at:], uint32(len(b)-at-4))
	return append(b, r.Raw...)
}

func appendText(b []byte, tag byte, s string) []byte {
	if s == "" {
		return b
	}
	b = append(b, tag)
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

func appendNumber(b []byte, tag byte, n uint64) []byte {
	if n == 0 {
		return b
	}
	b = append(b, tag, 0)
	at := len(b)
	b = binary.AppendUvarint(b, n)
	b[at-1] = byte(len(b) - at)
	return b
}

// maxTime is the last microsecond of the year 9999, after which neither RFC
// 3339 nor JSON can write a time.
const maxTime = 253_402_300_799_999_999

// maxSeq bounds seq and all numbers of segments, so that no sum overflows.
const maxSeq = 1 << 62

// micros returns microseconds since 1970; the zero time gives 0. A clock
// outside the years that the format holds gives the nearest it does.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return min(max(t.UnixMicro(), 1), maxTime)
}

// appendFrame appends an open frame for r: its CRC, seq, archive time and
// fence are stamped when it is written.
func appendFrame(b []byte, r *Record, keys Sealer) ([]byte, error) {
	start := len(b)
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0)
	b, err := r.encode(b, keys)
	if err != nil {
		return b[:start], err
	}
	binary.LittleEndian.PutUint32(b[start:], uint32(len(b)-start-frameHead))
	return b, nil
}

// seedOf returns the CRC32C of a segment's ID, from which the CRC of each frame
// in it goes on. A sender does not know the ID, so no message can carry bytes
// that a reader, looking for the next frame behind damage, takes for a record.
func seedOf(id [16]byte) uint32 { return crc32.Update(0, castagnoli, id[:]) }

// sealFrame computes the CRC of the frame f, head included.
func sealFrame(f []byte, seed uint32) {
	c := crc32.Update(seed, castagnoli, f[:4])
	binary.LittleEndian.PutUint32(f[4:], crc32.Update(c, castagnoli, f[frameHead:]))
}
