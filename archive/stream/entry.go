package stream

import (
	"errors"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"rollcall/archive"
)

// Fields of an entry: the record's payload as FORMAT.md has it, without seq and archive
// time, and the key to its content: ID, and the key wrapped.
const (
	fieldRecord = "record"
	fieldKeyID  = "key"
	fieldKey    = "wrapped"
)

// Shards is the number of streams. It is a part of what Redis holds.
const Shards = 8

// Group is the consumer group that seals; all servers read under the one name Consumer.
const (
	Group    = "seal"
	consumer = "sealer"
)

// names are the keys in Redis, all in one slot of a cluster.
type names struct {
	streams [Shards]string
	lease   string
	fence   string
}

func namesOf(prefix string) (n names) {
	for i := range n.streams {
		n.streams[i] = fmt.Sprintf("{%s:record}:%d", prefix, i)
	}
	n.lease, n.fence = "{"+prefix+":record}:lease", "{"+prefix+":record}:fence"
	return n
}

// shardOf keeps a conversation together.
func shardOf(r *archive.Record) int {
	h := fnv.New32a()
	h.Write([]byte(r.Conversation()))
	return int(h.Sum32() % Shards)
}

// item is a record on its way into a stream.
type item struct {
	id    archive.ID
	shard int
	value []byte
	key   *cipherKey
	// sentOnce: Redis was asked to take it and did not answer, so a stream may have it.
	sentOnce bool
	done     func(archive.Receipt, error) // nil: nobody waits
}

func (x *item) args(n *names) *redis.XAddArgs {
	return &redis.XAddArgs{Stream: n.streams[x.shard], Values: []any{fieldRecord, x.value, fieldKeyID, x.key.id[:], fieldKey, x.key.wrapped}}
}

var errEntry = errors.New("archive: not an entry of the stream")

// record reads an entry.
func (c *ciphers) record(m *redis.XMessage) (*archive.Record, error) {
	text := func(name string) string { s, _ := m.Values[name].(string); return s }
	id := text(fieldKeyID)
	if len(id) != 16 {
		return nil, errEntry
	}
	if err := c.learn([16]byte([]byte(id)), []byte(text(fieldKey))); err != nil {
		return nil, err
	}
	r := new(archive.Record)
	if err := r.UnmarshalSealed([]byte(text(fieldRecord)), c); err != nil {
		return nil, err
	}
	if r.Content != archive.Present {
		return nil, errors.New("archive: content of an entry stays sealed")
	}
	return r, nil
}

// millis is the time in an entry's ID.
func millis(id string) int64 {
	ms, _, _ := strings.Cut(id, "-")
	n, _ := strconv.ParseInt(ms, 10, 64)
	return n
}
