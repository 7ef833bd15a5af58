/*
 * keycache.h
 *		The key cache that all processes of the cluster share: plaintext data keys in a
 *		separate mapping (guarded.h), which the postmaster makes, which its children
 *		inherit, and which is wiped when a crash restart begins.
 *
 * Entries are found by (database, chat, purpose, version, kcv).  A re-wrapped key keeps its
 * entry; an entry of a key that was destroyed, or whose transaction was rolled back, never
 * matches a row again.
 *
 * Lock contract: the cache is divided into partitions, each with an LWLock.  A function
 * takes one lock at a time, copies a key in or out, and releases the lock.  No pointer into
 * the cache leaves keycache.c, and nothing waits while it holds a lock.
 */
#ifndef CHATCRYPT_KEYCACHE_H
#define CHATCRYPT_KEYCACHE_H

#include "pg/base/keytypes.h"

typedef enum ChatcryptCacheResult
{
	CHATCRYPT_CACHE_MISS,
	CHATCRYPT_CACHE_HIT,
	CHATCRYPT_CACHE_STALE		/* a hit older than cache_ttl: use it, and request a refresh */
} ChatcryptCacheResult;

/* Looks a key up and copies it to dek, which the caller wipes. */
extern ChatcryptCacheResult chatcrypt_keycache_get(const ChatcryptKeyId *id, uint8 dek[CC_DEK_LEN]);

/*
 * Renews the time of last use of an entry that a session has a copy of; false if the entry is
 * gone or past its limits.  With is_use, it counts as a hit.  *stale is set if the key is to
 * be refreshed.
 */
extern bool chatcrypt_keycache_touch(const ChatcryptKeyId *id, bool is_use, bool *stale);

/* Adds uses of keys for which a session did not need the key cache. */
extern void chatcrypt_keycache_count_session_hits(uint64 hits);

/* Inserts a key or renews its entry.  If the set is full, one of its keys is evicted. */
extern void chatcrypt_keycache_put(const ChatcryptKeyId *id, const uint8 dek[CC_DEK_LEN]);

/*
 * The same, but does nothing if any key was evicted for safety since the epoch was read,
 * because it may have been this one.
 */
extern void chatcrypt_keycache_put_if(const ChatcryptKeyId *id, const uint8 dek[CC_DEK_LEN],
									  uint64 epoch);

extern void chatcrypt_keycache_evict(const ChatcryptKeyId *id);

/*
 * Evicts the keys of all versions and purposes of these chats, in one walk.  The ids lie one
 * after the other; this sorts them.
 */
extern void chatcrypt_keycache_evict_chats(Oid database, uint8 *chat_ids, Size count);

/* Evicts all keys of a database that is dropped, or whose extension is. */
extern void chatcrypt_keycache_evict_database(Oid database);

/* Drops keys past cache_idle or cache_max_age; the KMS worker calls it every few seconds. */
extern void chatcrypt_keycache_sweep(void);

/*
 * A counter that moves whenever keys are evicted for safety.  A session that remembers an
 * older value asks the key cache again before it uses a key of its own.  A session that has a
 * key unwrapped reads the counter before it reads the key's row, and the key is put only if
 * the counter is still the same: so no key is left behind if the row is destroyed meanwhile.
 */
extern uint64 chatcrypt_keycache_epoch(void);

/* For the view cache_status.  The counters start from 0 when the server starts. */
typedef struct ChatcryptCacheStats
{
	uint64		entries;
	uint64		capacity;
	uint64		hits;			/* look-ups in the key cache that found the key */
	uint64		session_hits;	/* uses that needed no look-up */
	uint64		misses;
	uint64		evictions;
	uint64		refreshes;
	uint64		bytes;
	bool		locked;
	bool		dumpable;

	/*
	 * When the first key, half of the keys and all keys will have reached cache_max_age if
	 * none is loaded again: in ms from now, -1 if there is no key.
	 */
	int64		first_left_ms;
	int64		half_left_ms;
	int64		all_left_ms;
} ChatcryptCacheStats;

extern void chatcrypt_keycache_stats(ChatcryptCacheStats *stats);

/* Postmaster start-up: from shmem_request_hook and shmem_startup_hook. */
extern void chatcrypt_keycache_request(void);
extern void chatcrypt_keycache_startup(void);

/* For the KMS worker: locks the mapping in memory; a warning if the memory limit forbids it. */
extern void chatcrypt_keycache_lock_memory(void);

#endif
