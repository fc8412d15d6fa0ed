package archive

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
)

// example returns the bytes of a hex block of FORMAT.md.
func example(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile("FORMAT.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, ok := strings.Cut(string(text), "```hex "+name+"\n")
	if !ok {
		t.Fatalf("no example %q", name)
	}
	block, _, _ = strings.Cut(block, "```")
	var out []byte
	digits := regexp.MustCompile(`^(?:[0-9a-f]{2} {1,2})*[0-9a-f]{2}(?:  |$)`)
	for line := range strings.Lines(block) {
		line = strings.TrimRight(line, "\n")
		b, err := hex.DecodeString(strings.ReplaceAll(digits.FindString(line), " ", ""))
		if err != nil || len(b) == 0 {
			t.Fatalf("%q: %v", line, err)
		}
		out = append(out, b...)
	}
	return out
}

// TestExample reads the example of FORMAT.md and writes the same bytes.
func TestExample(t *testing.T) {
	head := example(t, "header")
	msg, out, last := example(t, "message"), example(t, "outcome"), example(t, "end")
	head = append(head, make([]byte, 512-len(head))...)
	file := bytes.Join([][]byte{head, head, msg, out, last}, nil)
	dir := t.TempDir()
	if err := os.WriteFile(segmentPath(dir, 1), file, 0o600); err != nil {
		t.Fatal(err)
	}
	if rep := verified(t, dir); !rep.OK || rep.Torn != nil {
		t.Fatal(rep.Err(), rep.Torn)
	}
	rs := all(t, dir)
	at := time.Date(2026, 1, 2, 3, 4, 5, 678901000, time.UTC)
	want := &Record{
		Type: TypeMessage, ID: ID{0x01, 0x9b, 0x7d, 0x1f, 0xc8, 0xee, 0x52, 0x94, 0xa5, 0x29, 0x4a, 0x52, 0x94, 0xa5, 0x29, 0x4a}, Seq: 1, Node: "n1",
		Received: at.Add(-time.Millisecond), Archived: at, Salt: rs[0].Salt, Direction: Internal, Channel: "sip-message",
		From: "sip:alice@example.com", To: "sip:bob@example.com", CallID: "a84b4c76e66710", CSeq: 300, Method: "MESSAGE",
		Raw: []byte("MESSAGE sip:bob@example.com SIP/2.0\r\n\r\nHello"),
	}
	if !reflect.DeepEqual(rs[0], want) {
		t.Errorf("got  %+v\nwant %+v", rs[0], want)
	}
	if rs[0].ID.String() != "01KDYHZJ7EAAAAAAAAAAAAAAAA" || string(rs[0].Body()) != "Hello" {
		t.Errorf("%s %q", rs[0].ID, rs[0].Body())
	}
	if o := rs[1]; o.Cites != rs[0].ID || o.Disposition != Delivered || o.Status != 200 || o.Reason != "OK" {
		t.Errorf("outcome %+v", o)
	}
	for i, f := range [][]byte{msg, out} {
		b, err := rs[i].AppendBinary(nil)
		if err != nil || !bytes.Equal(b, f[8:]) {
			t.Errorf("record %d written again: %v\n% x\n% x", i, err, b, f[8:])
		}
	}
	var h header
	if bad := h.fromCopy(head); bad != "" || !bytes.Equal(h.encode(), file[:1024]) {
		t.Errorf("header written again: %s", bad)
	}
	e := end{id: h.id, records: 2, offset: 1320, crc: crc32.Checksum(file[:1320], castagnoli)}
	if !bytes.Equal(e.encode(), last) {
		t.Errorf("end written again: % x", e.encode())
	}
}

// second is a decoder written from FORMAT.md alone; it shares no code with
// the package. It returns each record as tag → value, with the fixed fields
// under negative numbers, or panics.
func second(file []byte) (records []map[int]string) {
	le := binary.LittleEndian
	table := crc32.MakeTable(crc32.Castagnoli)
	must := func(ok bool, what string) {
		if !ok {
			panic(what)
		}
	}
	fields := func(b []byte) map[int]string {
		m := map[int]string{}
		for last := uint64(0); len(b) > 0; {
			tag, n := binary.Uvarint(b)
			must(n > 0 && tag > last, "tag")
			size, k := binary.Uvarint(b[n:])
			must(k > 0 && size > 0, "size")
			b = b[n+k:]
			m[int(tag)], b, last = string(b[:size]), b[size:], tag
		}
		return m
	}
	frame := func(b []byte, id string) ([]byte, int) {
		n := int(b[0]) | int(b[1])<<8 | int(b[2])<<16
		must(b[3] <= 1, "flags")
		sum := crc32.Checksum([]byte(id+string(b[:4])+string(b[8:8+n])), table)
		must(sum == le.Uint32(b[4:]), "crc")
		return b[8 : 8+n], 8 + n
	}
	must(string(file[:8]) == "RCARCH\x01\x00" && bytes.Equal(file[:512], file[512:1024]), "header block")
	head, _ := frame(file[8:], "")
	must(head[0] == 1 && head[1] == 240 && int(le.Uint32(head[4:])) == len(head)-8, "header")
	h := fields(head[8:])
	seq, _ := binary.Uvarint([]byte(h[4]))
	for at := 1024; ; {
		p, n := frame(file[at:], h[2])
		must(p[0] == 1, "version")
		if p[1] == 241 {
			must(string(p[8:24]) == h[2] && int(le.Uint64(p[24:])) == len(records) && int(le.Uint64(p[32:])) == at &&
				le.Uint32(p[40:]) == crc32.Checksum(file[:at], table) && string(p[44:]) == "rcarcEND" && len(file) == at+n, "end")
			return records
		}
		env := int(le.Uint32(p[4:]))
		m := fields(p[40 : 40+env])
		must(le.Uint64(p[8:]) == seq+uint64(len(records)), "seq")
		m[-1], m[-2], m[-3] = string(p[1:3]), string(p[16:24]), string(p[24:40])
		content := p[40+env:]
		must(p[3] <= 1 && (p[3] == 1) == (len(content) > 0), "form")
		if len(content) > 0 {
			n := int(le.Uint32(content[16:]))
			for tag, v := range fields(content[20 : 20+n]) {
				m[tag] = v
			}
			m[-4], m[-5] = string(content[:16]), string(content[20+n:])
		}
		records = append(records, m)
		at += n
	}
}

// asMap says what second must find for r.
func asMap(r *Record) map[int]string {
	le := binary.LittleEndian
	m := map[int]string{
		-1: string([]byte{byte(r.Type), 0}), -2: string(le.AppendUint64(nil, uint64(r.Archived.UnixMicro()))),
		-3: string(r.ID[:]),
	}
	if len(r.Raw) > 0 {
		m[-4], m[-5] = string(r.Salt[:]), string(r.Raw)
	}
	if r.BodyOmitted {
		m[-1] = string([]byte{byte(r.Type), 1})
	}
	text := map[int]string{
		1: r.Node, 5: r.Channel, 6: r.From, 7: r.To, 8: r.FromName, 9: r.Subject, 10: r.CallID, 12: r.Branch, 13: r.Method,
		14: r.RequestURI, 15: r.Source, 16: r.Flow, 17: r.Device, 18: r.UserAgent, 19: r.ContentType, 20: r.MessageID, 21: r.Date,
		22: r.Decision, 23: r.Rule, 26: r.Reason, 27: r.Target, 29: r.Policy, 30: r.Flags, 31: r.Class, 32: r.FromUnit, 33: r.ToUnit, 34: r.Actor, 35: r.Action, 36: r.Object,
		38: r.FromGroups, 39: r.ToGroups, 40: r.Alias,
	}
	for tag, n := range map[int]uint64{4: uint64(r.Direction), 11: uint64(r.CSeq), 24: uint64(r.Disposition), 25: uint64(r.Status), 37: r.Size} {
		if n > 0 {
			text[tag] = string(binary.AppendUvarint(nil, n))
		}
	}
	for tag, id := range map[int][16]byte{3: r.Cites, 28: r.RequestKey} {
		if id != [16]byte{} {
			text[tag] = string(id[:])
		}
	}
	if !r.Received.IsZero() {
		text[2] = string(le.AppendUint64(nil, uint64(r.Received.UnixMicro())))
	}
	for tag, v := range text {
		if v != "" {
			m[tag] = v
		}
	}
	return m
}

func random(rnd *rand.Rand) *Record {
	text := func() string {
		if rnd.IntN(3) == 0 {
			return ""
		}
		b := make([]byte, rnd.IntN(1<<rnd.IntN(10)))
		for i := range b {
			b[i] = byte(rnd.Uint32())
		}
		return string(b)
	}
	r := &Record{
		Type: Type(1 + rnd.IntN(typeMax)), Cites: NewID(time.Now()), Direction: Direction(rnd.Uint32()), CSeq: rnd.Uint32() >> rnd.IntN(33),
		Disposition: Disposition(rnd.Uint32()), Status: uint16(rnd.Uint32()), BodyOmitted: rnd.IntN(2) == 0,
		Received: time.UnixMicro(rnd.Int64N(1 << 55)), Raw: []byte(text()), Size: uint64(rnd.IntN(1000)),
	}
	for tag := uint64(1); tag <= tagLast; tag++ {
		if p := r.text(tag); p != nil {
			*p = text()
		}
	}
	if rnd.IntN(2) == 0 {
		binary.LittleEndian.PutUint64(r.RequestKey[:], rnd.Uint64())
	}
	return r
}

// TestSecondDecoder writes records of all shapes and reads them with both readers.
func TestSecondDecoder(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, Options{Node: "n1", SegmentBytes: 200 << 10, noSync: true})
	rnd := rand.New(rand.NewPCG(1, 2))
	var want []map[int]string
	for range 3000 {
		r := random(rnd)
		if _, err := j.Append(context.Background(), r); err != nil {
			t.Fatal(err)
		}
		want = append(want, asMap(r))
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	var got []map[int]string
	for _, name := range segments(t, dir) {
		file, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, second(file)...)
	}
	if len(got) != len(want) {
		t.Fatalf("%d records, want %d", len(got), len(want))
	}
	rs := all(t, dir)
	for i := range want {
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Fatalf("record %d: second decoder has %v, want %v", i+1, got[i], want[i])
		}
		if m := asMap(rs[i]); !reflect.DeepEqual(m, want[i]) {
			t.Fatalf("record %d: reader has %v, want %v", i+1, m, want[i])
		}
	}
}

