// Package embedded is the store of a server that stands alone. The working set
// is in memory, in sharded maps; two bbolt files in one directory are its image.
//
// durable.db holds the kinds that are store.Durable. An Apply to them returns
// when its change is synced; many that wait share one sync. soft.db holds the
// kinds that are store.Soft: it follows the memory within about a second, and
// what changes again within that second is written once. It is synced once for
// each flush, so a power loss may tear it; a torn soft image is put aside, and
// the server starts without soft state. The two are apart so that the flush of
// one never delays the commit of the other.
//
// Kinds that are store.Cold are not in memory: their items are read from the
// file at each Load.
//
// One process at a time has the directory. Left out: a second process that
// reads, encryption, and giving disk space back to the file system.
package embedded
