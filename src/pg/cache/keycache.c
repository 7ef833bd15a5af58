/*
 * keycache.c
 *		The key cache that all processes share: see keycache.h for the contract.
 *
 * The cache is an array of sets of WAYS entries each.  The hash of a key selects its
 * set; the tags of the set, which fill one cache line, show which entries are worth
 * comparing.  A set belongs to one of PARTITIONS locks.  The number of entries is
 * SLACK_PERCENT of chatcrypt.cache_size, because sets do not fill evenly.
 *
 * Eviction is designed for scans that are larger than the cache, under which a strict
 * least-recently-used policy would never hit.  A new entry is on probation until it
 * is used again; then it is protected.  A set has at most PROTECTED protected entries:
 * one more sends the one that was used longest ago back on probation, so that keys that
 * were popular once give way to keys that are popular now.  A full set evicts a random
 * one of its entries on probation: the one used longest ago would be the next one
 * needed by a scan that starts over.
 *
 * Keys are in the guarded mapping; locks and counters, which hold no secret, are
 * in PostgreSQL's shared memory.
 */
#include "postgres.h"

#include <sys/mman.h>

#include "common/hashfn.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"

#include "pg/base/settings.h"
#include "pg/cache/guarded.h"
#include "pg/cache/keycache.h"
#include "pg/cache/lives.h"

#define WAYS		16
#define PROTECTED	12			/* leaves some ways of each set to new entries */
#define PARTITIONS	64
#define SLACK_PERCENT	150

typedef struct CacheEntry
{
	ChatcryptKeyId id;
	uint8		dek[CC_DEK_LEN];
	int64		loaded_at;		/* when the KMS last wrapped or unwrapped it */
	int64		used_at;
	int64		refresh_asked_at;	/* 0 if not since loaded_at */
	bool		probation;
} CacheEntry;

typedef struct CacheSet
{
	uint32		tags[WAYS];		/* 0 for an empty way */
	CacheEntry	entries[WAYS];
} CacheSet;

StaticAssertDecl(SLACK_PERCENT * sizeof(CacheSet) / WAYS <= 256 * 100,
				 "a cached key takes at most 256 bytes");

typedef struct CacheShared
{
	pg_atomic_uint64 epoch;
	pg_atomic_uint64 hits;
	pg_atomic_uint64 session_hits;
	pg_atomic_uint64 misses;
	pg_atomic_uint64 evictions;
	pg_atomic_uint64 refreshes;
	uint64		seed;
	uint32		nsets;
	bool		locked;
} CacheShared;

static CacheShared *shared;
static LWLockPadded *locks;
static CacheSet *sets;			/* the guarded mapping, inherited from the postmaster */
static Size sets_size;

static uint32
set_count(void)
{
	return (uint32) ((uint64) chatcrypt_cache_size * SLACK_PERCENT / 100 / WAYS) + 1;
}

void
chatcrypt_keycache_request(void)
{
	RequestAddinShmemSpace(MAXALIGN(sizeof(CacheShared)));
	RequestNamedLWLockTranche("ChatcryptKeyCache", PARTITIONS);
}

/*
 * Runs in the postmaster at start, and again after a crash.  After a crash the mapping
 * exists already, and the keys in it belong to processes that are gone.
 */
