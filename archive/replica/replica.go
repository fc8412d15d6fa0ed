package replica

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // what S3 compares uploads by
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"sync"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"rollcall/archive"
)

// Options say where the copy goes.
type Options struct {
	URL       string // https://host/bucket/prefix
	Region    string
	AccessKey string
	SecretKey string
	// Keep is for how long the store must keep each object. 0: it has no object lock.
	Keep time.Duration
	// Dir is a folder in which it is kept what was copied.
	Dir string
}

// State is what the copy has.
type State struct {
	Segments int       `json:"segments"`
	Bytes    int64     `json:"bytes"`
	Size     int64     `json:"size"` // of the tree, of the last checkpoint that was copied
	At       time.Time `json:"at,omitzero"`
	Err      string    `json:"error,omitzero"` // of the last try, if it failed
	Waiting  int       `json:"waiting"`        // segments that are not there yet
}

// Replica copies an archive. Copy belongs to one goroutine.
type Replica struct {
	o      Options
	client *minio.Client
	bucket string
	prefix string

	copied map[string]copied // by file
	mu     sync.Mutex
	state  State
	fails  uint64
}

// copied is a file as it was when it was copied.
type copied struct {
	Bytes int64     `json:"bytes"`
	At    time.Time `json:"modified"`
	MD5   string    `json:"md5"`
}

// saved is the file in Options.Dir.
type saved struct {
	State State             `json:"state"`
	Files map[string]copied `json:"files"`
}

const stateFile = "state.json"

