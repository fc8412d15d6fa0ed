package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"go.uber.org/zap"

	"rollcall/archive"
	"rollcall/archive/replica"
	"rollcall/config"
)

// replicaEvery is how often it is looked for what the second copy does not have.
const replicaEvery = time.Minute

// openReplica reads the configuration; nil: there is no second copy.
func openReplica(cfg *config.Config) (*replica.Replica, error) {
	c := cfg.Replica
	if c.URL == "" {
		return nil, nil
	}
	o := replica.Options{URL: c.URL, Region: c.Region, Keep: time.Duration(c.KeepDays) * 24 * time.Hour, Dir: cfg.ReplicaDir()}
	for _, secret := range []struct {
		file string
		to   *string
	}{{c.AccessKeyFile, &o.AccessKey}, {c.SecretKeyFile, &o.SecretKey}} {
		b, err := os.ReadFile(secret.file)
		if err != nil {
			return nil, fmt.Errorf("[replica]: %w", err)
		}
		*secret.to = strings.TrimSpace(string(b))
	}
	return replica.Open(o)
}

// replicate copies what is sealed until ctx ends.
func (s *Server) replicate(ctx context.Context) {
	folder := archive.Folder{Dir: s.cfg.Load().ArchiveDir()}
	tick := time.NewTicker(replicaEvery)
	defer tick.Stop()
	for failed := false; ; {
		err := s.replica.Copy(ctx, folder, s.journal.NewestCheckpoint())
		if errors.Is(err, context.Canceled) {
			return
		}
		if err != nil && !failed { // one line for an outage
			s.log.Warn("second copy of the record is behind", zap.Error(err))
		}
		failed = err != nil
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// replicaBehind counts the segments that the second copy does not have.
func (s *Server) replicaBehind() float64 {
	if s.replica == nil {
		return 0
	}
	state, _ := s.replica.State()
	return float64(state.Waiting)
}

func (s *Server) replicaFailed() uint64 {
	if s.replica == nil {
		return 0
	}
	_, fails := s.replica.State()
	return fails
}
