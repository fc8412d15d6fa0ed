package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"rollcall/store"
)

const (
	hintRoom   = 4096            // hints that wait for a slow reader before they are lost
	quietTime  = 5 * time.Second // without a word, after which a subscription is asked whether it lives
	firstRetry = 50 * time.Millisecond
	lastRetry  = 2 * time.Second
)

// channel is the command by which an Apply publishes its owner, and where; both are
// empty for a kind without hints. A cluster would send a plain PUBLISH to all of
// its nodes, so there it is one sharded channel for each tag, on the node that has
// the tag.
func (db *DB) channel(n *names, kind *store.Kind, tag int) (command, channel string) {
	switch {
	case !kind.Hints():
		return "", ""
	case db.cluster != nil:
		return "SPUBLISH", n.channel[tag]
	}
	return "PUBLISH", db.prefix + ":w:" + kind.Name()
}

// Watch implements store.Store. Hints are lost while the connection to Redis is,
// and while 4096 of them wait.
func (db *DB) Watch(ctx context.Context, kind *store.Kind) (<-chan store.Key, error) {
	if err := db.enter(ctx, store.Key{Kind: kind, Owner: "*"}, nil); err != nil {
		return nil, err
	}
	if err := store.CheckWatch(kind); err != nil {
		return nil, err
	}
	subs, err := db.subscribe(ctx, kind)
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", kind, db.failure(ctx, err))
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.ctx.Err() != nil {
		closeAll(subs)
		return nil, store.ErrClosed
	}
	w := &watch{db: db, kind: kind, hints: make(chan store.Key, hintRoom)}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(db.ctx, cancel)
	db.running.Go(func() {
		defer close(w.hints)
		defer stop()
		defer cancel()
		w.run(ctx, subs)
	})
	return w.hints, nil
}

type watch struct {
	db    *DB
	kind  *store.Kind
	hints chan store.Key
}

// run reads the subscriptions and makes new ones when one of them fails.
func (w *watch) run(ctx context.Context, subs []*redis.PubSub) {
	retry := firstRetry
	for {
		if subs != nil {
			started := time.Now()
			err := w.read(ctx, subs)
			if ctx.Err() != nil {
				return
			}
			w.db.log.Warn("hints from redis are interrupted", zap.Stringer("kind", w.kind), zap.Error(err))
			if time.Since(started) > lastRetry {
				retry = firstRetry
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(retry):
		}
		retry = min(2*retry, lastRetry)
		subs, _ = w.db.subscribe(ctx, w.kind) // an error is seen by nobody who could do more than try again
	}
}

// read passes hints on until a subscription fails, and closes them all.
func (w *watch) read(ctx context.Context, subs []*redis.PubSub) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// Receive does not heed its context while it reads.
	stop := context.AfterFunc(ctx, func() { closeAll(subs) })
	defer stop()
	var reading sync.WaitGroup
	for _, sub := range subs {
		reading.Go(func() { cancel(w.receive(ctx, sub)) })
	}
	reading.Wait()
	closeAll(subs)
	return context.Cause(ctx)
}

var errMoved = errors.New("the channel moved to another node")

func (w *watch) receive(ctx context.Context, sub *redis.PubSub) error {
	asked := false
	for {
		msg, err := sub.ReceiveTimeout(ctx, quietTime)
		var timeout net.Error
		switch {
		case err == nil:
			asked = false
		case errors.As(err, &timeout) && timeout.Timeout() && !asked:
			asked = true
			if err := sub.Ping(ctx); err != nil {
				return err
			}
			continue
		default:
			return err
		}
		switch m := msg.(type) {
		case *redis.Message:
			select {
			case w.hints <- store.Key{Kind: w.kind, Owner: m.Payload}:
			default:
			}
		case *redis.Subscription:
			if m.Kind == "sunsubscribe" {
				return errMoved
			}
		}
	}
}

// subscribe returns subscriptions that are in place for all owners of a kind:
// one, or in a cluster one for each node.
func (db *DB) subscribe(ctx context.Context, kind *store.Kind) ([]*redis.PubSub, error) {
	n := db.names(kind)
	if db.cluster == nil {
		_, channel := db.channel(n, kind, 0)
		sub := db.client.Subscribe(ctx)
		if err := db.confirm(ctx, sub, sub.Subscribe, channel); err != nil {
			return nil, errors.Join(err, sub.Close())
		}
		return []*redis.PubSub{sub}, nil
	}
	var subs []*redis.PubSub
	nodes := make(map[string]*redis.PubSub)
	for tag := range tags {
		_, channel := db.channel(n, kind, tag)
		node, err := db.cluster.MasterForKey(ctx, channel)
		if err != nil {
			closeAll(subs)
			return nil, err
		}
		sub := nodes[node.Options().Addr]
		if sub == nil {
			sub = node.SSubscribe(ctx)
			nodes[node.Options().Addr] = sub
			subs = append(subs, sub)
		}
		if err := db.confirm(ctx, sub, sub.SSubscribe, channel); err != nil {
			db.cluster.ReloadState(ctx)
			closeAll(subs)
			return nil, err
		}
	}
	return subs, nil
}

// confirm subscribes and waits for the answer. Messages that come before it are
// hints that are lost.
func (db *DB) confirm(ctx context.Context, sub *redis.PubSub, subscribe func(context.Context, ...string) error, channel string) error {
	ctx, cancel := context.WithTimeout(ctx, db.timeout)
	defer cancel()
	if err := subscribe(ctx, channel); err != nil {
		return err
	}
	for {
		msg, err := sub.ReceiveTimeout(ctx, db.timeout)
		if err != nil {
			return err
		}
		if s, ok := msg.(*redis.Subscription); ok && s.Channel == channel {
			return nil
		}
	}
}

func closeAll(subs []*redis.PubSub) {
	for _, sub := range subs {
		_ = sub.Close() // it is over, however it ends
	}
}
