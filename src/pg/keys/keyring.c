/*
 * keyring.c
 *		The keys that this process has at hand, in front of the shared cache.
 *
 * A hit costs no lock and no look-up in a table.  An entry may be used as it is
 * while three things hold:
 *
 *	- no row of chatcrypt.dek was changed since the entry was checked against its
 *	  row (the generation of pg/store/store.c, which invalidation messages move);
 *	- nothing was evicted from the shared cache for safety since (its epoch);
 *	- it was checked against the shared cache less than RECHECK_MS ago, so that
 *	  TTLs of the shared cache stay true, and a key in use is not the one evicted.
 *
 * Where the last alone does not hold the shared cache is asked again.  Where the
 * others do not, the row is read first, under a fresh snapshot: if it is still the
 * same key (same kcv), and the shared cache has it, the entry is good; where that
 * has no such key, the KMS is asked.  An entry that gives way to another leaves its
 * name behind (pg/keys/checkedkeys.h), and comes back without its row being read.
 * Absence is never remembered.
 *
 * The table is set-associative and lives in a mapping that no core dump takes and
 * that is wiped by fork and by exit.
 *
 * A scan of many chats finds few of its keys in the nearest processor cache, so
 * what a hit needs lies close: the tags of a set in half a cache line, an entry in
 * three whole ones.  The rest of its name, for the slow path, is elsewhere.
 */
#include "postgres.h"

#include "access/xact.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "storage/ipc.h"
#include "utils/inval.h"
#include "utils/memutils.h"

#include "core/random.h"
#include "pg/access/access.h"
#include "pg/base/errors.h"
#include "pg/base/ids.h"
#include "pg/cache/guarded.h"
#include "pg/keys/checkedkeys.h"
#include "pg/keys/failedopens.h"
#include "pg/keys/keyring.h"
#include "pg/service/kms_errors.h"
#include "pg/service/requests.h"

#define SETS		512
#define WAYS		8
#define RECHECK_MS	1000
#define CACHE_LINE	64

/*
 * What a key is asked for as: the one that seals messages, whatever its use is; the
 * active one for a use; or a version of a use.  No version is above PG_INT32_MAX.
 */
#define THE_ONE_THAT_SEALS	0
#define THE_ACTIVE_ONE		PG_UINT32_MAX

typedef struct RingEntry
{
	uint8		chat_id[CC_ID_LEN];
	uint32		asked_version;	/* or one of the above */
	uint64		generation;
	uint64		epoch;
	int64		checked_at;
	uint64		last_use;
	ChatcryptKey key;			/* key.version is 0 in an empty entry */
} RingEntry;

StaticAssertDecl(sizeof(RingEntry) == 3 * CACHE_LINE, "an entry is three cache lines");
StaticAssertDecl(offsetof(RingEntry, key.secret) == CACHE_LINE, "of which the key is two");

/* Page aligned. */
typedef struct Ring
{
	uint32		tags[SETS][WAYS];	/* 0 for an empty entry */
	RingEntry	entries[SETS][WAYS];
	ChatcryptKeyId ids[SETS][WAYS]; /* the real keys */
} Ring;

/* A place in the table; way < 0 for none. */
typedef struct RingSlot
{
	uint32		tag;
	int			set;
	int			way;
} RingSlot;

static Ring *ring;
static cc_aead *aead;
static uint64 use_clock;
static uint64 own_hits;			/* uses that the ring answered alone, not counted in shared memory yet */

static void
wipe_at_exit(int code, Datum arg)
{
	(void) code;
	(void) arg;
	cc_wipe(ring, sizeof(*ring));
	cc_aead_forget(aead);
	cc_random_forget();
}

/* At the end of a transaction, and about once a second in a long one. */
static void
publish_own_hits(void)
{
	if (own_hits == 0)
		return;
	chatcrypt_keycache_count_session_hits(own_hits);
	own_hits = 0;
}

/*
 * A re-keyed context remembers its last key, and drawn randomness must not outlive the
 * statement.
 */
static void
forget_at_end(XactEvent event, void *arg)
{
	(void) event;
	(void) arg;
	cc_aead_forget(aead);
	cc_random_forget();
	publish_own_hits();
}

void
chatcrypt_keyring_fresh_randomness(void)
{
	static TimestampTz drawn_for;
	TimestampTz statement = GetCurrentStatementStartTimestamp();

	if (likely(statement == drawn_for))
		return;
	cc_random_forget();
	drawn_for = statement;
}

static void
open_ring(void)
{
	ring = chatcrypt_guarded_private(sizeof(Ring));
	aead = cc_aead_new(CC_AEAD_AUTO);
	if (ring == NULL || aead == NULL)
		ereport(FATAL,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("could not set up the memory for keys")));
	on_proc_exit(wipe_at_exit, (Datum) 0);
	RegisterXactCallback(forget_at_end, NULL);
}

