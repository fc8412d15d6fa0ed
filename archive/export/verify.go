package export

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"rollcall/archive"
)

// Report is what Verify found.
type Report struct {
	OK       bool     `json:"ok"`
	Manifest Manifest `json:"manifest"`
	Records  int      `json:"records"` // proved
	// Sealed says that the record of the export itself is proved, and so that the manifest is the one it was.
	Sealed bool `json:"sealed"`
	// Signed says that the checkpoints are signed by a given key.
	Signed bool     `json:"signed"`
	Faults []string `json:"faults,omitempty"`
}

// maxFaults bounds the faults that are listed.
const maxFaults = 100

func (r *Report) fault(format string, args ...any) {
	if len(r.Faults) < maxFaults {
		r.Faults = append(r.Faults, fmt.Sprintf(format, args...))
	}
}

// maxLine bounds a line of records-….jsonl: a record's content in base 64, twice.
const maxLine = 64 << 20

// ActExport is the action of the record of an export. Its content is
// {"manifest_sha256": …}.
const ActExport = "export"

// Detail is the content of the record of an export.
type Detail struct {
	ManifestSHA256 string `json:"manifest_sha256"`
}

// Verify checks an export with nothing else at hand but verifier keys: that no
// file was changed, added or left out, that each record is in the archive of the
// checkpoint, and that each content is the one its record commits to. With no
// keys it cannot tell who signed. The error is of reading.
func Verify(dir string, keys ...string) (*Report, error) {
	var known []note.Verifier
	for _, k := range keys {
		v, err := note.NewVerifier(k)
		if err != nil {
			return nil, fmt.Errorf("verifier key %q: %w", k, err)
		}
		known = append(known, v)
	}
	rep := &Report{Signed: len(known) > 0}
	text, err := os.ReadFile(filepath.Join(dir, manifestFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s has no %s: it is no export, or an unfinished one", dir, manifestFile)
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, &rep.Manifest); err != nil {
		rep.fault("%s: %v", manifestFile, err)
		return rep, nil
	}
	if err := rep.files(dir); err != nil {
		return nil, err
	}
	open := func(name string, signed []byte) *archive.Checkpoint {
		var cp *archive.Checkpoint
		var err error
		if len(known) > 0 {
			cp, err = archive.OpenCheckpoint(signed, known...)
		} else {
			cp, err = archive.ParseCheckpoint(signed)
		}
		if err != nil {
			rep.fault("%s: %v", name, err)
			return nil
		}
		if cp.Origin != rep.Manifest.Origin {
			rep.fault("%s: it is of %q, the manifest of %q", name, cp.Origin, rep.Manifest.Origin)
		}
		return cp
	}
	signed, err := os.ReadFile(filepath.Join(dir, checkpointFile))
	if err != nil {
		rep.fault("%s: %v", checkpointFile, err)
		return rep, nil
	}
	if cp := open(checkpointFile, signed); cp != nil {
		for _, f := range rep.Manifest.Files {
			if strings.HasPrefix(f.Name, "records-") {
				if err := rep.records(dir, f.Name, cp); err != nil {
					return nil, err
				}
			}
		}
		if rep.Records != rep.Manifest.Records {
			rep.fault("%d records are there, the manifest says %d", rep.Records, rep.Manifest.Records)
		}
	}
	if err := rep.seal(dir, text, open); err != nil {
		return nil, err
	}
	rep.OK = len(rep.Faults) == 0
	return rep, nil
}

// files compares the folder with the manifest.
func (r *Report) files(dir string) error {
	listed := map[string]bool{manifestFile: true, sealFile: true}
	for _, f := range r.Manifest.Files {
		if !fs.ValidPath(f.Name) {
			r.fault("%s names %q, which is no path in the export", manifestFile, f.Name)
			continue
		}
		listed[f.Name] = true
		got, err := hashFile(dir, f.Name)
		switch {
		case err != nil:
			r.fault("%s: %v", f.Name, err)
		case got.SHA256 != f.SHA256:
			r.fault("%s: not the file of the manifest: SHA-256 is %s, not %s", f.Name, got.SHA256, f.SHA256)
		}
	}
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err == nil && !listed[filepath.ToSlash(name)] {
			r.fault("%s: not a file of the export", filepath.ToSlash(name))
		}
		return err
	})
}

// records proves each line of a file.
func (r *Report) records(dir, name string, cp *archive.Checkpoint) error {
	f, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return nil // named as missing already
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(make([]byte, 64<<10), maxLine)
	for n := 1; lines.Scan(); n++ {
		if err := proveLine(lines.Bytes(), cp); err != nil {
			r.fault("%s, line %d: %v", name, n, err)
			continue
		}
		r.Records++
	}
	if err := lines.Err(); err != nil {
		r.fault("%s: %v", name, err)
	}
	return nil
}

func proveLine(line []byte, cp *archive.Checkpoint) error {
	var p proved
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one value")
	}
	_, err := p.check(cp)
	return err
}

// check proves the record against a checkpoint, and that what is shown of it is what it says.
func (p *proved) check(cp *archive.Checkpoint) (*archive.Record, error) {
	rec, err := archive.FromCommitments(p.Leaf, p.Content)
	if err != nil {
		return nil, err
	}
	if rec.Seq != p.Index+1 {
		return nil, fmt.Errorf("record %d at the index %d", rec.Seq, p.Index)
	}
	var proof tlog.RecordProof
	for _, text := range p.Proof {
		h, err := tlog.ParseHash(text)
		if err != nil {
			return nil, fmt.Errorf("malformed hash %q", text)
		}
		proof = append(proof, h)
	}
	if err := tlog.CheckRecord(proof, cp.Size, cp.Root, int64(p.Index), tlog.RecordHash(p.Leaf)); err != nil {
		return nil, fmt.Errorf("record %d is not in the archive of the checkpoint", rec.Seq)
	}
	shown := p.Record
	if rec.Content != archive.Present {
		shown.Content = rec.Content.String() // sealed and erased content look the same from outside
	}
	a, err := json.Marshal(rec.View(false))
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(shown)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(a, b) {
		return nil, fmt.Errorf("what is shown of record %d is not what it says", rec.Seq)
	}
	return rec, nil
}

// seal checks the record of the export.
func (r *Report) seal(dir string, manifest []byte, open func(string, []byte) *archive.Checkpoint) error {
	text, err := os.ReadFile(filepath.Join(dir, sealFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // made without a server; the report says so
	}
	if err != nil {
		return err
	}
	var s seal
	if err := json.Unmarshal(text, &s); err != nil {
		r.fault("%s: %v", sealFile, err)
		return nil
	}
	cp := open(sealFile, []byte(s.Checkpoint))
	if cp == nil {
		return nil
	}
	rec, err := s.check(cp)
	if err != nil {
		r.fault("%s: %v", sealFile, err)
		return nil
	}
	var d Detail
	sum := sha256.Sum256(manifest)
	switch {
	case rec.Type != archive.TypeAct || rec.Action != ActExport || json.Unmarshal(rec.Raw, &d) != nil:
		r.fault("%s: it is not the record of an export", sealFile)
	case d.ManifestSHA256 != hex.EncodeToString(sum[:]):
		r.fault("%s: not the manifest that the export was recorded with", manifestFile)
	default:
		r.Sealed = true
	}
	return nil
}
