/*
 * purge.c
 *		Destroys keys that nothing needs: purge_unused_deks() and purge_chat().
 *
 * That no row names a key now does not mean that none will in a moment.  A
 * transaction may have sealed under the key before a rotation replaced it, and not
 * have committed; or it may read, under an old snapshot, an envelope that was
 * re-encrypted since, and put a copy elsewhere.  So a purge takes five steps, each
 * in a transaction of its own:
 *
 *	1. propose	the keys that were replaced and that no row names are noted;
 *	2. announce	an invalidation of chatcrypt.dek is committed.  A rotation is visible
 *				a moment before its own invalidation is sent; after this one has
 *				been, no session seals under a key that was seen as replaced;
 *	3. fence	the transactions that are running are noted, prepared ones too;
 *	4. wait		until all of them have ended.  Those that began later neither seal
 *				under the keys nor see a row that names them;
 *	5. destroy	with the chat locked, everything is looked at again: what those that
 *				were waited for have left behind keeps its key.
 *
 * This holds for envelopes that are stored by the transaction that sealed or read
 * them.  chat.external_envelopes = false says just that of a chat, and no other
 * chat is touched.
 *
 * What was noted, and the fence, are their session's own and outlive transactions: a
 * purge that had no patience to wait goes on with the next call.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "core/envelope.h"
#include "pg/access.h"
#include "pg/compat.h"
#include "pg/events.h"
#include "pg/fence.h"
#include "pg/ids.h"
#include "pg/keycache.h"
#include "pg/keys.h"
#include "pg/owner.h"
#include "pg/progress.h"
#include "pg/registry.h"
#include "pg/store.h"
#include "pg/work.h"

/* A key, by what is its own alone: ids come again where an extension is made anew. */
typedef struct Proposal
{
	pg_uuid_t	chat_id;
	bytea	   *kcv;
} Proposal;

static List *proposals;			/* those of one chat together; in a context of their own */
static MemoryContext purge_context;

#define READ_POLICY "SELECT external_envelopes FROM chatcrypt.chat WHERE chat_id = $1"

/* Keys that leave the shared cache when their destruction is committed. */
static List *evict_at_commit;

static void
evict_after_commit(XactEvent event, void *arg)
{
	ListCell   *cell;

	(void) arg;
	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE)
		return;
	if (event == XACT_EVENT_COMMIT)
		foreach(cell, evict_at_commit)
			chatcrypt_keycache_evict(lfirst(cell));
	evict_at_commit = NIL;		/* the list itself goes with its memory context */
}

static void
set_up_once(void)
{
	static bool registered = false;

	if (registered)
		return;
	purge_context = AllocSetContextCreate(TopMemoryContext, "chatcrypt purge", ALLOCSET_SMALL_SIZES);
	RegisterXactCallback(evict_after_commit, NULL);
	registered = true;
}

static void
forget_all(void)
{
	set_up_once();
	MemoryContextReset(purge_context);
	proposals = NIL;
	chatcrypt_fence_lower();
}

/*
 * Reads the chat's policy, from its locked row where that is said: then other changes
 * of its keys, and of its policy, are kept away.  Waits for nobody.
 */
static void
require_purgeable(const uint8 *chat_id, bool lock)
{
	ChatcryptArg arg = {UUIDOID, PointerGetDatum(chat_id), false};
	ChatcryptMode mode;
	bool		isnull;

	if (!chatcrypt_store_chat_mode(chat_id, &mode))
		chatcrypt_no_such_chat(chat_id);
	if (chatcrypt_owner_execute(lock ? READ_POLICY " FOR NO KEY UPDATE SKIP LOCKED" : READ_POLICY, &arg, 1) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("chat %s is being changed by another transaction and keeps its keys", chatcrypt_id_text(chat_id))));
	if (DatumGetBool(chatcrypt_owner_value(&isnull)))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("keys of chat %s are not purged: envelopes of it may live outside this database",
						chatcrypt_id_text(chat_id)),
				 errhint("Where none do, set external_envelopes of the chat to false in chatcrypt.chat.")));
}