cc_aead *
chatcrypt_keyring_aead(void)
{
	if (unlikely(ring == NULL))
		open_ring();
	return aead;
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
		(asked_version == THE_ONE_THAT_SEALS || entry->key.use == use) &&
		memcmp(entry->chat_id, chat_id, CC_ID_LEN) == 0;
}

/*
 * The versions of a chat share a set: the version comes from the envelope, which a
 * scan meets cold, and the address of an entry must not wait for that.
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

	/* All tags, without a branch: which way it is cannot be foreseen. */
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

/* The way of its set that a new key may have. */
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
	return (ChatcryptCheckedAt) {.generation = chatcrypt_dek_generation(),
								 .epoch = chatcrypt_keycache_epoch()};
}

static ChatcryptAsked
asked_as(const uint8 chat_id[CC_ID_LEN], ChatcryptUse use, uint32 asked_version)
{
	ChatcryptAsked asked = {.version = asked_version,
							.use = asked_version == THE_ONE_THAT_SEALS ? 0 : use};

	memcpy(asked.chat_id, chat_id, CC_ID_LEN);
	return asked;
}

/*
 * The way of its set that a new key may have; notes what the key was that is there, where
 * it is good still.
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

/* Something is to be opened, and the key is not one to seal with. */
static inline bool
is_version(uint32 asked_version)
{
	return asked_version != THE_ONE_THAT_SEALS && asked_version != THE_ACTIVE_ONE;
}

/* The row behind an entry: by version, or the one that seals.  False where there is none. */
static bool
read_row(const uint8 chat_id[CC_ID_LEN], ChatcryptUse use, uint32 asked_version,
		 ChatcryptDekRow *row)
{
	ChatcryptMode mode;

	if (is_version(asked_version))
		return chatcrypt_store_dek(chat_id, chatcrypt_purpose_of(use), asked_version, row);
	if (!chatcrypt_store_chat_mode(chat_id, &mode))
		return false;
	if (mode == CHATCRYPT_MODE_E2EE)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 asked_version == THE_ACTIVE_ONE &&
				 chatcrypt_purpose_of(use) == CHATCRYPT_PURPOSE_CONVERSATION ?
				 errmsg("chat %s is end-to-end encrypted and has no key here",
						chatcrypt_id_text(chat_id)) :
				 errmsg("chat %s is end-to-end encrypted and takes no plaintext",
						chatcrypt_id_text(chat_id)),
				 errhint("Its clients encrypt; the server only stores what they send.")));
	if (asked_version == THE_ACTIVE_ONE)
		return chatcrypt_store_dek(chat_id, chatcrypt_purpose_of(use), 0, row);
	return chatcrypt_store_dek(chat_id,
							   mode == CHATCRYPT_MODE_MANAGED ? CHATCRYPT_PURPOSE_DATA :
							   CHATCRYPT_PURPOSE_CONVERSATION, 0, row);
}

void
chatcrypt_keyring_job_for_row(const ChatcryptDekRow *row, ChatcryptKmsJob *job)
{
	memset(job, 0, sizeof(*job));
	job->id = row->id;
	job->epoch = row->epoch;
	job->kms_key = row->kms_key;
	job->wrapped = row->wrapped;
	job->wrapped_len = row->wrapped_len;
	chatcrypt_store_context(&row->id, job->context);
}

static void
ask_for_refresh(const ChatcryptDekRow *row)
{
	ChatcryptKmsJob job;

	chatcrypt_keyring_job_for_row(row, &job);
	chatcrypt_kms_refresh(&job);
}

ChatcryptPurpose
chatcrypt_purpose_of(ChatcryptUse use)
{
	switch (use)
	{
		case CHATCRYPT_FOR_CONVERSATION:
			return CHATCRYPT_PURPOSE_CONVERSATION;
		case CHATCRYPT_FOR_SEARCH:
			return CHATCRYPT_PURPOSE_SEARCH;
		case CHATCRYPT_FOR_MESSAGES:
		case CHATCRYPT_FOR_ATTACHMENTS:
			break;
	}
	return CHATCRYPT_PURPOSE_DATA;
}

static cc_status
derive_search_key(cc_hmac_key *key, const ChatcryptKeyId *id, const uint8 dek[CC_DEK_LEN])
{
	uint8		search[CC_DEK_LEN];
	cc_status	status = cc_dek_derive(dek, id->chat_id, id->version, CC_USE_SEARCH, search);

	if (status == CC_OK)
		cc_hmac_key_init(key, search, sizeof(search));
	cc_wipe(search, sizeof(search));
	return status;
}

