package archive

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
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
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(path+".new"))
	}
	return os.Rename(path+".new", path)
}

// stampSuffix is of a file that was being written when the server stopped.
const stampSuffix = ".new"

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
		n, err := strconv.ParseInt(e.Name(), 10, 64)
		if err != nil || n <= 0 || strconv.FormatInt(n, 10) != e.Name() || e.IsDir() {
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
			if filepath.Ext(name) != stampSuffix {
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
			return nil
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
}

// SplitCheckpoints parts a text of signed checkpoints, as a witness that is a file
// keeps them: behind each one an empty line.
func SplitCheckpoints(b []byte) [][]byte {
	var list [][]byte
	rest := string(b)
	for len(rest) > 0 {
		end := 0
		for range 2 { // the text, and the signatures
			at := bytes.Index([]byte(rest[end:]), []byte("\n\n"))
			if at < 0 {
				end = len(rest)
				break
			}
			end += at + 2
		}
		one := rest[:end]
		if end < len(rest) || len(one) > 2 && one[len(one)-2:] == "\n\n" {
			one = one[:len(one)-1]
		}
		list = append(list, []byte(one))
		rest = rest[end:]
	}
	return list
}
