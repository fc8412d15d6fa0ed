package export

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// Job is an export that a server makes for somebody.
type Job struct {
	ID      string    `json:"id"`
	State   string    `json:"state"` // queued, running, done or failed
	Query   string    `json:"query"`
	Format  string    `json:"format"`
	Actor   string    `json:"actor"`
	Reason  string    `json:"reason"`
	Created time.Time `json:"created"`
	Ended   time.Time `json:"ended,omitzero"`
	// Done and All count messages, as far as they are known.
	Done  int    `json:"messages_done"`
	All   int    `json:"messages"`
	Error string `json:"error,omitempty"`
	// Manifest is that of an export that is done, and Expires when it goes.
	Manifest *Manifest `json:"manifest,omitempty"`
	Expires  time.Time `json:"expires,omitzero"`
}

// States of a job.
const (
	Queued  = "queued"
	Running = "running"
	Done    = "done"
	Failed  = "failed"
)

const (
	// MaxJobs bounds the exports that are kept.
	MaxJobs = 50
	// KeepJobs is how long an export is kept after it ended: its files are not sealed.
	KeepJobs = 7 * 24 * time.Hour
	// sweepEvery is how often it is looked for exports that are older.
	sweepEvery = 10 * time.Minute
)

// Errors of jobs that a caller may branch on.
var (
	ErrTooMany = errors.New("export: too many are kept; delete some")
	ErrNoJob   = errors.New("export: there is none of this name")
	ErrNotDone = errors.New("export: it is not done")
)

// Jobs are the exports in one folder, each in a folder of its own with its
// state. They are made one at a time, in order, and those that a stop interrupts
// go on at the next start. Its methods may be called from any goroutine.
type Jobs struct {
	dir  string
	run  func(ctx context.Context, j Job, dir string, progress func(done, all int)) (*Manifest, error)
	wake chan struct{}

	mu   sync.Mutex
	list []*Job // the oldest first
}

const (
	jobFile = "job.json"
	jobData = "export" // the folder of the export itself
	goneExt = ".gone"  // a folder that is being removed
)

// OpenJobs reads the jobs in dir, which need not be there. Run makes an export in
// a folder, or goes on with it.
func OpenJobs(dir string, run func(ctx context.Context, j Job, dir string, progress func(done, all int)) (*Manifest, error)) (*Jobs, error) {
	s := &Jobs{dir: dir, run: run, wake: make(chan struct{}, 1)}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("exports: %w", err)
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if strings.HasSuffix(e.Name(), goneExt) {
			if err := os.RemoveAll(path); err != nil {
				return nil, fmt.Errorf("exports: %w", err)
			}
			continue
		}
		b, err := os.ReadFile(filepath.Join(path, jobFile))
		if errors.Is(err, fs.ErrNotExist) { // it was not taken, or is none of ours
			continue
		}
		j := new(Job)
		if err == nil {
			err = json.Unmarshal(b, j)
		}
		if err != nil || j.ID != e.Name() {
			return nil, fmt.Errorf("exports: %s is not readable; remove its folder: %w", path, err)
		}
		if j.State == Running {
			j.State = Queued
		}
		s.list = append(s.list, j)
	}
	slices.SortFunc(s.list, func(a, b *Job) int { return a.Created.Compare(b.Created) })
	s.stir()
	return s, nil
}

func (s *Jobs) stir() {
	select {
	case s.wake <- struct{}{}:
	default: // it is awake
	}
}

// write keeps the state of a job, durably.
func (s *Jobs) write(j *Job) error {
	b, err := json.MarshalIndent(j, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(s.dir, j.ID), 0o700); err != nil {
		return err
	}
	return writeFile(filepath.Join(s.dir, j.ID, jobFile), b)
}

// Add queues an export of which the query, the format, the actor and the reason
// are given: ErrTooMany, ErrFormat.
func (s *Jobs) Add(j Job) (Job, error) {
	if !slices.Contains(Formats, j.Format) {
		return j, fmt.Errorf("%w %q: one of %s", ErrFormat, j.Format, strings.Join(Formats, ", "))
	}
	j.ID, j.State, j.Created = strings.ToLower(rand.Text()[:16]), Queued, time.Now().UTC()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.list) >= MaxJobs {
		return j, fmt.Errorf("%w: %d", ErrTooMany, len(s.list))
	}
	if err := s.write(&j); err != nil {
		return j, fmt.Errorf("keep the export: %w", err)
	}
	kept := j
	s.list = append(s.list, &kept)
	s.stir()
	return j, nil
}

