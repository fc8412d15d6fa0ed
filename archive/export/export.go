package export

import (
	"bufio"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"rollcall/archive"
)

// Person is what formats want to know of an address.
type Person struct {
	Name, Email, Unit string
	// Internal people are accounts of the company.
	Internal bool
}

// Options say what is exported.
type Options struct {
	Folder archive.Folder // with keys, or else contents are left out
	Query  archive.Query
	Text   string // of the query, for the manifest
	Format string // one of Formats
	// People returns what is known of an AOR. It may be nil.
	People func(aor string) (Person, bool)
	// Zone is that of the days that conversations are cut into; nil is UTC.
	Zone *time.Location
	// Product names the software in the files.
	Product string
	// Progress is called now and then with the messages written and those in all.
	Progress func(done, all int)
	// Act records the export with its reason and the SHA-256 of its manifest, and
	// returns the record's ID. Nil leaves the export without a seal.
	Act func(ctx context.Context, manifest string) (archive.ID, error)
}

// Formats are the names of the formats.
var Formats = []string{"jsonl", "csv", "eml", "actiance", "globalrelay", "rsmf", "edrm"}

// Errors a caller may branch on.
var (
	ErrEmpty  = errors.New("export: no message matches the query; nothing was written")
	ErrFormat = errors.New("export: unknown format")
	ErrOther  = errors.New("export: the folder has another export")
)

// Manifest describes an export.
type Manifest struct {
	Version int    `json:"version"` // 1
	Product string `json:"product"`
	Format  string `json:"format"`
	Query   string `json:"query"`
	// Through is the last record that was looked at.
	Through uint64    `json:"through"`
	Created time.Time `json:"created"`
	// Messages and Records count what is exported; Unreadable are messages whose
	// content was erased or sealed.
	Messages   int    `json:"messages"`
	Records    int    `json:"records"`
	Unreadable int    `json:"unreadable"`
	Origin     string `json:"origin"` // of the archive
	TreeSize   int64  `json:"tree_size"`
	Files      []File `json:"files"`
}

