/*
 * keyring.c
 *		The keys that this process has at hand, in front of the shared cache: see keyring.h.
 *
 * A hit costs no lock and no look-up in a table.  An entry may be used as it is
 * while three things hold:
 *
 *	- no row of chatcrypt.dek was changed since the entry was checked against its
 *	  row (the generation of pg/store/relations.c, which invalidation messages move);
 *	- nothing was evicted from the shared cache for safety since then (its epoch);
 *	- it was checked against the shared cache less than RECHECK_MS ago, so that the TTLs of the
 *	  shared cache stay true, and a key in use is not the one evicted.
 *
 * If only the last does not hold, the shared cache is asked again.  If one of the others does
 * not hold, the row is read first, under a fresh snapshot: if it still has the same key (the
 * same kcv) and the shared cache has that key, the entry is good; if the shared cache does not
 * have it, the KMS is asked.  An entry that makes room for another leaves its name behind
 * (pg/keys/checkedkeys.h), and can come back without its row being read.  The absence of a key
 * is never remembered.
 *
 * The table is set-associative.  It lives in a mapping that no core dump contains and that is
 * wiped by fork and at exit.
 *
 * A scan of many chats finds few of its keys in the nearest processor cache, so what a hit
 * needs lies close together: the tags of a set in half a cache line, an entry in three whole
 * ones.  The rest of a key's name, which only the slow path needs, is elsewhere.
 */
#include "postgres.h"

#include "access/xact.h"
#include "common/hashfn.h"
#include "port/pg_bitutils.h"
#include "storage/ipc.h"
#include "utils/inval.h"

#include "pg/base/ids.h"
#include "pg/cache/guarded.h"
#include "pg/cache/keycache.h"
#include "pg/compat.h"
#include "pg/keys/checkedkeys.h"
#include "pg/keys/failedopens.h"
#include "pg/keys/keyring.h"
#include "pg/service/kmserrors.h"
#include "pg/service/requests.h"

#define SETS		512
#define WAYS		8
#define RECHECK_MS	1000
#define CACHE_LINE	64

typedef struct RingEntry
{
	uint8		chat_id[CC_ID_LEN];
	uint32		asked_version;	/* or a constant of keylookup.h */
	uint64		generation;
	uint64		epoch;
	int64		checked_at;
	uint64		last_use;
	ChatcryptKey key;			/* key.version is 0 in an empty entry */
} RingEntry;

StaticAssertDecl(sizeof(RingEntry) == 3 * CACHE_LINE, "an entry is three cache lines");
StaticAssertDecl(offsetof(RingEntry, key.secret) == CACHE_LINE, "the key takes two of them");

/* Page aligned. */
typedef struct Ring
{
	uint32		tags[SETS][WAYS];	/* 0 for an empty entry */
	RingEntry	entries[SETS][WAYS];
	ChatcryptKeyId ids[SETS][WAYS]; /* the exact names of the keys */
} Ring;

/* A place in the table; way < 0 for none. */
typedef struct RingSlot
{
	uint32		tag;
	int			set;
	int			way;
} RingSlot;

static Ring *ring;
static uint64 use_clock;
static uint64 own_hits;			/* hits that shared memory does not count yet */

static void
wipe_at_exit(int code, Datum arg)
{
	(void) code;
	(void) arg;
	cc_wipe(ring, sizeof(*ring));
}

/* Called at the end of a transaction, and about once a second in a long one. */
static void
publish_own_hits(void)
{
	if (own_hits == 0)
		return;
	chatcrypt_keycache_count_session_hits(own_hits);
	own_hits = 0;
}

static void
publish_at_end(XactEvent event, void *arg)
{
	(void) event;
	(void) arg;
	publish_own_hits();
}

static void
open_ring(void)
{
	ring = chatcrypt_guarded_private(sizeof(Ring));
	if (ring == NULL)
		ereport(FATAL,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("could not set up the memory for keys")));
	on_proc_exit(wipe_at_exit, (Datum) 0);
	RegisterXactCallback(publish_at_end, NULL);
}

static inline RingEntry *
entry_at(RingSlot slot)
{
	return &ring->entries[slot.set][slot.way];
}

static inline ChatcryptKeyId *
id_at(RingSlot slot)
{
	return &ring->ids[slot.set][slot.way];
}

