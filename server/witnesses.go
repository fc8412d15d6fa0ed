package server

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"go.uber.org/zap"

	"rollcall/archive"
	"rollcall/archive/timestamp"
	"rollcall/archive/witness"
	"rollcall/config"
)

// witnesses are the places outside that are shown checkpoints.
type witnesses struct {
	list []*witness.Witness
	dir  string // of what each has, for the next start and for archive stats
}

// openWitnesses reads the configuration. Nothing is sent before run.
func openWitnesses(cfg *config.Config) (*witnesses, error) {
	dir := cfg.WitnessDir()
	x := &witnesses{dir: dir}
	if len(cfg.Witness) == 0 {
		return x, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("witnesses: %w", err)
	}
	last := map[string]witness.State{}
	for _, s := range witness.States(dir) {
		last[s.Name] = s
	}
	for i, w := range cfg.Witness {
		place, err := witness.Open(w.URL, w.Key, archive.Folder{Dir: cfg.ArchiveDir()})
		if err != nil {
			return nil, err
		}
		cosigned := filepath.Join(dir, "cosigned-"+strconv.Itoa(i+1))
		kept := func(_, signed []byte) error {
			if err := os.WriteFile(cosigned+".new", signed, 0o600); err != nil {
				return err
			}
			return os.Rename(cosigned+".new", cosigned)
		}
		x.list = append(x.list, witness.New(place, w.Every.Duration, last[place.String()], kept))
	}
	return x, nil
}

// offer gives all a newer checkpoint. It does not wait.
func (x *witnesses) offer(signed []byte) {
	for _, w := range x.list {
		w.Offer(signed)
	}
}

// behind is for how many records the witness that has fewest has seen no checkpoint, and
// failed how often one could not be reached.
func (x *witnesses) behind(size uint64) (records float64) {
	for _, w := range x.list {
		state, _ := w.State()
		records = max(records, float64(size)-float64(state.Size))
	}
	return records
}

func (x *witnesses) failed() (n uint64) {
	for _, w := range x.list {
		_, fails := w.State()
		n += fails
	}
	return n
}

// save writes what each has.
func (x *witnesses) save() error {
	states := make([]witness.State, len(x.list))
	for i, w := range x.list {
		states[i], _ = w.State()
	}
	return witness.SaveStates(x.dir, states)
}

// finish shows the last checkpoint of the journal, which is closed.
func (x *witnesses) finish() error {
	if len(x.list) == 0 {
		return nil
	}
	var wg sync.WaitGroup
	for _, w := range x.list {
		wg.Go(w.Finish)
	}
	wg.Wait()
	return x.save()
}

// witnessed shows checkpoints until ctx ends.
func (s *Server) witnessed(ctx context.Context) {
	done := make(chan struct{})
	x := s.witnesses
	for _, w := range x.list {
		go func() { w.Run(ctx); done <- struct{}{} }()
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	told := make([]string, len(x.list)) // one line for an outage
	for running := len(x.list); running > 0; {
		select {
		case <-done:
			running--
		case <-tick.C:
		}
		for i, w := range x.list {
			state, _ := w.State()
			if state.Err != "" && state.Err != told[i] {
				s.log.Warn("a witness has not taken the newest checkpoint", zap.String("witness", state.Name), zap.String("error", state.Err))
			}
			told[i] = state.Err
		}
		if err := x.save(); err != nil {
			s.log.Warn("state of witnesses is not saved", zap.Error(err))
		}
	}
}

// authority asks for time stamps (RFC 3161).
type authority struct {
	url    string
	every  time.Duration
	roots  *x509.CertPool
	client *http.Client
}

func newAuthority(cfg *config.Config) (*authority, error) {
	a := cfg.Archive
	if a.TSAURL == "" {
		return nil, nil
	}
	x := &authority{url: a.TSAURL, every: a.TSAEvery.Duration, client: &http.Client{Timeout: 30 * time.Second}}
	if a.TSACAFile != "" {
		pem, err := os.ReadFile(a.TSACAFile)
		if err != nil {
			return nil, fmt.Errorf("[archive] tsa_ca_file: %w", err)
		}
		x.roots = x509.NewCertPool()
		if !x.roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("[archive] tsa_ca_file %s has no certificate", a.TSACAFile)
		}
	}
	return x, nil
}

// stamps has the newest checkpoint stamped, as often as configured, until ctx ends.
func (s *Server) stamps(ctx context.Context) {
	folder := archive.Folder{Dir: s.cfg.Load().ArchiveDir()}
	size, last, err := folder.LastStamp()
	if err != nil {
		s.log.Warn("read time stamps", zap.Error(err))
	}
	for pause := time.Second; ; {
		wait := max(time.Until(last.Add(s.authority.every)), pause)
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		n, err := s.stamp(ctx, folder, size)
		switch {
		case errors.Is(err, context.Canceled):
			return
		case err != nil:
			pause = min(2*pause, 5*time.Minute)
		case n > size:
			size, last, pause = n, time.Now(), time.Second
		}
	}
}

// stamp has the newest checkpoint stamped, if it is over other than so many records, and returns over how many
// the newest stamp is.
func (s *Server) stamp(ctx context.Context, folder archive.Folder, size int64) (int64, error) {
	signed := s.journal.NewestCheckpoint()
	cp, err := archive.ParseCheckpoint(signed)
	if err != nil || cp.Size == size {
		return size, nil //nolint:nilerr // there is nothing new to state
	}
	token, at, err := timestamp.Request(ctx, s.authority.client, s.authority.url, signed, s.authority.roots)
	if err == nil {
		err = folder.WriteStamp(signed, token)
	}
	if err != nil {
		if !errors.Is(err, context.Canceled) {
			s.counters.stampFaults.Inc()
			s.log.Warn("checkpoint is not time-stamped", zap.String("authority", s.authority.url), zap.Error(err))
		}
		return size, err
	}
	s.log.Info("checkpoint time-stamped", zap.Int64("records", cp.Size), zap.Time("at", at))
	return cp.Size, nil
}

// outsideWithin bounds how long a stop waits for places outside.
const outsideWithin = 5 * time.Second

// finishOutside gives the last checkpoint of the journal, which is closed, to those who are to have it: witnesses, the
// authority, the second copy. What does not work is logged and in their states; the stop goes on.
func (s *Server) finishOutside() error {
	ctx, cancel := context.WithTimeout(context.Background(), outsideWithin)
	defer cancel()
	folder := archive.Folder{Dir: s.cfg.Load().ArchiveDir()}
	var wg sync.WaitGroup
	if s.authority != nil {
		wg.Go(func() {
			if size, _, err := folder.LastStamp(); err == nil {
				_, _ = s.stamp(ctx, folder, size) // it has told
			}
		})
	}
	if s.replica != nil {
		wg.Go(func() {
			if err := s.replica.Copy(ctx, folder, s.journal.NewestCheckpoint()); err != nil {
				s.log.Warn("second copy of the record is behind", zap.Error(err))
			}
		})
	}
	err := s.witnesses.finish()
	wg.Wait()
	return err
}
