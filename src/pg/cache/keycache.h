/*
 * keycache.h
 *		The key cache that all processes of the cluster share: plaintext DEKs in a
 *		mapping of our own, made in the postmaster, page aligned, left out of core
 *		dumps, inherited by fork and wiped when a crash restart begins.
 *
 * Entries are keyed by (database, chat, purpose, version, kcv).  A re-wrap keeps
 * them warm; a key whose transaction rolled back, or that was destroyed, can
 * never match a row again.
 *
 * Lock contract: partitions, each with its LWLock; a function here takes one,
 * copies out or in, and releases it.  No pointer into the cache leaves this file
 * and nothing is waited for while a lock is held.
 */
#ifndef CHATCRYPT_KEYCACHE_H
#define CHATCRYPT_KEYCACHE_H

#include "pg/base/keytypes.h"

typedef enum ChatcryptCacheResult
{
	CHATCRYPT_CACHE_MISS,
	CHATCRYPT_CACHE_HIT,
	CHATCRYPT_CACHE_STALE		/* a hit past the soft TTL: use it, and have it refreshed */
} ChatcryptCacheResult;

/* The caller wipes dek. */
extern ChatcryptCacheResult chatcrypt_keycache_get(const ChatcryptKeyId *id, uint8 dek[CC_DEK_LEN]);

/*
 * Keeps an entry that a local cache has a copy of; false where it is gone or past its hard
 * limit.  A use counts as a hit.
 */
extern bool chatcrypt_keycache_touch(const ChatcryptKeyId *id, bool is_use, bool *stale);

/* Uses of keys that local caches answered by themselves. */
extern void chatcrypt_keycache_count_session_hits(uint64 hits);

/* Inserts or renews; evicts the least recently used of its partition where there is no room. */
extern void chatcrypt_keycache_put(const ChatcryptKeyId *id, const uint8 dek[CC_DEK_LEN]);

/*
 * The same, but not where anything was evicted for safety since the epoch: it may have
 * been this key.
 */
extern void chatcrypt_keycache_put_if(const ChatcryptKeyId *id, const uint8 dek[CC_DEK_LEN],
									  uint64 epoch);

extern void chatcrypt_keycache_evict(const ChatcryptKeyId *id);

/*
 * All versions and purposes of these chats, in one walk.  Sorts the ids, which lie one
 * after the other.
 */
extern void chatcrypt_keycache_evict_chats(Oid database, uint8 *chat_ids, Size count);

/* All keys of a database that goes, or whose extension does. */
extern void chatcrypt_keycache_evict_database(Oid database);

/* Drops what is past its idle or hard limit; the worker calls it every few seconds. */
extern void chatcrypt_keycache_sweep(void);

/*
 * Moves whenever anything is evicted for a reason of safety.  A local cache that
 * remembers an older value asks again before it uses an entry.  Whoever has a key
 * unwrapped looks at it before reading the key's row, and puts the key only if it is
 * the same still: so a row that is destroyed meanwhile leaves no key behind.
 */
extern uint64 chatcrypt_keycache_epoch(void);

/* For cache_status; counters since the server started. */
typedef struct ChatcryptCacheStats
{
	uint64		entries;
	uint64		capacity;
	uint64		hits;			/* of look-ups in the shared cache */
	uint64		session_hits;	/* uses that needed no look-up */
	uint64		misses;
	uint64		evictions;
	uint64		refreshes;
	uint64		bytes;
	bool		locked;
	bool		dumpable;

	/*
	 * When the first key, half of the keys and all of them have reached their hard limit
	 * if none is loaded anew: milliseconds from now, -1 where there is no key.
	 */
	int64		first_left_ms;
	int64		half_left_ms;
	int64		all_left_ms;
} ChatcryptCacheStats;

extern void chatcrypt_keycache_stats(ChatcryptCacheStats *stats);

/* Postmaster start-up: from shmem_request_hook and shmem_startup_hook. */
extern void chatcrypt_keycache_request(void);
extern void chatcrypt_keycache_startup(void);

/* The worker locks the mapping in memory; a warning where the limit forbids it. */
extern void chatcrypt_keycache_lock_memory(void);

#endif