static void
empty_slot(RingSlot slot)
{
	ring->tags[slot.set][slot.way] = 0;
	cc_wipe(entry_at(slot), sizeof(RingEntry));
	cc_wipe(id_at(slot), sizeof(ChatcryptKeyId));
}

static inline bool
entry_matches(const RingEntry *entry, const uint8 chat_id[CC_ID_LEN], ChatcryptUse use,
			  uint32 asked_version)
{
	return entry->asked_version == asked_version &&
		(asked_version == CHATCRYPT_THE_ONE_THAT_SEALS || entry->key.use == use) &&
		memcmp(entry->chat_id, chat_id, CC_ID_LEN) == 0;
}

/*
 * The versions of a chat share a set: the version comes from the envelope, which is not in the
 * processor cache yet during a scan, and the address of an entry must not wait for it.
 */
static inline RingSlot
find_slot(const uint8 chat_id[CC_ID_LEN], ChatcryptUse use, uint32 asked_version)
{
	uint64		halves[2];
	RingSlot	slot;
	uint32		same = 0;

	if (unlikely(ring == NULL))
		open_ring();
	memcpy(halves, chat_id, sizeof(halves));
	slot.tag =
		murmurhash32((uint32) (halves[0] ^ halves[1] ^ (halves[0] >> 32) ^ (halves[1] >> 32)));
	slot.set = slot.tag % SETS;
	slot.tag |= 1;				/* never that of an empty entry */

	/* All tags, without a branch: the processor cannot predict which way matches. */
	for (int way = 0; way < WAYS; way++)
		same |= (uint32) (ring->tags[slot.set][way] == slot.tag) << way;
	for (; same != 0; same &= same - 1)
	{
		slot.way = pg_rightmost_one_pos32(same);
		__builtin_prefetch(&entry_at(slot)->key.secret);
		__builtin_prefetch((char *) &entry_at(slot)->key.secret + CACHE_LINE);
		if (entry_matches(entry_at(slot), chat_id, use, asked_version))
			return slot;
	}
	slot.way = -1;
	return slot;
}

/* The way of a set that a new key takes: an empty one, or the least recently used. */
static int
choose_victim(int set)
{
	int			oldest = 0;

	for (int way = 0; way < WAYS; way++)
	{
		if (ring->tags[set][way] == 0)
			return way;
		if (ring->entries[set][way].last_use < ring->entries[set][oldest].last_use)
			oldest = way;
	}
	return oldest;
}

static ChatcryptCheckedAt
as_of_now(void)
{
	return (ChatcryptCheckedAt) {.generation = chatcrypt_relations_dek_generation(),
								 .epoch = chatcrypt_keycache_epoch()};
}

static ChatcryptAsked
asked_as(const uint8 chat_id[CC_ID_LEN], ChatcryptUse use, uint32 asked_version)
{
	ChatcryptAsked asked = {.version = asked_version,
							.use = asked_version == CHATCRYPT_THE_ONE_THAT_SEALS ? 0 : use};

	memcpy(asked.chat_id, chat_id, CC_ID_LEN);
	return asked;
}

/*
 * The way of a set that a new key takes.  If the key that has the way is still good, its name
 * is noted (checkedkeys.h).
 */
static int
make_room(int set)
{
	int			way = choose_victim(set);
	const RingEntry *entry = &ring->entries[set][way];
	ChatcryptCheckedAt now = as_of_now();
	ChatcryptAsked asked;

	if (ring->tags[set][way] != 0 && entry->generation == now.generation &&
		entry->epoch == now.epoch)
	{
		asked = asked_as(entry->chat_id, entry->key.use, entry->asked_version);
		chatcrypt_checkedkeys_note(&asked, now, &ring->ids[set][way]);
	}
	return way;
}

/*
 * The use of a key that was found.  Where the request is for the key that seals, the purpose of
 * the key decides.
 */
static ChatcryptUse
actual_use(ChatcryptUse use, uint32 asked_version, const ChatcryptKeyId *id)
{
	if (asked_version != CHATCRYPT_THE_ONE_THAT_SEALS)
		return use;
	return id->purpose == CHATCRYPT_PURPOSE_CONVERSATION ? CHATCRYPT_FOR_CONVERSATION :
		CHATCRYPT_FOR_MESSAGES;
}

