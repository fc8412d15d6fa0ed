package archive

import (
	"bytes"
	"cmp"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// stampFolder holds checkpoints with the time stamps of an authority over them (RFC
// 3161), each in a file that has the size of the tree for its name: the signed
// checkpoint, an empty line, and the token in base 64.
const stampFolder = "stamp"

// Stamp is a checkpoint with a time stamp.
type Stamp struct {
	Size int64     `json:"size"`          // of the tree
	Time time.Time `json:"time,omitzero"` // that the authority states; zero when nobody looked
}

// WriteStamp keeps the time stamp of a checkpoint in the archive, durably.
func (a Folder) WriteStamp(signed, token []byte) error {
	cp, err := ParseCheckpoint(signed)
	if err != nil {
		return err
	}
	dir := filepath.Join(a.Dir, stampFolder)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	b := bytes.Clone(signed)
	b = append(b, '\n')
	b = append(b, base64.StdEncoding.EncodeToString(token)...)
	b = append(b, '\n')
	path := filepath.Join(dir, strconv.FormatInt(cp.Size, 10))
	f, err := os.OpenFile(path+stampSuffix, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(path+stampSuffix))
	}
	if err := os.Rename(path+stampSuffix, path); err != nil {
		return err
	}
	for _, name := range [...]string{dir, a.Dir} { // the folder may be new too
		d, err := os.Open(name)
		if err != nil {
			return err
		}
		if err := errors.Join(d.Sync(), d.Close()); err != nil {
			return err
		}
	}
	return nil
}

// stampSuffix is of a file that was being written when the server stopped.
const stampSuffix = ".new"

// stampSize reads the name of a file of stamps.
func stampSize(name string) (n int64, ok bool) {
	n, err := strconv.ParseInt(name, 10, 64)
	return n, err == nil && n > 0 && strconv.FormatInt(n, 10) == name
}

func parseStamp(b []byte) (signed, token []byte, err error) {
	at := bytes.LastIndex(b, []byte("\n\n"))
	if at < 0 || len(b) > 2*maxCheckpoint {
		return nil, nil, formatError("not a checkpoint with a time stamp")
	}
	signed = b[:at+1]
	text, ok := bytes.CutSuffix(b[at+2:], []byte("\n"))
	token, err = base64.StdEncoding.Strict().DecodeString(string(text))
	if !ok || err != nil || len(token) == 0 {
		return nil, nil, formatError("malformed time stamp")
	}
	return signed, token, nil
}

// LastStamp returns the greatest size of a tree that has a time stamp, and when its
// file was written; 0 if there is none.
func (a Folder) LastStamp() (size int64, at time.Time, err error) {
	err = a.eachStamp(func(name string, n int64) error {
		if n <= size {
			return nil
		}
		fi, err := os.Stat(filepath.Join(a.Dir, stampFolder, name))
		if err == nil {
			size, at = n, fi.ModTime()
		}
		return err
	})
	return size, at, err
}

// eachStamp calls f for each file of stamps; n is -1 for one with another name.
func (a Folder) eachStamp(f func(name string, n int64) error) error {
	files, err := os.ReadDir(filepath.Join(a.Dir, stampFolder))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range files {
		n, ok := stampSize(e.Name())
		if !ok || e.IsDir() {
			n = -1
		}
		if err := f(e.Name(), n); err != nil {
			return err
		}
	}
	return nil
}

// stamped is a time stamp that Verify looks at when all keys are known.
type stamped struct {
	file          string
	signed, token []byte
	size          int64
}

// stamps reads the checkpoints that were stamped, so that the tree is compared with
// them on the way.
func (c *treeCheck) stamps() error {
	return c.a.eachStamp(func(name string, n int64) error {
		file := stampFolder + "/" + name
		if n < 0 {
			if _, unfinished := stampSize(strings.TrimSuffix(name, stampSuffix)); !unfinished {
				c.rep.fault(&Fault{File: file, Reason: "not a time stamp of this archive"})
			}
			return nil
		}
		b, err := os.ReadFile(filepath.Join(c.a.Dir, stampFolder, name))
		if err != nil {
			return err
		}
		signed, token, err := parseStamp(b)
		var cp *Checkpoint
		if err == nil {
			cp, err = ParseCheckpoint(signed)
		}
		if err == nil && cp.Size != n {
			err = formatError("it is of another checkpoint")
		}
		if err != nil {
			c.rep.fault(&Fault{File: file, Reason: err.Error()})
			return nil //nolint:nilerr // the report says so, and the other stamps are looked at
		}
		c.at[n] = append(c.at[n], statedTree{cp.Root, file, "the first %d records are not those that were stamped"})
		c.stampedOnes = append(c.stampedOnes, stamped{file, signed, token, n})
		return nil
	})
}

// checkStamps checks signatures and tokens.
func (c *treeCheck) checkStamps() {
	for _, s := range c.stampedOnes {
		st := Stamp{Size: s.size}
		if _, err := note.Open(s.signed, note.VerifierList(c.trusted...)); err != nil {
			c.rep.fault(&Fault{File: s.file, Reason: "its checkpoint is signed by no key that is known, or not as it was signed"})
			continue
		}
		if c.stamp != nil {
			at, err := c.stamp(s.signed, s.token)
			if err != nil {
				c.rep.fault(&Fault{File: s.file, Reason: fmt.Sprintf("time stamp: %v", err)})
				continue
			}
			st.Time = at
		}
		c.rep.Stamps = append(c.rep.Stamps, st)
	}
	slices.SortFunc(c.rep.Stamps, func(a, b Stamp) int { return cmp.Compare(a.Size, b.Size) })
}

// SplitCheckpoints parts a text of signed checkpoints, as a witness that is a file
// keeps them: behind each one an empty line. Torn is what stands there beside: parts of
// checkpoints that were being written when the power went.
func SplitCheckpoints(b []byte) (list [][]byte, torn []byte) {
	parts := strings.Split(string(b), "\n\n")
	for i := 0; i < len(parts); i++ {
		parts[i] = strings.TrimLeft(parts[i], "\n")
		// The text ends with an empty line, and the lines of the signatures follow.
		last := i+2 >= len(parts)
		if i+1 < len(parts) && signatures(parts[i+1], last) {
			list = append(list, []byte(parts[i]+"\n\n"+strings.TrimSuffix(parts[i+1], "\n")+"\n"))
			i++
			continue
		}
		torn = append(torn, parts[i]...)
	}
	return list, bytes.TrimSpace(torn)
}

// signatures reports whether lines are those of a signed note (C2SP signed-note). The last
// part of a text ends with a line end, which is missing when it was cut off.
func signatures(lines string, last bool) bool {
	if last && !strings.HasSuffix(lines, "\n") {
		return false
	}
	for line := range strings.SplitSeq(strings.TrimSuffix(lines, "\n"), "\n") {
		name, sig, ok := strings.Cut(strings.TrimPrefix(line, "— "), " ")
		raw, err := base64.StdEncoding.DecodeString(sig)
		if !strings.HasPrefix(line, "— ") || !ok || name == "" || err != nil || len(raw) < 4+ed25519.SignatureSize {
			return false
		}
	}
	return true
}
