package server

import (
	"context"
	"fmt"
	"time"

	"rollcall/archive"
)

// stateKey records which key signs the checkpoints from now on.
func (s *Server) stateKey(j *archive.Journal, reason string) error {
	return j.Note(&archive.Record{Type: archive.TypeAct, Received: time.Now(), Actor: itself, Action: archive.ActKey,
		Object: s.signers.Newest(), Reason: reason})
}

// RotateKey implements api.Record.
func (b backend) RotateKey(ctx context.Context, actor string) (string, error) {
	s := b.Server
	if err := s.signers.Rotate(); err != nil {
		return "", fmt.Errorf("make a key: %w", err)
	}
	// The record names the new key, and the checkpoint over that is signed by the old one too.
	if _, err := s.act(ctx, actor, archive.ActKey, s.signers.Newest(), "rotation", nil); err != nil {
		return "", err
	}
	return s.signers.Newest(), nil
}