// TestUnknownTag: a field of a later version is skipped.
func TestUnknownTag(t *testing.T) {
	b, err := message(1).AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	n := binary.LittleEndian.Uint32(b[atEnvelope:])
	at := recordHead + int(n)
	later := []byte{0xc8, 0x01, 3, 'n', 'e', 'w'}
	b = append(b[:at:at], append(later, b[at:]...)...)
	binary.LittleEndian.PutUint32(b[atEnvelope:], n+uint32(len(later)))
	var r Record
	if err := r.UnmarshalBinary(b); err != nil || r.Subject != "" || string(r.Body()) != "hello 1" {
		t.Fatal(err, r)
	}
	for i := range b[:4] { // version, type, flags, form of a later kind
		c := bytes.Clone(b)
		c[i] = 0xff
		if err := r.UnmarshalBinary(c); !errors.Is(err, ErrFormat) {
			t.Errorf("byte %d: %v", i, err)
		}
	}
}

func TestID(t *testing.T) {
	now := time.UnixMilli(1767323045678)
	a := NewID(now)
	for _, d := range []time.Duration{0, -time.Hour, 0, time.Millisecond} {
		b := NewID(now.Add(d))
		if bytes.Compare(a[:], b[:]) >= 0 {
			t.Fatalf("%s does not come after %s", b, a)
		}
		if got, err := ParseID(strings.ToLower(b.String())); err != nil || got != b {
			t.Fatalf("%s: %v", b, err)
		}
		a = b
	}
	for _, s := range []string{"", "8ZZZZZZZZZZZZZZZZZZZZZZZZZ", "01KDYHZJ7EAAAAAAAAAAAAAAAU", "01KDYHZJ7EAAAAAAAAAAAAAAA", "01KDYHZJ7EAAAAAAAAAAAAAAA\xff"} {
		if _, err := ParseID(s); !errors.Is(err, ErrID) {
			t.Errorf("%q is taken", s)
		}
	}
}