/* The first bytes of all envelopes that a place holds of the chat, read as the place's owner; NULL for none. */
static ArrayType *
headers_in_place(const ChatcryptPlace *place, const uint8 *chat_id)
{
	MemoryContext context = CurrentMemoryContext;
	ChatcryptOwnerScope scope;
	ChatcryptArg arg;
	Datum		chat_value;
	Datum		headers;
	bool		isnull;

	if (!chatcrypt_place_chat_value(place, chat_id, &chat_value))
		return NULL;
	arg = (ChatcryptArg) {chatcrypt_place_id_type(place->chat_type), chat_value, false};
	chatcrypt_owner_begin_as(&scope, place->owner);
	chatcrypt_owner_execute(psprintf("SELECT array_agg(DISTINCT substr(%s, 1, 5)) FROM ONLY %s WHERE %s = $1 AND %s IS NOT NULL",
									 place->envelope, place->table, place->chat, place->envelope), &arg, 1);
	headers = chatcrypt_owner_value(&isnull);
	if (!isnull)
	{
		MemoryContextSwitchTo(context);
		headers = PointerGetDatum(DatumGetArrayTypePCopy(headers));
	}
	chatcrypt_owner_end(&scope);
	return isnull ? NULL : DatumGetArrayTypeP(headers);
}

/* The same of all places. */
static ArrayType *
keys_in_use(const uint8 *chat_id)
{
	List	   *places = chatcrypt_places(AccessShareLock);
	Datum	   *used = NULL;
	int			nused = 0;
	ListCell   *cell;

	foreach(cell, places)
	{
		ArrayType  *headers = headers_in_place(lfirst(cell), chat_id);
		Datum	   *elements;
		int			count;

		if (headers == NULL)
			continue;
		deconstruct_array(headers, BYTEAOID, -1, false, TYPALIGN_INT, &elements, NULL, &count);
		used = used ? repalloc(used, sizeof(Datum) * (nused + count)) : palloc(sizeof(Datum) * (count + 1));
		memcpy(used + nused, elements, sizeof(Datum) * count);
		nused += count;
	}
	return nused == 0 ? construct_empty_array(BYTEAOID) : construct_array(used, nused, BYTEAOID, -1, false, TYPALIGN_INT);
}

/* What a row of chatcrypt.dek is called in the first bytes of an envelope, and of an attachment's part. */
#define NAMED_IN(headers) \
	"(CASE d.purpose WHEN 'data' THEN " \
	"decode('01' || lpad(to_hex(d.dek_version), 8, '0'), 'hex') = ANY (" headers ") " \
	"OR decode('02' || lpad(to_hex(d.dek_version), 8, '0'), 'hex') = ANY (" headers ") " \
	"ELSE decode('03' || lpad(to_hex(d.dek_version), 8, '0'), 'hex') = ANY (" headers ") END)"

#define REPLACED_KEYS_NOT_IN_USE \
	"FROM chatcrypt.dek AS d WHERE d.chat_id = $1 AND d.state = 'decrypt_only' AND d.purpose <> 'search' " \
	"AND NOT " NAMED_IN("$2")

static void
propose(const uint8 *chat_id)
{
	ChatcryptArg args[] = {
		{UUIDOID, PointerGetDatum(chat_id), false},
		{BYTEAARRAYOID, PointerGetDatum(keys_in_use(chat_id)), false}
	};
	MemoryContext previous;

	chatcrypt_owner_execute("SELECT d.kcv " REPLACED_KEYS_NOT_IN_USE, args, lengthof(args));
	previous = MemoryContextSwitchTo(purge_context);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		Proposal   *proposal = palloc(sizeof(Proposal));
		bool		isnull;

		memcpy(proposal->chat_id.data, chat_id, CC_ID_LEN);
		proposal->kcv = DatumGetByteaPCopy(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull));
		proposals = lappend(proposals, proposal);
	}
	MemoryContextSwitchTo(previous);
}