void
chatcrypt_keycache_startup(void)
{
	bool		found;

	shared = ShmemInitStruct("chatcrypt key cache", sizeof(CacheShared), &found);
	locks = GetNamedLWLockTranche("ChatcryptKeyCache");
	if (found)
		return;

	memset(shared, 0, sizeof(CacheShared));
	pg_atomic_init_u64(&shared->epoch, 1);
	pg_atomic_init_u64(&shared->hits, 0);
	pg_atomic_init_u64(&shared->session_hits, 0);
	pg_atomic_init_u64(&shared->misses, 0);
	pg_atomic_init_u64(&shared->evictions, 0);
	pg_atomic_init_u64(&shared->refreshes, 0);
	shared->nsets = set_count();
	if (!pg_strong_random(&shared->seed, sizeof(shared->seed)))
		ereport(FATAL,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not get random bytes for the key cache")));

	if (sets != NULL)
		cc_wipe(sets, sets_size);
	else
	{
		sets_size = shared->nsets * sizeof(CacheSet);
		sets = chatcrypt_guarded_shared(sets_size);
	}
}

void
chatcrypt_keycache_lock_memory(void)
{
	if (mlock(sets, sets_size) == 0)
		shared->locked = true;
	else
		ereport(WARNING,
				(errmsg("could not lock the key cache in memory: %m"),
				 errhint("Raise the memory lock limit of the server to %zu kB, or make sure that its swap is encrypted.",
						 sets_size / 1024)));
}

static uint32
hash_id(const ChatcryptKeyId *id)
{
	uint32		hash = (uint32) hash_bytes_extended((const unsigned char *) id, sizeof(*id),
													shared->seed);

	return hash == 0 ? 1 : hash;
}

/* Returns a set with the lock of its partition held. */
static CacheSet *
lock_set(uint32 number, LWLock **lock)
{
	*lock = &locks[number % PARTITIONS].lock;
	LWLockAcquire(*lock, LW_EXCLUSIVE);
	return &sets[number];
}

static CacheSet *
lock_set_of(uint32 hash, LWLock **lock)
{
	return lock_set((uint32) (((uint64) hash * shared->nsets) >> 32), lock);
}

static int
find_way(const CacheSet *set, uint32 hash, const ChatcryptKeyId *id)
{
	for (int way = 0; way < WAYS; way++)
		if (set->tags[way] == hash && memcmp(&set->entries[way].id, id, sizeof(*id)) == 0)
			return way;
	return -1;
}

static void
wipe_way(CacheSet *set, int way)
{
	set->tags[way] = 0;
	cc_wipe(&set->entries[way], sizeof(CacheEntry));
}

static bool
past_its_limits(const CacheEntry *entry, int64 now)
{
	return now - entry->loaded_at >= (int64) chatcrypt_cache_max_age * 1000 ||
		now - entry->used_at >= (int64) chatcrypt_cache_idle * 1000;
}

/*
 * Is the key older than cache_ttl?  True at most once a second for each key, so that one
 * session requests the refresh and not all of them.
 */
static bool
wants_refresh(CacheEntry *entry, int64 now)
{
	if (now - entry->loaded_at < (int64) chatcrypt_cache_ttl * 1000)
		return false;
	if (entry->refresh_asked_at != 0 && now - entry->refresh_asked_at < 1000)
		return false;
	entry->refresh_asked_at = now;
	pg_atomic_fetch_add_u64(&shared->refreshes, 1);
	return true;
}

/* Protects a key that is used again. */
static void
protect(CacheSet *set, int way)
{
	int			others = 0;
	int			oldest = -1;

	for (int other = 0; other < WAYS; other++)
	{
		if (other == way || set->tags[other] == 0 || set->entries[other].probation)
			continue;
		others++;
		if (oldest < 0 || set->entries[other].used_at < set->entries[oldest].used_at)
			oldest = other;
	}
	if (others >= PROTECTED)
		set->entries[oldest].probation = true;
	set->entries[way].probation = false;
}

/* The way of a key that may be used, or -1.  Drops a key that is past its limits. */
static int
find_live_way(CacheSet *set, uint32 hash, const ChatcryptKeyId *id, int64 now)
{
	int			way = find_way(set, hash, id);

	if (way < 0)
		return -1;
	if (past_its_limits(&set->entries[way], now))
	{
		wipe_way(set, way);
		return -1;
	}
	set->entries[way].used_at = now;
	if (set->entries[way].probation)
		protect(set, way);
	return way;
}

ChatcryptCacheResult
chatcrypt_keycache_get(const ChatcryptKeyId *id, uint8 dek[CC_DEK_LEN])
{
	int64		now = chatcrypt_guarded_now_ms();
	uint32		hash = hash_id(id);
	ChatcryptCacheResult result = CHATCRYPT_CACHE_MISS;
	LWLock	   *lock;
	CacheSet   *set = lock_set_of(hash, &lock);
	int			way = find_live_way(set, hash, id, now);

	if (way >= 0)
	{
		memcpy(dek, set->entries[way].dek, CC_DEK_LEN);
		result = wants_refresh(&set->entries[way], now) ? CHATCRYPT_CACHE_STALE :
			CHATCRYPT_CACHE_HIT;
	}
	LWLockRelease(lock);

	pg_atomic_fetch_add_u64(way >= 0 ? &shared->hits : &shared->misses, 1);
	return result;
}

bool
chatcrypt_keycache_touch(const ChatcryptKeyId *id, bool is_use, bool *stale)
{
	int64		now = chatcrypt_guarded_now_ms();
	uint32		hash = hash_id(id);
	LWLock	   *lock;
	CacheSet   *set = lock_set_of(hash, &lock);
	int			way = find_live_way(set, hash, id, now);

	*stale = way >= 0 && wants_refresh(&set->entries[way], now);
	LWLockRelease(lock);

	if (way >= 0 && is_use)
		pg_atomic_fetch_add_u64(&shared->hits, 1);
	return way >= 0;
}

void
chatcrypt_keycache_count_session_hits(uint64 hits)
{
	pg_atomic_fetch_add_u64(&shared->session_hits, hits);
}

/* The way for a key: the one it has, an empty one, or one whose key is evicted for it. */
static int
choose_way(CacheSet *set, uint32 hash, const ChatcryptKeyId *id)
{
	int			way = find_way(set, hash, id);
	int			candidates[WAYS];
	int			n = 0;

	if (way >= 0)
		return way;
	for (way = 0; way < WAYS; way++)
	{
		if (set->tags[way] == 0)
			return way;
		if (set->entries[way].probation)
			candidates[n++] = way;
	}
	Assert(n >= WAYS - PROTECTED);
	return candidates[murmurhash32((uint32) pg_atomic_fetch_add_u64(&shared->evictions, 1)) % n];
}

/* The caller holds the lock of the set. */
static void
put_into(CacheSet *set, uint32 hash, const ChatcryptKeyId *id, const uint8 *dek)
{
	int64		now = chatcrypt_guarded_now_ms();
	int			way = choose_way(set, hash, id);
	CacheEntry *entry = &set->entries[way];

	if (set->tags[way] != hash || memcmp(&entry->id, id, sizeof(*id)) != 0)
	{
		wipe_way(set, way);
		entry->id = *id;
		entry->used_at = now;
		entry->probation = true;
		set->tags[way] = hash;
	}
	memcpy(entry->dek, dek, CC_DEK_LEN);
	entry->loaded_at = now;
	entry->refresh_asked_at = 0;
}

void
chatcrypt_keycache_put(const ChatcryptKeyId *id, const uint8 dek[CC_DEK_LEN])
{
	uint32		hash = hash_id(id);
	LWLock	   *lock;
	CacheSet   *set = lock_set_of(hash, &lock);

	put_into(set, hash, id, dek);
	LWLockRelease(lock);
}

/*
 * The epoch is read under the lock, because an eviction of keys moves it before it looks at
 * the set for the last time.
 */
void
chatcrypt_keycache_put_if(const ChatcryptKeyId *id, const uint8 dek[CC_DEK_LEN], uint64 epoch)
{
	uint32		hash = hash_id(id);
	LWLock	   *lock;
	CacheSet   *set = lock_set_of(hash, &lock);

	if (pg_atomic_read_u64(&shared->epoch) == epoch)
		put_into(set, hash, id, dek);
	LWLockRelease(lock);
}

void
chatcrypt_keycache_evict(const ChatcryptKeyId *id)
{
	uint32		hash = hash_id(id);
	LWLock	   *lock;
	CacheSet   *set = lock_set_of(hash, &lock);
	int			way = find_way(set, hash, id);

	pg_atomic_fetch_add_u64(&shared->epoch, 1);
	if (way >= 0)
		wipe_way(set, way);
	LWLockRelease(lock);
}

static int
compare_chat_ids(const void *a, const void *b)
{
	return memcmp(a, b, CC_ID_LEN);
}

/* Does a walk of the cache apply to this entry? */
typedef bool (*Condition) (const CacheEntry *entry, const void *arg);

/* Walks all sets, which is rare.  Each lock is held for one set only. */
static void
wipe_where(Condition holds, const void *arg)
{
	for (uint32 number = 0; number < shared->nsets; number++)
	{
		LWLock	   *lock;
		CacheSet   *set = lock_set(number, &lock);

		for (int way = 0; way < WAYS; way++)
			if (set->tags[way] != 0 && holds(&set->entries[way], arg))
				wipe_way(set, way);
		LWLockRelease(lock);
	}
}

typedef struct Chats
{
	Oid			database;
	const uint8 *ids;			/* sorted */
	Size		count;
} Chats;

static bool
is_of_chats(const CacheEntry *entry, const void *arg)
{
	const Chats *chats = arg;

	return entry->id.database == chats->database &&
		bsearch(entry->id.chat_id, chats->ids, chats->count, CC_ID_LEN, compare_chat_ids) != NULL;
}

/*
 * The epoch moves before the walk, so that no key of these chats is put into a set that the
 * walk has passed; and again after it, because a session may have asked in between for an
 * entry that was still there.
 */
void
chatcrypt_keycache_evict_chats(Oid database, uint8 *chat_ids, Size count)
{
	Chats		chats = {.database = database, .ids = chat_ids, .count = count};

	qsort(chat_ids, count, CC_ID_LEN, compare_chat_ids);
	pg_atomic_fetch_add_u64(&shared->epoch, 1);
	wipe_where(is_of_chats, &chats);
	pg_atomic_fetch_add_u64(&shared->epoch, 1);
}

static bool
is_of_database(const CacheEntry *entry, const void *arg)
{
	return entry->id.database == *(const Oid *) arg;
}

void
chatcrypt_keycache_evict_database(Oid database)
{
	wipe_where(is_of_database, &database);
	pg_atomic_fetch_add_u64(&shared->epoch, 1);
}

static bool
is_past_its_limits(const CacheEntry *entry, const void *arg)
{
	return past_its_limits(entry, *(const int64 *) arg);
}

void
chatcrypt_keycache_sweep(void)
{
	int64		now = chatcrypt_guarded_now_ms();

	wipe_where(is_past_its_limits, &now);
}

uint64
chatcrypt_keycache_epoch(void)
{
	return pg_atomic_read_u64(&shared->epoch);
}

void
chatcrypt_keycache_stats(ChatcryptCacheStats *stats)
{
	int64		now = chatcrypt_guarded_now_ms();
	uint64		entries = 0;
	ChatcryptLives lives = {0};

	for (uint32 number = 0; number < shared->nsets; number++)
	{
		LWLock	   *lock;
		CacheSet   *set = lock_set(number, &lock);

		for (int way = 0; way < WAYS; way++)
		{
			if (set->tags[way] == 0)
				continue;
			entries++;
			if (past_its_limits(&set->entries[way], now))
				continue;
			chatcrypt_lives_count(&lives, set->entries[way].loaded_at +
								  (int64) chatcrypt_cache_max_age * 1000 - now);
		}
		LWLockRelease(lock);
	}

	*stats = (ChatcryptCacheStats) {
		.entries = entries,
		.capacity = chatcrypt_cache_size,
		.hits = pg_atomic_read_u64(&shared->hits),
		.session_hits = pg_atomic_read_u64(&shared->session_hits),
		.misses = pg_atomic_read_u64(&shared->misses),
		.evictions = pg_atomic_read_u64(&shared->evictions),
		.refreshes = pg_atomic_read_u64(&shared->refreshes),
		.bytes = shared->nsets * sizeof(CacheSet),
		.locked = shared->locked,
		.dumpable = false,		/* else guarded.c would not have let the server start */
		.first_left_ms = lives.count > 0 ? lives.shortest : -1,
		.half_left_ms = lives.count > 0 ? chatcrypt_lives_median(&lives) : -1,
		.all_left_ms = lives.count > 0 ? lives.longest : -1,
	};
}