static cc_status
derive(ChatcryptKey *key, const ChatcryptKeyId *id, const uint8 dek[CC_DEK_LEN])
{
	switch (key->use)
	{
		case CHATCRYPT_FOR_MESSAGES:
			return cc_message_keys_derive(&key->secret.message, dek, id->chat_id, id->version);
		case CHATCRYPT_FOR_ATTACHMENTS:
			return cc_dek_derive(dek, id->chat_id, id->version, CC_USE_ATTACHMENT,
								 key->secret.attachment);
		case CHATCRYPT_FOR_SEARCH:
			return derive_search_key(&key->secret.search, id, dek);
		case CHATCRYPT_FOR_CONVERSATION:
			memcpy(key->secret.conversation, dek, CC_DEK_LEN);
			return CC_OK;
	}
	return CC_ERR_ARGUMENT;
}

/* The use of the key that was found where the one that seals was asked for. */
static ChatcryptUse
actual_use(ChatcryptUse use, uint32 asked_version, const ChatcryptKeyId *id)
{
	if (asked_version != THE_ONE_THAT_SEALS)
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
	if (derive(&entry->key, id, dek) != CC_OK)
		return;
	entry->key.version = id->version;
	entry->asked_version = asked_version;
	memcpy(entry->chat_id, id->chat_id, CC_ID_LEN);
	*id_at(slot) = *id;
	ring->tags[slot.set][slot.way] = slot.tag;
}

/*
 * Gets a DEK from the shared cache into a slot; a miss leaves the slot as it is.  Here
 * and in load_slot() alone a plaintext DEK passes through a backend: nothing between
 * get and wipe can raise.
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
 * Gets the DEK of a row from the shared cache, or else from the KMS, into a slot.
 * Where the KMS does not give it, this raises or, if there is a failure to fill,
 * fills that and is false.
 */
static bool
load_slot(RingSlot slot, const ChatcryptDekRow *row, ChatcryptUse use, uint32 asked_version,
		  ChatcryptKmsJob *failure)
{
	ChatcryptKmsJob job;
	ChatcryptCacheResult cached = fill_from_cache(slot, &row->id, use, asked_version);

	if (cached == CHATCRYPT_CACHE_STALE)
		ask_for_refresh(row);
	if (cached == CHATCRYPT_CACHE_MISS)
	{
		chatcrypt_keyring_job_for_row(row, &job);
		chatcrypt_kms_run(CC_KMS_UNWRAP, &job, 1);
		if (job.outcome == CC_KMS_OK)
			fill_slot(slot, &row->id, use, asked_version, job.dek);
		cc_wipe(job.dek, sizeof(job.dek));
		if (job.outcome != CC_KMS_OK && failure == NULL)
		{
			if (is_version(asked_version))
				chatcrypt_failed_opens_note(CHATCRYPT_FAILED_OPEN_KMS);
			chatcrypt_kms_raise(CC_KMS_UNWRAP, &job);
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
	entry->checked_at = chatcrypt_now_ms();
	publish_own_hits();
}

/* May the entry go on being used, as far as the row and the shared cache know? */
static bool
recheck(RingSlot slot, const ChatcryptDekRow *row)
{
	bool		stale;

	if (memcmp(id_at(slot), &row->id, sizeof(row->id)) != 0 ||
		!chatcrypt_keycache_touch(&row->id, true, &stale))
		return false;
	if (stale)
		ask_for_refresh(row);
	return true;
}

/*
 * The slow path: reads the row again, and then trusts the entry, the shared cache
 * or the KMS, in this order.  NULL where there is no row or its key is destroyed.
 */
static RingEntry *
refresh_slot(RingSlot slot, const uint8 chat_id[CC_ID_LEN], ChatcryptUse use, uint32 asked_version,
			 ChatcryptKmsJob *failure)
{
	ChatcryptCheckedAt now = as_of_now();
	bool		known = slot.way >= 0;
	ChatcryptDekRow row;

	if (!read_row(chat_id, use, asked_version, &row) || row.state == CHATCRYPT_DEK_DESTROYED)
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

/* The shared cache wants the key of an entry renewed.  False where the row has another by now. */
static bool
renew(RingSlot slot, const uint8 chat_id[CC_ID_LEN], ChatcryptUse use, uint32 asked_version)
{
	ChatcryptDekRow row;

	if (!read_row(chat_id, use, asked_version, &row) ||
		memcmp(id_at(slot), &row.id, sizeof(row.id)) != 0)
		return false;
	ask_for_refresh(&row);
	return true;
}

/*
 * Asks the shared cache for a key that was checked before and then gave way to others.
 * NULL where there was none, or where it is not to be had so.
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
 * Asks the shared cache alone: true where neither a row of dek has changed nor a
 * key was evicted since the entry was checked, and the cache still has it.
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

/* May it be used without a look elsewhere? */
static inline bool
is_fresh(const RingEntry *entry)
{
	return entry->generation == chatcrypt_dek_generation() &&
		entry->epoch == chatcrypt_keycache_epoch() &&
		chatcrypt_now_ms() - entry->checked_at < RECHECK_MS;
}

/* Whatever the ring alone does not answer. */
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

static const ChatcryptKey *
get_key(const uint8 chat_id[CC_ID_LEN], ChatcryptUse use, uint32 asked_version,
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

/* Says why there is no key to be had: the row is read once more, for its words. */
static void
raise_no_key(const uint8 chat_id[CC_ID_LEN], ChatcryptUse use, uint32 version)
{
	ChatcryptMode mode;
	ChatcryptDekRow row;

	if (!chatcrypt_store_chat_mode(chat_id, &mode))
		chatcrypt_no_such_chat(chat_id);
	if (version != 0 && chatcrypt_store_dek(chat_id, chatcrypt_purpose_of(use), version, &row))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the data key of chat %s version %u was destroyed",
						chatcrypt_id_text(chat_id), version),
				 errdetail("What it encrypted cannot be read again.")));
	if (version != 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("chat %s has no data key of version %u", chatcrypt_id_text(chat_id),
						version)));
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("chat %s has no active %s key", chatcrypt_id_text(chat_id),
					chatcrypt_purpose_text(chatcrypt_purpose_of(use))),
			 errdetail("Its keys were destroyed, or it was never given one."),
			 use == CHATCRYPT_FOR_CONVERSATION ?
			 errhint("Only chats of mode conversation_key, which create_chat() makes, have one.") :
			 use != CHATCRYPT_FOR_ATTACHMENTS ? 0 :
			 errhint("chatcrypt.ensure_attachment_key() gives one to a chat of mode conversation_key.")));
}