/* Turns a DEK into what its use needs.  The caller wipes the DEK. */
static void
fill_slot(RingSlot slot, const ChatcryptKeyId *id, ChatcryptUse use, uint32 asked_version,
		  const uint8 dek[CC_DEK_LEN])
{
	RingEntry  *entry = entry_at(slot);

	empty_slot(slot);
	entry->key.use = actual_use(use, asked_version, id);
	if (chatcrypt_keyuse_derive(&entry->key, id, dek) != CC_OK)
		return;
	entry->key.version = id->version;
	entry->asked_version = asked_version;
	memcpy(entry->chat_id, id->chat_id, CC_ID_LEN);
	*id_at(slot) = *id;
	ring->tags[slot.set][slot.way] = slot.tag;
}

/*
 * Gets a DEK from the shared cache into a slot; a miss leaves the slot as it is.  A plaintext
 * DEK passes through this function and load_slot(): nothing between get and wipe may raise an
 * error.
 */
static ChatcryptCacheResult
fill_from_cache(RingSlot slot, const ChatcryptKeyId *id, ChatcryptUse use, uint32 asked_version)
{
	uint8		dek[CC_DEK_LEN];
	ChatcryptCacheResult cached = chatcrypt_keycache_get(id, dek);

	if (cached == CHATCRYPT_CACHE_MISS)
		return cached;
	fill_slot(slot, id, use, asked_version, dek);
	cc_wipe(dek, sizeof(dek));
	return cached;
}

/*
 * Gets the DEK of a row from the shared cache, or else from the KMS, into a slot.  Where the
 * KMS does not give it, this raises an error or, if failure is not NULL, fills *failure and
 * returns false.
 */
static bool
load_slot(RingSlot slot, const ChatcryptDekRow *row, ChatcryptUse use, uint32 asked_version,
		  ChatcryptKmsJob *failure)
{
	ChatcryptKmsJob job;
	ChatcryptCacheResult cached = fill_from_cache(slot, &row->id, use, asked_version);

	if (cached == CHATCRYPT_CACHE_STALE)
		chatcrypt_keylookup_refresh(row);
	if (cached == CHATCRYPT_CACHE_MISS)
	{
		chatcrypt_keylookup_job(row, &job);
		chatcrypt_requests_run(CC_KMS_UNWRAP, &job, 1);
		if (job.outcome == CC_KMS_OK)
			fill_slot(slot, &row->id, use, asked_version, job.dek);
		cc_wipe(job.dek, sizeof(job.dek));
		if (job.outcome != CC_KMS_OK && failure == NULL)
		{
			if (chatcrypt_keylookup_is_version(asked_version))
				chatcrypt_failedopens_note(CHATCRYPT_FAILED_OPEN_KMS);
			chatcrypt_kmserror_raise(CC_KMS_UNWRAP, &job);
		}
		if (job.outcome != CC_KMS_OK)
		{
			*failure = job;
			return false;
		}
	}
	if (entry_at(slot)->key.version == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not derive the keys of chat %s version %u",
						chatcrypt_id_text(row->id.chat_id), row->id.version)));
	return true;
}

static void
mark_checked(RingEntry *entry, ChatcryptCheckedAt at)
{
	entry->generation = at.generation;
	entry->epoch = at.epoch;
	entry->checked_at = chatcrypt_guarded_now_ms();
	publish_own_hits();
}

/* Whether the entry may still be used: the row has the same key, and so has the shared cache. */
static bool
recheck(RingSlot slot, const ChatcryptDekRow *row)
{
	bool		stale;

	if (memcmp(id_at(slot), &row->id, sizeof(row->id)) != 0 ||
		!chatcrypt_keycache_touch(&row->id, true, &stale))
		return false;
	if (stale)
		chatcrypt_keylookup_refresh(row);
	return true;
}

/*
 * The slow path: reads the row again, and then uses the entry, the shared cache or the KMS, in
 * this order.  NULL where there is no row or its key is destroyed.
 */
static RingEntry *
refresh_slot(RingSlot slot, const uint8 chat_id[CC_ID_LEN], ChatcryptUse use, uint32 asked_version,
			 ChatcryptKmsJob *failure)
{
	ChatcryptCheckedAt now = as_of_now();
	bool		known = slot.way >= 0;
	ChatcryptDekRow row;

	if (!chatcrypt_keylookup_read(chat_id, use, asked_version, &row) ||
		row.state == CHATCRYPT_DEK_DESTROYED)
	{
		if (known)
			empty_slot(slot);
		return NULL;
	}
	if (known && !recheck(slot, &row))
	{
		empty_slot(slot);
		known = false;
	}
	if (!known)
	{
		slot.way = make_room(slot.set);
		if (!load_slot(slot, &row, use, asked_version, failure))
			return NULL;
	}
	mark_checked(entry_at(slot), now);
	return entry_at(slot);
}

