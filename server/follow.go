package server

import (
	"context"
	"fmt"

	"go.uber.org/zap"

	"rollcall/api"
	"rollcall/archive"
)

// Follow implements api.Record. What it gives is on the disk.
func (b backend) Follow(ctx context.Context, actor string, o api.Follow, f func(archive.View) error) error {
	if last := b.journal.Durable(); o.After > last {
		return fmt.Errorf("%w: the record ends with %d", api.ErrInvalid, last)
	}
	object := "from now"
	if !o.FromNow {
		object = fmt.Sprintf("after %d", o.After)
	}
	if _, err := b.act(ctx, actor, archive.ActStream, object, o.Reason, nil); err != nil {
		return err
	}
	after := o.After
	if o.FromNow {
		after = b.journal.Durable()
	}
	o.Begun()
	folder := archive.Folder{Dir: b.cfg.Load().ArchiveDir(), Keys: b.ring}
	return folder.Follow(ctx, archive.FollowOptions{After: after, Durable: b.journal.Durable, Fault: func(fault *archive.Fault) error {
		b.log.Warn("a stream of records leaves out what is damaged", zap.Error(fault))
		return o.Fault(fault)
	}}, func(r *archive.Record) error { return f(r.View(false)) })
}