/* The active key, for a use or for whatever seals messages; raises where there is none. */
static inline const ChatcryptKey *
active_key(const uint8 chat_id[CC_ID_LEN], ChatcryptUse use, uint32 asked_version)
{
	const ChatcryptKey *key;

	chatcrypt_require_for_key_use(chat_id);
	key = get_key(chat_id, use, asked_version, NULL);
	if (unlikely(key == NULL))
		raise_no_key(chat_id, use, 0);
	return key;
}

const ChatcryptKey *
chatcrypt_keyring_seal(const uint8 chat_id[CC_ID_LEN])
{
	return active_key(chat_id, CHATCRYPT_FOR_MESSAGES, THE_ONE_THAT_SEALS);
}

const ChatcryptKey *
chatcrypt_keyring_active(const uint8 chat_id[CC_ID_LEN], ChatcryptUse use)
{
	return active_key(chat_id, use, THE_ACTIVE_ONE);
}

const ChatcryptKey *
chatcrypt_keyring_find(const uint8 chat_id[CC_ID_LEN], ChatcryptUse use, uint32 version)
{
	chatcrypt_require_for_key_use(chat_id);
	return get_key(chat_id, use, version, NULL);
}

const ChatcryptKey *
chatcrypt_keyring_probe(const uint8 chat_id[CC_ID_LEN], ChatcryptUse use, uint32 version,
						ChatcryptKmsJob *failure)
{
	const ChatcryptKey *key;

	memset(failure, 0, sizeof(*failure));
	chatcrypt_require_for_key_use(chat_id);
	key = get_key(chat_id, use, version, failure);
	failure->kms_key = NULL;	/* these pointed to what is gone by now */
	failure->wrapped = NULL;
	return key;
}

void
chatcrypt_keyring_note_no_key(const uint8 chat_id[CC_ID_LEN], ChatcryptUse use, uint32 version)
{
	ChatcryptDekRow row;

	chatcrypt_failed_opens_note(chatcrypt_store_dek(chat_id, chatcrypt_purpose_of(use), version, &row) ?
							CHATCRYPT_FAILED_OPEN_DESTROYED : CHATCRYPT_FAILED_OPEN_NO_KEY);
}

const ChatcryptKey *
chatcrypt_keyring_open(const uint8 chat_id[CC_ID_LEN], ChatcryptUse use, uint32 version)
{
	const ChatcryptKey *key = chatcrypt_keyring_find(chat_id, use, version);

	if (unlikely(key == NULL))
	{
		chatcrypt_keyring_note_no_key(chat_id, use, version);
		raise_no_key(chat_id, use, version);
	}
	return key;
}