// FuzzRecord: any bytes give an error, or a record that is written as the same bytes.
func FuzzRecord(f *testing.F) {
	for _, name := range []string{"message", "outcome"} {
		f.Add(example(f, name)[8:])
	}
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 10 {
		b, err := random(rnd).AppendBinary(nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var r Record
		if err := r.UnmarshalBinary(b); err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Fatal(err)
			}
			return
		}
		_ = r.View(true)
		again, err := r.AppendBinary(nil)
		if err != nil {
			return // limits of the writer are a little below those of the reader
		}
		if len(again) == len(b) && !bytes.Equal(again, b) || len(again) > len(b) {
			t.Fatalf("written again:\n% x\n% x", again, b)
		}
	})
}

// FuzzSegment: a folder with any file in it can be read, verified and opened.
func FuzzSegment(f *testing.F) {
	head := example(f, "header")
	head = append(head, make([]byte, 512-len(head))...)
	file := bytes.Join([][]byte{head, head, example(f, "message"), example(f, "outcome"), example(f, "end")}, nil)
	for _, reseal := range []bool{false, true} {
		f.Add(file, reseal)
		f.Add(file[:len(file)-60], reseal)
		f.Add(file[:1280], reseal)
		f.Add(append(bytes.Clone(file[:1300]), make([]byte, 100)...), reseal)
		f.Add([]byte{}, reseal)
	}
	f.Fuzz(func(t *testing.T, b []byte, reseal bool) {
		if reseal && len(b) > headerBlock { // as one who can compute the CRCs would
			b = bytes.Clone(b)
			if n := frameSize(b[len(magic):]); n <= headerCopy-len(magic) {
				sealFrame(b[len(magic):len(magic)+n], 0)
			}
			copy(b[headerCopy:headerBlock], b)
			var h header
			_ = h.fromCopy(b[:headerCopy])
			for rest := b[headerBlock:]; len(rest) >= frameHead && frameSize(rest) <= len(rest); rest = rest[frameSize(rest):] {
				sealFrame(rest[:frameSize(rest)], seedOf(h.id))
			}
		}
		dir := t.TempDir()
		if err := os.WriteFile(segmentPath(dir, 1), b, 0o600); err != nil {
			t.Fatal(err)
		}
		before, err := at(dir).Verify()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := at(dir).Stats(); err != nil {
			t.Fatal(err)
		}
		j, err := Open(dir, Options{noSync: true})
		if err != nil {
			var fault *Fault
			if !errors.As(err, &fault) || before.OK {
				t.Fatal(err, before)
			}
			return
		}
		rc, err := j.Append(context.Background(), message(1))
		if err != nil {
			t.Fatal(err)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		rep, err := at(dir).Verify()
		if err != nil || before.OK && !rep.OK || rep.LastSeq != rc.Seq() || rep.Records < before.Records {
			t.Fatalf("%v before %+v after %+v: %v", err, before, rep, rep.Err())
		}
	})
}