/* A step: a chat that was looked at goes to the end of the line, whatever came of it. */
static void
note_looked_step(void *arg)
{
	ChatcryptArg chat = {UUIDOID, PointerGetDatum(arg), false};
	ChatcryptOwnerScope scope;

	chatcrypt_owner_begin(&scope);
	chatcrypt_owner_execute("INSERT INTO chatcrypt.upkeep (chat_id, looked_for_unused_at) "
							"SELECT chat_id, clock_timestamp() FROM chatcrypt.chat WHERE chat_id = $1 "
							"ON CONFLICT (chat_id) DO UPDATE SET looked_for_unused_at = excluded.looked_for_unused_at", &chat, 1);
	chatcrypt_owner_end(&scope);
}

/* A step: a chat's keys that might be destroyed. */
static void
propose_step(void *arg)
{
	const pg_uuid_t *chat_id = arg;
	ChatcryptOwnerScope scope;

	chatcrypt_owner_begin(&scope);
	require_purgeable(chat_id->data, false);
	propose(chat_id->data);
	chatcrypt_owner_end(&scope);
}

/* The keys noted of a chat, by their key check values: bytea[]. */
static ArrayType *
proposed_keys(const uint8 *chat_id)
{
	Datum	   *keys = palloc(sizeof(Datum) * (list_length(proposals) + 1));
	int			count = 0;
	ListCell   *cell;

	foreach(cell, proposals)
	{
		Proposal   *proposal = lfirst(cell);

		if (memcmp(proposal->chat_id.data, chat_id, CC_ID_LEN) == 0)
			keys[count++] = PointerGetDatum(proposal->kcv);
	}
	return construct_array(keys, count, BYTEAOID, -1, false, TYPALIGN_INT);
}

static void
evict_this_at_commit(const ChatcryptKeyId *id)
{
	MemoryContext previous = MemoryContextSwitchTo(TopTransactionContext);
	ChatcryptKeyId *copy = palloc(sizeof(ChatcryptKeyId));

	*copy = *id;
	evict_at_commit = lappend(evict_at_commit, copy);
	MemoryContextSwitchTo(previous);
}

/* A row that is about to be destroyed: purpose, version, kms_key, kcv. */
static ChatcryptEvent
prepare_to_destroy(HeapTuple tuple, TupleDesc desc, const uint8 *chat_id)
{
	ChatcryptEvent event = {.event = "purge", .chat_id = chat_id};
	ChatcryptKeyId id;
	ChatcryptPurpose purpose;
	bool		isnull;
	bytea	   *kcv;

	event.purpose = SPI_getvalue(tuple, desc, 1);
	event.dek_version = (uint32) DatumGetInt32(SPI_getbinval(tuple, desc, 2, &isnull));
	event.kms_key = SPI_getvalue(tuple, desc, 3);
	kcv = DatumGetByteaPP(SPI_getbinval(tuple, desc, 4, &isnull));
	if (!chatcrypt_purpose_parse(event.purpose, &purpose) || VARSIZE_ANY_EXHDR(kcv) != CC_KCV_LEN)
		elog(ERROR, "a row of chatcrypt.dek is damaged");
	memset(&id, 0, sizeof(id));
	id.database = MyDatabaseId;
	id.version = event.dek_version;
	id.purpose = purpose;
	memcpy(id.chat_id, chat_id, CC_ID_LEN);
	memcpy(id.kcv, VARDATA_ANY(kcv), CC_KCV_LEN);
	evict_this_at_commit(&id);
	return event;
}

