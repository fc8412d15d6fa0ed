package redis

import (
	"context"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Facts are what an operator should know of a Redis before trusting it with
// accounts and messages.
type Facts struct {
	Version string // of Redis

	// AppendOnly says that changes go to an append-only file, and AppendFsync when
	// it is synced: always, everysec or no; empty if Redis does not tell.
	AppendOnly  bool
	AppendFsync string

	// MaxmemoryPolicy is what Redis does when its memory is full. Anything but
	// noeviction throws away state that must stay, if Maxmemory is not "0".
	Maxmemory, MaxmemoryPolicy string
}

// Facts asks Redis; of a cluster one node.
func (db *DB) Facts(ctx context.Context) (Facts, error) {
	fields := make(map[string]string)
	for _, section := range []string{"server", "persistence", "memory"} {
		cmd := redis.NewStringCmd(db.ctx, "info", section)
		if err := db.enterAndRun(ctx, cmd); err != nil {
			return Facts{}, fmt.Errorf("ask redis about itself: %w", err)
		}
		for line := range strings.Lines(cmd.Val()) {
			if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
				fields[name] = value
			}
		}
	}
	f := Facts{
		Version: fields["redis_version"], AppendOnly: fields["aof_enabled"] == "1",
		Maxmemory: fields["maxmemory"], MaxmemoryPolicy: fields["maxmemory_policy"],
	}
	// Many who rent out a Redis refuse CONFIG.
	cmd := redis.NewMapStringStringCmd(db.ctx, "config", "get", "appendfsync")
	if err := db.enterAndRun(ctx, cmd); err == nil {
		f.AppendFsync = cmd.Val()["appendfsync"]
	}
	return f, nil
}