// Open reads what was copied before. Nothing is sent.
func Open(o Options) (*Replica, error) {
	u, err := url.Parse(o.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || len(u.Path) < 2 {
		return nil, fmt.Errorf("replica %q: write https://host/bucket or https://host/bucket/prefix", o.URL)
	}
	bucket, prefix, _ := bytes.Cut([]byte(u.Path[1:]), []byte("/"))
	client, err := minio.New(u.Host, &minio.Options{Creds: credentials.NewStaticV4(o.AccessKey, o.SecretKey, ""), Secure: u.Scheme == "https",
		Region: o.Region, BucketLookup: minio.BucketLookupPath})
	if err != nil {
		return nil, fmt.Errorf("replica: %w", err)
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("replica: %w", err)
	}
	r := &Replica{o: o, client: client, bucket: string(bucket), prefix: string(prefix), copied: map[string]copied{}}
	if s, ok := load(o.Dir); ok {
		r.state, r.copied = s.State, s.Files
	}
	return r, nil
}

// load reads the state. What can't be read counts as nothing: all is copied again.
func load(dir string) (s saved, ok bool) {
	b, err := os.ReadFile(filepath.Join(dir, stateFile))
	if err != nil || json.Unmarshal(b, &s) != nil || s.Files == nil {
		return saved{}, false
	}
	return s, true
}

// Last returns what a replica had whose folder this is.
func Last(dir string) (State, bool) {
	s, ok := load(dir)
	return s.State, ok
}

// State returns what the copy has, and how often copying failed.
func (r *Replica) State() (State, uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state, r.fails
}

// Copy copies what the store does not have: compressed segments, and then the
// checkpoint. It stops at the first error; the next call goes on.
func (r *Replica) Copy(ctx context.Context, folder archive.Folder, signed []byte) error {
	err := r.copy(ctx, folder, signed)
	r.mu.Lock()
	if r.state.Err = ""; err != nil {
		r.state.Err = err.Error()
		r.fails++
	}
	state := r.state
	r.mu.Unlock()
	return errors.Join(err, r.save(state))
}

func (r *Replica) copy(ctx context.Context, folder archive.Folder, signed []byte) error {
	numbers, err := folder.CompressedSegments()
	if err != nil {
		return err
	}
	var todo []string
	for _, n := range numbers {
		name := archive.CompressedName(n)
		fi, err := os.Stat(filepath.Join(folder.Dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if c, ok := r.copied[name]; !ok || c.Bytes != fi.Size() || !c.At.Equal(fi.ModTime()) {
			todo = append(todo, name)
		}
	}
	r.tell(len(todo))
	for i, name := range todo {
		if err := r.segment(ctx, folder, name); err != nil {
			return fmt.Errorf("copy %s: %w", name, err)
		}
		r.tell(len(todo) - i - 1)
	}
	cp, err := archive.ParseCheckpoint(signed)
	if err != nil {
		return nil //nolint:nilerr // there is none yet
	}
	r.mu.Lock()
	known := r.state.Size >= cp.Size
	r.mu.Unlock()
	if known {
		return nil
	}
	if _, err := r.put(ctx, fmt.Sprintf("checkpoints/%020d", cp.Size), signed); err != nil {
		return fmt.Errorf("copy a checkpoint: %w", err)
	}
	r.mu.Lock()
	r.state.Size, r.state.At = cp.Size, time.Now().UTC()
	r.mu.Unlock()
	return nil
}

// segment copies a compressed segment. It is read whole: it has a few dozen megabytes.
func (r *Replica) segment(ctx context.Context, folder archive.Folder, name string) error {
	file := filepath.Join(folder.Dir, name)
	fi, err := os.Stat(file)
	if err != nil {
		return err
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	sum, err := r.put(ctx, "segments/"+name, b)
	if err != nil {
		return err
	}
	r.copied[name] = copied{fi.Size(), fi.ModTime(), sum}
	r.mu.Lock()
	r.state.Segments = len(r.copied)
	r.state.Bytes += int64(len(b))
	r.mu.Unlock()
	return nil
}

// put writes an object and looks whether it is there as it was sent.
func (r *Replica) put(ctx context.Context, name string, b []byte) (sum string, err error) {
	o := minio.PutObjectOptions{ContentType: "application/octet-stream", SendContentMd5: true, DisableMultipart: true}
	if r.o.Keep > 0 {
		o.Mode, o.RetainUntilDate = minio.Compliance, time.Now().Add(r.o.Keep).UTC()
	}
	key := path.Join(r.prefix, name)
	sent, err := r.client.PutObject(ctx, r.bucket, key, bytes.NewReader(b), int64(len(b)), o) // refused when it is not what Content-MD5 says
	if err != nil {
		return "", err
	}
	h := md5.Sum(b) //nolint:gosec // as above
	sum = hex.EncodeToString(h[:])
	there, err := r.client.StatObject(ctx, r.bucket, key, minio.StatObjectOptions{})
	if err != nil {
		return "", fmt.Errorf("look whether it is there: %w", err)
	}
	tag := sum
	if kind := there.Metadata.Get("X-Amz-Server-Side-Encryption"); kind != "" && kind != "AES256" {
		tag = sent.ETag // under a key of a KMS it is no MD5
	}
	if there.Size != int64(len(b)) || there.ETag != tag {
		return "", fmt.Errorf("the store has %d bytes with the tag %s, not %d with %s", there.Size, there.ETag, len(b), tag)
	}
	if r.o.Keep > 0 {
		if err := locked(there.Metadata, o.RetainUntilDate); err != nil {
			return "", err
		}
	}
	return sum, nil
}

// locked looks whether the store keeps an object as it was asked to.
func locked(h http.Header, until time.Time) error {
	mode, text := h.Get("X-Amz-Object-Lock-Mode"), h.Get("X-Amz-Object-Lock-Retain-Until-Date")
	at, err := time.Parse(time.RFC3339, text)
	if mode != string(minio.Compliance) || err != nil || at.Before(until.Add(-time.Second)) { // it may leave parts of a second out
		return fmt.Errorf("the store does not say that nobody can remove the object before %s (mode %q, until %q): the bucket has to have object lock, and the key the right to read it (s3:GetObjectRetention)",
			until.Format(time.RFC3339), mode, text)
	}
	return nil
}

func (r *Replica) tell(waiting int) {
	r.mu.Lock()
	r.state.Waiting = waiting
	r.mu.Unlock()
}

// save writes the state.
func (r *Replica) save(state State) error {
	b, err := json.Marshal(saved{state, r.copied})
	if err != nil {
		return err
	}
	name := filepath.Join(r.o.Dir, stateFile)
	if err := os.WriteFile(name+".new", b, 0o600); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}