// List returns the jobs, the oldest first.
func (s *Jobs) List() []Job {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]Job, len(s.list))
	for i, j := range s.list {
		list[i] = *j
	}
	return list
}

func (s *Jobs) find(id string) (*Job, error) {
	for _, j := range s.list {
		if j.ID == id {
			return j, nil
		}
	}
	return nil, ErrNoJob
}

// Get returns a job: ErrNoJob.
func (s *Jobs) Get(id string) (Job, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j, err := s.find(id)
	if err != nil {
		return Job{}, err
	}
	return *j, nil
}

// Names lists the files of an export that is done: those of its manifest, the
// manifest, and the seal. ErrNoJob, ErrNotDone.
func (s *Jobs) Names(id string) ([]string, error) {
	j, err := s.Get(id)
	if err != nil {
		return nil, err
	}
	if j.State != Done {
		return nil, ErrNotDone
	}
	names := []string{manifestFile, sealFile}
	for _, f := range j.Manifest.Files {
		names = append(names, f.Name)
	}
	return names, nil
}

// Open opens a file of an export that is done, one that Names lists: ErrNoJob,
// ErrNotDone. The caller closes it.
func (s *Jobs) Open(id, name string) (*os.File, error) {
	names, err := s.Names(id)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(names, name) {
		return nil, fmt.Errorf("%w: no file %q", ErrNoJob, name)
	}
	f, err := os.Open(filepath.Join(s.dir, id, jobData, filepath.FromSlash(name)))
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w: it was removed meanwhile", ErrNoJob)
	}
	return f, err
}

// Remove removes an export that has ended or waits: ErrNoJob, ErrNotDone.
func (s *Jobs) Remove(id string) error {
	s.mu.Lock()
	j, err := s.find(id)
	if err == nil && j.State == Running {
		err = ErrNotDone
	}
	gone := filepath.Join(s.dir, id+goneExt)
	if err == nil {
		err = os.Rename(filepath.Join(s.dir, id), gone)
	}
	if err == nil {
		s.list = slices.DeleteFunc(s.list, func(o *Job) bool { return o == j })
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return os.RemoveAll(gone)
}

// Run makes what is queued, and removes what is over its time, until ctx ends.
// Failed is told of what cannot be removed.
func (s *Jobs) Run(ctx context.Context, failed func(error)) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		for j, ok := s.next(); ok && ctx.Err() == nil; j, ok = s.next() {
			s.make(ctx, j, failed)
		}
		if err := s.sweep(time.Now()); err != nil {
			failed(err)
		}
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		case <-tick.C:
		}
	}
}

// next takes the oldest job that waits.
func (s *Jobs) next() (Job, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, j := range s.list {
		if j.State == Queued {
			j.State = Running
			return *j, true
		}
	}
	return Job{}, false
}

func (s *Jobs) make(ctx context.Context, j Job, failed func(error)) {
	m, err := s.run(ctx, j, filepath.Join(s.dir, j.ID, jobData), func(done, all int) {
		s.update(j.ID, func(j *Job) { j.Done, j.All = done, all })
	})
	if err != nil && ctx.Err() != nil {
		s.update(j.ID, func(j *Job) { j.State = Queued }) // the next start goes on
		return
	}
	now := time.Now().UTC()
	ended := s.update(j.ID, func(j *Job) {
		j.Ended, j.Expires = now, now.Add(KeepJobs)
		if err != nil {
			j.State, j.Error = Failed, err.Error()
			return
		}
		j.State, j.Manifest, j.Done, j.All = Done, m, m.Messages, m.Messages
	})
	if err := s.write(&ended); err != nil {
		failed(fmt.Errorf("keep the state of export %s: %w", j.ID, err))
	}
}

func (s *Jobs) update(id string, f func(*Job)) Job {
	s.mu.Lock()
	defer s.mu.Unlock()
	j, err := s.find(id)
	if err != nil {
		return Job{} // one that runs is not removed
	}
	f(j)
	return *j
}

// sweep removes the exports whose time is over.
func (s *Jobs) sweep(now time.Time) (err error) {
	for _, j := range s.List() {
		if (j.State == Done || j.State == Failed) && now.After(j.Expires) {
			err = cmp.Or(err, s.Remove(j.ID))
		}
	}
	return err
}