/*
 * Has the KMS renew a key that has become stale in the shared cache.  False where the row has
 * another key by now.
 */
static bool
renew(RingSlot slot, const uint8 chat_id[CC_ID_LEN], ChatcryptUse use, uint32 asked_version)
{
	ChatcryptDekRow row;

	if (!chatcrypt_keylookup_read(chat_id, use, asked_version, &row) ||
		memcmp(id_at(slot), &row.id, sizeof(row.id)) != 0)
		return false;
	chatcrypt_keylookup_refresh(&row);
	return true;
}

/*
 * Asks the shared cache for a key that was checked before and then made room for another.  NULL
 * where there was none, or the shared cache does not have it.
 */
static RingEntry *
bring_back(RingSlot slot, const uint8 chat_id[CC_ID_LEN], ChatcryptUse use, uint32 asked_version)
{
	ChatcryptCheckedAt now = as_of_now();
	ChatcryptAsked asked = asked_as(chat_id, use, asked_version);
	ChatcryptCacheResult cached;
	ChatcryptKeyId id;

	if (!chatcrypt_checkedkeys_find(&asked, now, &id))
		return NULL;
	slot.way = make_room(slot.set);
	cached = fill_from_cache(slot, &id, use, asked_version);
	if (cached == CHATCRYPT_CACHE_MISS || entry_at(slot)->key.version == 0)
		return NULL;
	if (cached == CHATCRYPT_CACHE_STALE && !renew(slot, chat_id, use, asked_version))
	{
		empty_slot(slot);
		return NULL;
	}
	mark_checked(entry_at(slot), now);
	return entry_at(slot);
}

/*
 * Asks the shared cache only: true where no row of chatcrypt.dek was changed and nothing was
 * evicted for safety since the entry was checked, and the cache still has the key.
 */
static bool
is_still_good(RingSlot slot, const uint8 chat_id[CC_ID_LEN], ChatcryptUse use, uint32 asked_version)
{
	RingEntry  *entry = entry_at(slot);
	ChatcryptCheckedAt now = as_of_now();
	bool		stale;

	if (entry->generation != now.generation || entry->epoch != now.epoch ||
		!chatcrypt_keycache_touch(id_at(slot), true, &stale))
		return false;
	if (stale && !renew(slot, chat_id, use, asked_version))
		return false;
	mark_checked(entry, now);
	return true;
}

/* Whether the entry may be used without a look elsewhere. */
static inline bool
is_fresh(const RingEntry *entry)
{
	return entry->generation == chatcrypt_relations_dek_generation() &&
		entry->epoch == chatcrypt_keycache_epoch() &&
		chatcrypt_guarded_now_ms() - entry->checked_at < RECHECK_MS;
}

/* Finds a key that the ring alone does not give. */
static RingEntry *
look_further(RingSlot slot, const uint8 chat_id[CC_ID_LEN], ChatcryptUse use, uint32 asked_version,
			 ChatcryptKmsJob *failure)
{
	RingEntry  *entry = NULL;

	if (slot.way < 0)
		entry = bring_back(slot, chat_id, use, asked_version);
	else if (is_still_good(slot, chat_id, use, asked_version))
		entry = entry_at(slot);
	return entry != NULL ? entry : refresh_slot(slot, chat_id, use, asked_version, failure);
}

const ChatcryptKey *
chatcrypt_keyring_get(const uint8 chat_id[CC_ID_LEN], ChatcryptUse use, uint32 asked_version,
					  ChatcryptKmsJob *failure)
{
	RingSlot	slot = find_slot(chat_id, use, asked_version);
	RingEntry  *entry = slot.way < 0 ? NULL : entry_at(slot);

	AcceptInvalidationMessages();
	if (likely(entry != NULL && is_fresh(entry)))
		own_hits++;
	else
		entry = look_further(slot, chat_id, use, asked_version, failure);
	if (entry == NULL)
		return NULL;
	entry->last_use = ++use_clock;
	return &entry->key;
}
