/*
 * purgekeys.c
 *		Destroys keys that nothing needs: purge_unused_keys() and purge_chat_keys().
 *		Not here: how the keys of one chat are found and destroyed (unusedkeys.c), and how
 *		versions of rows are looked at (lastlook.c).
 *
 * That no row names a key now does not mean that no row will name it in a moment.  A
 * transaction may have sealed under the key before a rotation replaced it, and not yet
 * have committed; or it may have read an envelope of a row that is gone since, and be
 * about to store a copy.  So a purge takes six steps:
 *
 *	1. propose	the keys that were replaced and that no row names are noted;
 *	2. announce	an invalidation of chatcrypt.dek is committed.  A rotation is visible
 *				a moment before its own invalidation is sent; once this invalidation
 *				is sent, no session seals under a key that was seen as replaced;
 *	3. wait		the purge waits until the transactions that are running now, prepared
 *				ones included, have ended.  It holds up nothing meanwhile, and waits
 *				for as long as that takes;
 *	4. hold		a snapshot S is taken and held; the transactions that are running now
 *				are noted and waited for, and so are those that use a snapshot older
 *				than S.  Where that takes long S is released, and 3 and 4 are repeated;
 *	5. look		all row versions of the proposed keys' chats are searched: those that S
 *				sees, and all that are younger than S, whether they are committed,
 *				deleted since, or neither.  A key that one of them names is kept.  S is
 *				released;
 *	6. destroy	the chat is locked and searched once more, with an ordinary snapshot,
 *				and the keys that are still unused are destroyed.
 *
 * After step 5 no row ever names a key that was not found.  Suppose one did, and let T be
 * the first transaction that began after those of step 4 were noted and that reads, at any
 * time, a version naming the key.  The transaction that wrote this version did not begin
 * after them as well: as no session seals under the key any more, it would have read such a
 * version before T did.  So it had ended when step 5 began, and the version was there.  T's
 * snapshot is not older than S, so the version was not deleted when S was taken; and as S
 * was held, the version had not left its table when step 5 began, not even if it was deleted
 * and the table vacuumed.  So step 5 has found it, which contradicts the assumption.  Hence
 * no transaction that runs after step 5 has an envelope under the key, or can read one.
 *
 * TRUNCATE, VACUUM FULL and similar commands put a table's rows into another file and need
 * not keep versions that only older snapshots see: where a place has another file at step 5
 * than before step 4, S is taken again.
 *
 * This proof holds for envelopes that are stored by the transaction that sealed or read
 * them, and only in places.  chat.external_envelopes = false says exactly this of a chat,
 * and other chats are not touched.  (A table that is created, registered and dropped within
 * step 4 is not a place that the purge knows of.  A transaction that has read it blocks the
 * drop, except after a rollback to a savepoint from before the read.)
 *
 * No session waits for a purge: it takes only a reader's lock on a place, for the moment
 * of a look, and S holds VACUUM back no longer than FIRST_HOLD, or twice the time that the
 * transactions it waits for have taken.
 *
 * The proposals and the fence belong to the session and outlive transactions: where
 * max_wait ended before the fence was passed, the next call of the session continues.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "pg/access/access.h"
#include "pg/base/ids.h"
#include "pg/compat.h"
#include "pg/procedures/fence.h"
#include "pg/procedures/progress.h"
#include "pg/procedures/work.h"
#include "pg/store/owner.h"
#include "pg/upkeep/lastlook.h"
#include "pg/upkeep/unusedkeys.h"

/* A list of ChatcryptUnusedKey, those of one chat together, in a context of their own. */
static List *proposals;
static MemoryContext purge_context;
static bool for_one_chat;		/* the proposals are purge_chat_keys()'s, and end with its call */

static void
forget_all(void)
{
	if (purge_context == NULL)
		purge_context = AllocSetContextCreate(TopMemoryContext, "chatcrypt purge",
											  ALLOCSET_SMALL_SIZES);
	MemoryContextReset(purge_context);
	proposals = NIL;
	for_one_chat = false;
	chatcrypt_fence_lower();
}

/* A step: a chat that was looked at goes to the end of the queue, whatever the result was. */
static void
note_looked_step(void *arg)
{
	ChatcryptArg chat = {UUIDOID, PointerGetDatum(arg), false};
	ChatcryptOwnerScope scope;

	chatcrypt_owner_begin(&scope);
	chatcrypt_owner_execute("INSERT INTO chatcrypt.upkeep (chat_id, looked_for_unused_at) "
							"SELECT chat_id, clock_timestamp() "
							"FROM chatcrypt.chat "
							"WHERE chat_id = $1 "
							"ON CONFLICT (chat_id) DO UPDATE "
							"SET looked_for_unused_at = excluded.looked_for_unused_at", &chat, 1);
	chatcrypt_owner_end(&scope);
}

