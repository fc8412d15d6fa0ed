// Package embedded is the store of a server that stands alone. The working set
// is in memory, in sharded maps; files in one directory are its image.
//
// durable.db, a bbolt file, holds the kinds that are store.Durable. An Apply to
// them returns when its change is synced; many that wait share one sync.
//
// soft.log holds the kinds that are store.Soft and store.Hot. It follows the
// memory within about a second, and what changes again within that second is
// written once. soft.db, a bbolt file, holds those that are store.Soft and
// store.Cold. Both are synced once for each flush, so a power loss may tear
// them; a torn soft image is put aside, and the server starts without that
// state. They are apart from durable.db so that the flush delays no commit.
//
// Kinds that are store.Cold are not in memory: their items are read from the
// file at each Load.
//
// One process at a time has the directory. Left out: a second process that
// reads, encryption, and giving disk space of the bbolt files back to the file
// system.
package embedded