/* Inside the owner's scope, with the chat locked. */
static int
destroy_unused(const ChatcryptOwnerScope *scope, const uint8 *chat_id)
{
	ChatcryptArg args[] = {
		{UUIDOID, PointerGetDatum(chat_id), false},
		{BYTEAARRAYOID, PointerGetDatum(keys_in_use(chat_id)), false},
		{BYTEAARRAYOID, PointerGetDatum(proposed_keys(chat_id)), false}
	};
	SPITupleTable *found;
	int			nfound;

	nfound = (int) chatcrypt_owner_execute("SELECT d.purpose, d.dek_version, d.kms_key, d.kcv " REPLACED_KEYS_NOT_IN_USE
										   " AND d.kcv = ANY ($3) ORDER BY d.dek_version FOR UPDATE",
										   args, lengthof(args));
	found = SPI_tuptable;
	for (int i = 0; i < nfound; i++)
	{
		ChatcryptEvent event = prepare_to_destroy(found->vals[i], found->tupdesc, chat_id);

		chatcrypt_event_record(scope, &event);
	}
	if (nfound > 0 &&
		chatcrypt_owner_execute("UPDATE chatcrypt.dek AS d SET state = 'destroyed', encrypted_dek = NULL, kcv = NULL "
								"WHERE d.dek_id IN (SELECT d.dek_id " REPLACED_KEYS_NOT_IN_USE " AND d.kcv = ANY ($3))",
								args, lengthof(args)) != (uint64) nfound)
		elog(ERROR, "keys changed while they were locked");
	return nfound;
}

/* One chat with proposals. */
typedef struct Destruction
{
	pg_uuid_t	chat_id;
	int			destroyed;
} Destruction;

/* A step. */
static void
destroy_step(void *arg)
{
	Destruction *destruction = arg;
	ChatcryptOwnerScope scope;

	Assert(chatcrypt_fence_is_up() && chatcrypt_fence_waits_for() == 0);
	chatcrypt_owner_begin(&scope);
	require_purgeable(destruction->chat_id.data, true);
	destruction->destroyed = destroy_unused(&scope, destruction->chat_id.data);
	chatcrypt_owner_end(&scope);
}

static void
take_step(ChatcryptStep step, void *arg)
{
	PushActiveSnapshot(GetTransactionSnapshot());
	step(arg);
	PopActiveSnapshot();
	chatcrypt_work_commit();
}

/* What one run has come to. */
typedef struct Run
{
	int64		destroyed;
	int64		failed;
} Run;

static void
destroy_proposed(Run *run, bool forgiving)
{
	const pg_uuid_t *last = NULL;
	ListCell   *cell;

	foreach(cell, proposals)
	{
		Proposal   *proposal = lfirst(cell);
		Destruction destruction = {.chat_id = proposal->chat_id};

		if (last != NULL && memcmp(last, &proposal->chat_id, sizeof(pg_uuid_t)) == 0)
			continue;
		last = &proposal->chat_id;
		if (!forgiving)
			take_step(destroy_step, &destruction);
		else
		{
			run->failed += !chatcrypt_work_try(destroy_step, &destruction);
			chatcrypt_work_commit();
		}
		run->destroyed += destruction.destroyed;
	}
	forget_all();
}

static TimestampTz
end_of_patience(FunctionCallInfo fcinfo, int n)
{
	if (PG_ARGISNULL(n))
		return DT_NOEND;
	return DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval, TimestampTzGetDatum(GetCurrentTimestamp()),
												   PG_GETARG_DATUM(n)));
}

/* Chats that may have keys to destroy, those first that were looked at longest ago. */
static pg_uuid_t *
candidates(ChatcryptArg limit, uint64 *count)
{
	MemoryContext context = CurrentMemoryContext;
	ChatcryptOwnerScope scope;
	pg_uuid_t  *chats;
	bool		isnull;

	chatcrypt_owner_begin(&scope);
	*count = chatcrypt_owner_execute("SELECT c.chat_id FROM chatcrypt.chat c LEFT JOIN chatcrypt.upkeep u USING (chat_id) "
									 "WHERE NOT c.external_envelopes AND EXISTS (SELECT FROM chatcrypt.dek d "
									 "WHERE d.chat_id = c.chat_id AND d.state = 'decrypt_only' AND d.purpose <> 'search') "
									 "ORDER BY u.looked_for_unused_at NULLS FIRST, c.chat_id LIMIT $1", &limit, 1);
	chats = MemoryContextAllocHuge(context, sizeof(pg_uuid_t) * (*count + 1));
	for (uint64 i = 0; i < *count; i++)
		chats[i] = *DatumGetUUIDP(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull));
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