/* A step: proposes the keys of a chat that might be destroyed. */
static void
propose_step(void *arg)
{
	MemoryContext previous;
	List	   *found;

	found = chatcrypt_unusedkeys_find(((pg_uuid_t *) arg)->data, purge_context);
	previous = MemoryContextSwitchTo(purge_context);
	proposals = list_concat(proposals, found);
	MemoryContextSwitchTo(previous);
}

/* The chat's proposed keys that the search did not find, in the current memory context. */
static List *
proposals_of(const pg_uuid_t *chat_id)
{
	List	   *keys = NIL;
	ListCell   *cell;

	foreach(cell, proposals)
	{
		ChatcryptUnusedKey *key = lfirst(cell);

		if (memcmp(&key->sought.chat_id, chat_id, sizeof(pg_uuid_t)) == 0 && !key->sought.found)
			keys = lappend(keys, key);
	}
	return keys;
}

/* One chat with proposals. */
typedef struct Destruction
{
	pg_uuid_t	chat_id;
	int			destroyed;
} Destruction;

/* A step: destroys what was proposed of one chat. */
static void
destroy_step(void *arg)
{
	Destruction *destruction = arg;

	Assert(chatcrypt_fence_is_up() && chatcrypt_fence_waits_for() == 0);
	destruction->destroyed = chatcrypt_unusedkeys_destroy(destruction->chat_id.data,
														  proposals_of(&destruction->chat_id));
}

/* The state of one run. */
typedef struct Run
{
	bool		forgiving;		/* a failure causes a warning, and the run goes on */
	int64		destroyed;
	int64		failed;
} Run;

/* Does a step in the current transaction.  Returns false where a forgiving run's step failed. */
static bool
try_step(const Run *run, ChatcryptStep step, void *arg)
{
	if (run->forgiving)
		return chatcrypt_work_try(step, arg);
	PushActiveSnapshot(GetTransactionSnapshot());
	step(arg);
	PopActiveSnapshot();
	return true;
}

/* The same in a transaction of its own. */
static bool
take_step(Run *run, ChatcryptStep step, void *arg)
{
	bool		done = try_step(run, step, arg);

	run->failed += !done;
	chatcrypt_work_commit();
	return done;
}

static void
destroy_proposed(Run *run)
{
	const pg_uuid_t *last = NULL;
	ListCell   *cell;

	foreach(cell, proposals)
	{
		const ChatcryptSoughtKey *key = &((ChatcryptUnusedKey *) lfirst(cell))->sought;
		Destruction destruction = {.chat_id = key->chat_id};

		if (key->found || (last != NULL && memcmp(last, &key->chat_id, sizeof(pg_uuid_t)) == 0))
			continue;
		last = &key->chat_id;
		if (take_step(run, destroy_step, &destruction))
			run->destroyed += destruction.destroyed;
	}
}

/* A search of all places for everything that is proposed. */
typedef struct Search
{
	List	   *files;			/* the files of all places before the snapshot was taken */
	Snapshot	since;
	bool		done;
} Search;

/* A step in a transaction before the snapshot: its locks must not be held with the snapshot. */
static void
note_files_step(void *arg)
{
	Search	   *search = arg;
	MemoryContext previous = MemoryContextSwitchTo(purge_context);

	search->files = chatcrypt_lastlook_files();
	MemoryContextSwitchTo(previous);
}

/* A step that searches while the snapshot is held. */
static void
search_step(void *arg)
{
	Search	   *search = arg;
	ChatcryptSoughtKey **keys = palloc(sizeof(ChatcryptSoughtKey *) * list_length(proposals));
	int			count = 0;
	ListCell   *cell;

	foreach(cell, proposals)
		keys[count++] = &((ChatcryptUnusedKey *) lfirst(cell))->sought;
	search->done = chatcrypt_lastlook_run(search->files, keys, count, search->since);
	pfree(keys);
}

/*
 * Marks the proposed keys that are in use.  Returns false where the deadline came first.  Where
 * the places cannot be searched, the proposals are dropped.
 */
static bool
search_proposed(Run *run, TimestampTz until)
{
	Search		search = {0};

	do
	{
		bool		searched;

		if (!chatcrypt_fence_wait(until))
			return false;
		if (!take_step(run, note_files_step, &search))
		{
			forget_all();
			return true;
		}
		if (!chatcrypt_fence_hold(until, &search.since))
			continue;
		searched = try_step(run, search_step, &search);
		chatcrypt_fence_release(search.since);
		if (!searched)
		{
			run->failed++;
			forget_all();
		}
		if (!searched || search.done)
			return true;
	} while (GetCurrentTimestamp() < until);
	return false;
}

/* Finishes what this call or an earlier one has fenced, if there is time left. */
static bool
finish(Run *run, TimestampTz until)
{
	if (chatcrypt_fence_is_up())
	{
		if (!search_proposed(run, until))
			return false;
		destroy_proposed(run);
		forget_all();
	}
	return true;
}