// File is a file of an export.
type File struct {
	Name   string `json:"name"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// Names of the files that every export has.
const (
	manifestFile   = "manifest.json"
	checkpointFile = "checkpoint.txt"
	sealFile       = "seal.json"
	planFile       = "plan.json" // while the export is not finished
)

// plan is what an unfinished export goes on with.
type plan struct {
	Format  string    `json:"format"`
	Query   string    `json:"query"`
	Through uint64    `json:"through"`
	Created time.Time `json:"created"`
	Signed  string    `json:"checkpoint"`
}

// message is a message with what became of it.
type message struct {
	*archive.Record
	outcomes []*archive.Record
}

// at is when the message came.
func (m *message) at() time.Time {
	if m.Received.IsZero() {
		return m.Archived
	}
	return m.Received
}

// conversation is what two parties wrote on one day.
type conversation struct {
	id       string // of the pair of parties, not of the day
	day      string // 2026-11-25
	parties  []string
	messages []*message
}

// format writes one format. Its files are named by add, which skips those that
// an earlier run wrote.
type format interface {
	// day is given the conversations of a day, in a fixed order.
	day(e *exporter, list []*conversation) error
}

type exporter struct {
	o       Options
	dir     string
	plan    plan
	files   []File
	provers []*archive.Prover // of the same checkpoint
	done    int
	all     int
	m       Manifest
}

// Run writes an export to dir, which is made. When dir has the same export,
// unfinished, it goes on with it. It returns the manifest.
func Run(ctx context.Context, dir string, o Options) (*Manifest, error) {
	if !slices.Contains(Formats, o.Format) {
		return nil, fmt.Errorf("%w %q: one of %s", ErrFormat, o.Format, strings.Join(Formats, ", "))
	}
	if o.Zone == nil {
		o.Zone = time.UTC
	}
	if o.People == nil {
		o.People = func(string) (Person, bool) { return Person{}, false }
	}
	o.Query.Type = "message"
	e := &exporter{o: o, dir: dir}
	if err := e.begin(ctx); err != nil {
		return nil, err
	}
	outcomes, err := e.find(ctx)
	if err != nil {
		return nil, err
	}
	if e.all == 0 {
		_ = os.Remove(filepath.Join(dir, planFile))
		_ = os.Remove(dir) // if it is empty
		return nil, ErrEmpty
	}
	if err := e.write(ctx, outcomes); err != nil {
		return nil, err
	}
	return e.finish(ctx)
}

// begin makes or reads the plan.
func (e *exporter) begin(ctx context.Context) error {
	if _, err := os.Stat(filepath.Join(e.dir, manifestFile)); err == nil {
		return fmt.Errorf("%w: %s is finished; name another folder", ErrOther, e.dir)
	}
	if err := os.MkdirAll(e.dir, 0o700); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	b, err := os.ReadFile(filepath.Join(e.dir, planFile))
	switch {
	case err == nil:
		if err := json.Unmarshal(b, &e.plan); err != nil {
			return fmt.Errorf("read plan of the unfinished export: %w", err)
		}
		if e.plan.Format != e.o.Format || e.plan.Query != e.o.Text {
			return fmt.Errorf("%w: an unfinished one, of %q as %s", ErrOther, e.plan.Query, e.plan.Format)
		}
	case errors.Is(err, fs.ErrNotExist):
		if entries, err := os.ReadDir(e.dir); err != nil || len(entries) > 0 {
			return fmt.Errorf("%w, or other files: %s is not empty", ErrOther, e.dir)
		}
		signed, cp, err := e.checkpoint(ctx)
		if err != nil {
			return err
		}
		e.plan = plan{Format: e.o.Format, Query: e.o.Text, Through: uint64(cp.Size), Created: time.Now().UTC(), Signed: string(signed)}
		b, err := json.Marshal(e.plan)
		if err != nil {
			return err
		}
		if err := writeFile(filepath.Join(e.dir, planFile), b); err != nil {
			return err
		}
	default:
		return err
	}
	e.provers, err = newProvers(e.o.Folder, []byte(e.plan.Signed))
	return err
}

// checkpoint returns the newest checkpoint. While a server keeps the archive it
// waits for one that is over all that is there now.
func (e *exporter) checkpoint(ctx context.Context) ([]byte, *archive.Checkpoint, error) {
	last, err := e.o.Folder.LastSeq()
	if err != nil {
		return nil, nil, err
	}
	for end := time.Now().Add(sealWait); ; {
		signed, err := e.o.Folder.Checkpoint()
		if err != nil && (e.o.Act == nil || !errors.Is(err, fs.ErrNotExist)) {
			return nil, nil, fmt.Errorf("the archive has no checkpoint to prove an export by: %w", err)
		}
		if cp, err := archive.ParseCheckpoint(signed); err == nil && (cp.Size >= int64(last) || e.o.Act == nil || time.Now().After(end)) {
			return signed, cp, nil
		} else if err != nil && e.o.Act == nil || time.Now().After(end) {
			return nil, nil, fmt.Errorf("the archive has no checkpoint to prove an export by: %w", err)
		}
		select {
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// find counts the messages and collects what became of them.
func (e *exporter) find(ctx context.Context) (map[archive.ID][]*archive.Record, error) {
	outcomes := map[archive.ID][]*archive.Record{}
	first := uint64(0)
	err := e.o.Folder.Search(ctx, e.o.Query, func(r *archive.Record, _ archive.Pos) error {
		if r.Seq > e.plan.Through {
			return nil
		}
		if first == 0 || r.Seq < first {
			first = r.Seq
		}
		outcomes[r.ID] = nil
		return nil
	})
	if err != nil || len(outcomes) == 0 {
		return nil, err
	}
	e.all = len(outcomes)
	err = archive.Folder{Dir: e.o.Folder.Dir}.ScanFrom(first, func(r *archive.Record) error {
		if r.Seq > e.plan.Through {
			return errDone
		}
		if list, ok := outcomes[r.Cites]; ok && r.Type == archive.TypeOutcome {
			outcomes[r.Cites] = append(list, r)
		}
		return ctx.Err()
	})
	if err != nil && !errors.Is(err, errDone) {
		return nil, err
	}
	return outcomes, nil
}

var errDone = errors.New("done")

// write goes through the messages day by day.
func (e *exporter) write(ctx context.Context, outcomes map[archive.ID][]*archive.Record) error {
	var f format
	switch e.o.Format {
	case "csv":
		f = &csvFormat{}
	case "eml":
		f = emlFormat{}
	case "actiance":
		f = actianceFormat{}
	case "globalrelay":
		f = globalRelayFormat{}
	case "rsmf":
		f = rsmfFormat{}
	case "edrm":
		f = edrmFormat{}
	}
	var day string
	var list []*message
	flush := func() error {
		if len(list) == 0 {
			return nil
		}
		if err := e.records(day, list); err != nil {
			return err
		}
		if f != nil {
			if err := f.day(e, converse(day, list)); err != nil {
				return err
			}
		}
		e.done += len(list)
		if e.o.Progress != nil {
			e.o.Progress(e.done, e.all)
		}
		list = list[:0]
		return ctx.Err()
	}
	part := 0
	err := e.o.Folder.Search(ctx, e.o.Query, func(r *archive.Record, _ archive.Pos) error {
		found, ok := outcomes[r.ID]
		if !ok {
			return nil
		}
		m := &message{r, found}
		d := m.at().In(e.o.Zone).Format(time.DateOnly)
		if d != strings.SplitN(day, ".", 2)[0] {
			if err := flush(); err != nil {
				return err
			}
			day, part = d, 0
		} else if len(list) >= partMessages { // a day that does not fit in memory at once
			if err := flush(); err != nil {
				return err
			}
			part++
			day = fmt.Sprintf("%s.%d", d, part)
		}
		list = append(list, m)
		e.m.Messages++
		if r.Content != archive.Present {
			e.m.Unreadable++
		}
		return nil
	})
	if err != nil {
		return err
	}
	return flush()
}

// partMessages bounds the messages that are in memory at once.
const partMessages = 50_000

// converse parts the messages of a day into conversations.
func converse(day string, list []*message) []*conversation {
	byPair := map[string]*conversation{}
	var out []*conversation
	for _, m := range list {
		pair := m.Conversation()
		c := byPair[pair]
		if c == nil {
			sum := sha256.Sum256([]byte(pair))
			c = &conversation{id: hex.EncodeToString(sum[:8]), day: day, parties: strings.Fields(pair)}
			byPair[pair] = c
			out = append(out, c)
		}
		c.messages = append(c.messages, m)
	}
	slices.SortStableFunc(out, func(a, b *conversation) int { return cmp.Compare(a.id, b.id) })
	return out
}

// proved is a line of records-….jsonl.
type proved struct {
	Record archive.View `json:"record"`
	// Leaf is what the tree commits to, Content what the leaf commits to; it is
	// absent when it was erased or sealed.
	Leaf    []byte   `json:"leaf"`
	Content []byte   `json:"content,omitempty"`
	Index   uint64   `json:"index"`
	Proof   []string `json:"proof"`
}

// records writes the records of a day with their proofs.
func (e *exporter) records(day string, list []*message) error {
	name := "records-" + day + ".jsonl"
	e.m.Records += len(list)
	for _, m := range list {
		e.m.Records += len(m.outcomes)
	}
	return e.add(name, func(w io.Writer) error {
		return e.lines(w, list)
	})
}

func prove(prover *archive.Prover, r *archive.Record) (*proved, error) {
	leaf, content, err := r.Commitments()
	if err != nil {
		return nil, err
	}
	hashes, err := prover.Hashes(r.Seq)
	if err != nil {
		return nil, err
	}
	p := &proved{Record: r.View(false), Leaf: leaf, Content: content, Index: r.Seq - 1}
	for _, h := range hashes {
		p.Proof = append(p.Proof, h.String())
	}
	return p, nil
}

// add writes a file of the export, unless an earlier run has.
func (e *exporter) add(name string, write func(io.Writer) error) error {
	path := filepath.Join(e.dir, filepath.FromSlash(name))
	if _, err := os.Stat(path); err != nil {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return fmt.Errorf("export: %w", err)
		}
		if err := create(path, write); err != nil {
			return fmt.Errorf("export %s: %w", name, err)
		}
	}
	f, err := hashFile(e.dir, name)
	if err == nil {
		e.files = append(e.files, f)
	}
	return err
}

// finish writes the manifest and seals it.
func (e *exporter) finish(ctx context.Context) (*Manifest, error) {
	if err := e.add(checkpointFile, func(w io.Writer) error { _, err := io.WriteString(w, e.plan.Signed); return err }); err != nil {
		return nil, err
	}
	m := &e.m
	m.Version, m.Product, m.Format, m.Query, m.Through, m.Created = 1, e.o.Product, e.o.Format, e.o.Text, e.plan.Through, e.plan.Created
	at := e.provers[0].Checkpoint
	m.Origin, m.TreeSize, m.Files = at.Origin, at.Size, e.files
	slices.SortFunc(m.Files, func(a, b File) int { return cmp.Compare(a.Name, b.Name) })
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, err
	}
	b = append(b, '\n')
	if e.o.Act != nil {
		sum := sha256.Sum256(b)
		if err := e.seal(ctx, hex.EncodeToString(sum[:])); err != nil {
			return nil, fmt.Errorf("seal the export: %w", err)
		}
	}
	if err := writeFile(filepath.Join(e.dir, manifestFile), b); err != nil {
		return nil, err
	}
	return m, os.Remove(filepath.Join(e.dir, planFile))
}

// seal is the record of the export with its proof.
type seal struct {
	proved
	Checkpoint string `json:"checkpoint"`
}

// sealWait bounds the wait for the checkpoint over the record of the export.
const sealWait = 30 * time.Second

// seal records the manifest, and proves that record.
func (e *exporter) seal(ctx context.Context, manifest string) error {
	id, err := e.o.Act(ctx, manifest)
	if err != nil {
		return err
	}
	var rec *archive.Record
	for end := time.Now().Add(sealWait); ; {
		if rec == nil { // of several servers another one may write it to the folder, a moment later
			if rec, _, err = e.o.Folder.Find(id); err != nil && !errors.Is(err, archive.ErrNotFound) {
				return err
			}
		}
		p, err := e.o.Folder.Prover()
		if err == nil && rec != nil && p.Checkpoint.Size >= int64(rec.Seq) {
			line, err := prove(p, rec)
			if err != nil {
				return err
			}
			b, err := json.MarshalIndent(seal{*line, string(p.Signed)}, "", "  ")
			if err != nil {
				return err
			}
			return writeFile(filepath.Join(e.dir, sealFile), append(b, '\n'))
		}
		if time.Now().After(end) {
			return errors.New("no checkpoint came over the record of the export")
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// create writes a file under another name first, so that it is whole or not there.
func create(path string, write func(io.Writer) error) error {
	f, err := os.OpenFile(path+".part", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(f, 256<<10)
	if err = write(out); err == nil {
		err = out.Flush()
	}
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(path+".part", path)
	}
	return err
}

func writeFile(path string, b []byte) error {
	return create(path, func(w io.Writer) error { _, err := w.Write(b); return err })
}

func hashFile(dir, name string) (File, error) {
	f, err := os.Open(filepath.Join(dir, filepath.FromSlash(name)))
	if err != nil {
		return File{}, err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	return File{name, n, hex.EncodeToString(h.Sum(nil))}, err
}