/* What was fenced, by this call or by an earlier one, if patience allows. */
static void
finish(Run *run, TimestampTz until)
{
	if (chatcrypt_fence_is_up() && chatcrypt_fence_wait(until))
		destroy_proposed(run, true);
}

PG_FUNCTION_INFO_V1(chatcrypt_purge_unused_deks);

/*
 * purge_unused_deks("limit" bigint, patience interval,
 *					 INOUT destroyed bigint, INOUT failed bigint, INOUT waiting_for bigint)
 */
Datum
chatcrypt_purge_unused_deks(PG_FUNCTION_ARGS)
{
	ChatcryptArg limit = {INT8OID, PG_GETARG_DATUM(0), PG_ARGISNULL(0)};
	Run			run = {0};
	TimestampTz until;

	chatcrypt_require(CHATCRYPT_MAY_ADMINISTER);
	if (!PG_ARGISNULL(0) && PG_GETARG_INT64(0) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the limit must not be negative")));
	until = end_of_patience(fcinfo, 1);
	chatcrypt_work_begin(fcinfo, "chatcrypt.purge_unused_deks()");
	finish(&run, until);
	if (!chatcrypt_fence_is_up())
	{
		forget_all();
		propose_all(&run, limit);
		finish(&run, until);
	}
	chatcrypt_progress_end();
	return chatcrypt_work_end(fcinfo, (int64[]) {run.destroyed, run.failed, chatcrypt_fence_waits_for()}, 3);
}

static Datum
purge_chat(FunctionCallInfo fcinfo, pg_uuid_t *chat_id)
{
	Run			run = {0};
	TimestampTz until;

	chatcrypt_require(CHATCRYPT_MAY_ADMINISTER);
	until = end_of_patience(fcinfo, 1);
	chatcrypt_work_begin(fcinfo, "chatcrypt.purge_chat()");
	forget_all();
	take_step(propose_step, chat_id);
	if (proposals != NIL)
		chatcrypt_fence_raise();
	if (chatcrypt_fence_is_up() && !chatcrypt_fence_wait(until))
	{
		int			left = chatcrypt_fence_waits_for();

		forget_all();
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("no key of chat %s was destroyed: older transactions are running still",
						chatcrypt_id_text(chat_id->data)),
				 errdetail("There are %d of them.", left),
				 errhint("Call again when they have ended, or with more patience.")));
	}
	destroy_proposed(&run, false);
	chatcrypt_progress_end();
	return chatcrypt_work_end(fcinfo, (int64[]) {run.destroyed}, 1);
}

static void
refuse_null_chat(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("the id of the chat must not be null")));
}

PG_FUNCTION_INFO_V1(chatcrypt_purge_chat);

/* purge_chat(chat uuid, patience interval, INOUT destroyed bigint) */
Datum
chatcrypt_purge_chat(PG_FUNCTION_ARGS)
{
	pg_uuid_t	id;

	refuse_null_chat(fcinfo);
	id = *PG_GETARG_UUID_P(0);
	return purge_chat(fcinfo, &id);
}

PG_FUNCTION_INFO_V1(chatcrypt_purge_chat_bigint);

Datum
chatcrypt_purge_chat_bigint(PG_FUNCTION_ARGS)
{
	pg_uuid_t	id;

	refuse_null_chat(fcinfo);
	chatcrypt_bigint_id(PG_GETARG_INT64(0), id.data);
	return purge_chat(fcinfo, &id);
}