/* Chats that may have keys to destroy; those that were looked at longest ago come first. */
static pg_uuid_t *
candidates(ChatcryptArg limit, uint64 *count)
{
	MemoryContext context = CurrentMemoryContext;
	ChatcryptOwnerScope scope;
	pg_uuid_t  *chats;
	bool		isnull;

	chatcrypt_owner_begin(&scope);
	*count = chatcrypt_owner_execute("SELECT c.chat_id "
									 "FROM chatcrypt.chat c "
									 "LEFT JOIN chatcrypt.upkeep u USING (chat_id) "
									 "WHERE NOT c.external_envelopes "
									 "AND EXISTS (SELECT FROM chatcrypt.dek d "
									 "WHERE d.chat_id = c.chat_id "
									 "AND d.state = 'decrypt_only' "
									 "AND d.purpose <> 'search') "
									 "ORDER BY u.looked_for_unused_at NULLS FIRST, c.chat_id "
									 "LIMIT $1", &limit, 1);
	chats = MemoryContextAllocHuge(context, sizeof(pg_uuid_t) * (*count + 1));
	for (uint64 i = 0; i < *count; i++)
		chats[i] =
			*DatumGetUUIDP(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull));
	chatcrypt_owner_end(&scope);
	return chats;
}

static void
propose_all(Run *run, ChatcryptArg limit)
{
	uint64		count;
	pg_uuid_t  *chats = candidates(limit, &count);

	for (uint64 i = 0; i < count; i++)
	{
		chatcrypt_progress_note("look for unused keys", chats[i].data, (int64) i, (int64) count);
		run->failed += !chatcrypt_work_try(propose_step, &chats[i]);
		(void) chatcrypt_work_try(note_looked_step, &chats[i]);
		chatcrypt_work_commit();
	}
	if (proposals != NIL)
		chatcrypt_fence_raise();
}

static void
require_lasting_snapshots(void)
{
	if (!chatcrypt_snapshots_keep_rows())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("no key is purged while old_snapshot_threshold is set"),
				 errdetail("With it, row versions can be removed before they are searched."),
				 errhint("Set old_snapshot_threshold to -1 and restart the server.")));
}

PG_FUNCTION_INFO_V1(chatcrypt_purge_unused_keys);

/*
 * purge_unused_keys(max_chats bigint, max_wait interval,
 *					 INOUT destroyed bigint, INOUT failed bigint, INOUT waiting_for bigint)
 */
Datum
chatcrypt_purge_unused_keys(PG_FUNCTION_ARGS)
{
	ChatcryptArg max_chats = {INT8OID, (Datum) 0, false};
	Run			run = {.forgiving = true};
	TimestampTz until;

	chatcrypt_rights_require(CHATCRYPT_MAY_ADMINISTER);
	require_lasting_snapshots();
	max_chats.value = Int64GetDatum(chatcrypt_work_limit_argument(fcinfo, 0, "max_chats"));
	until = chatcrypt_fence_deadline(fcinfo, 1);
	chatcrypt_work_begin(fcinfo, "chatcrypt.purge_unused_keys()");
	if (for_one_chat)
		forget_all();
	if (finish(&run, until))
	{
		forget_all();
		propose_all(&run, max_chats);
		(void) finish(&run, until);
	}
	chatcrypt_progress_end();
	return chatcrypt_work_end(fcinfo,
							  (int64[]) {run.destroyed, run.failed, chatcrypt_fence_waits_for()},
							  3);
}

static Datum
purge_chat_keys(FunctionCallInfo fcinfo, pg_uuid_t *chat_id)
{
	Run			run = {0};
	TimestampTz until;

	chatcrypt_rights_require(CHATCRYPT_MAY_ADMINISTER);
	require_lasting_snapshots();
	until = chatcrypt_fence_deadline(fcinfo, 1);
	chatcrypt_work_begin(fcinfo, "chatcrypt.purge_chat_keys()");
	forget_all();
	for_one_chat = true;
	(void) take_step(&run, propose_step, chat_id);
	if (proposals != NIL)
		chatcrypt_fence_raise();
	if (!finish(&run, until))
	{
		int			left = chatcrypt_fence_waits_for();

		forget_all();
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("no key of chat %s was destroyed: older transactions are running still",
						chatcrypt_id_text(chat_id->data)),
				 errdetail("There are %d of them.", left),
				 errhint("Call again when they have ended, or with a longer max_wait.")));
	}
	chatcrypt_progress_end();
	return chatcrypt_work_end(fcinfo, (int64[]) {run.destroyed}, 1);
}

PG_FUNCTION_INFO_V1(chatcrypt_purge_chat_keys);

/* purge_chat_keys(chat any_id, max_wait interval, INOUT destroyed bigint) */
Datum
chatcrypt_purge_chat_keys(PG_FUNCTION_ARGS)
{
	pg_uuid_t	id = chatcrypt_id_chat_argument(fcinfo);

	return purge_chat_keys(fcinfo, &id);
}
