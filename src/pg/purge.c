/*
 * purge.c
 *		Destroys keys that nothing needs: the steps of purge_unused_deks() and
 *		purge_chat() in sql/74_reencryption.sql.
 *
 * That no row names a key now does not mean that none will in a moment.  A
 * transaction may have sealed under the key before a rotation replaced it, and not
 * have committed; or it may read, under an old snapshot, an envelope that was
 * re-encrypted since, and put a copy elsewhere.  So a purge takes five steps:
 *
 *	1. propose	the keys that were replaced and that no row names are noted;
 *	2. announce	an invalidation of chatcrypt.dek is committed.  A rotation is visible
 *				a moment before its own invalidation is sent; after this one has
 *				been, no session seals under a key that was seen as replaced;
 *	3. fence	the transactions that are running are noted, prepared ones too;
 *	4. wait		until all of them have ended.  Those that began later neither seal
 *				under the keys nor see a row that names them;
 *	5. purge	with the chat locked, everything is looked at again: what the waited
 *				for have left behind keeps its key.
 *
 * This holds for envelopes that are stored by the transaction that sealed or read
 * them.  chat.external_envelopes = false says just that of a chat, and no other
 * chat is touched.
 *
 * What was noted, and the fence, are this session's own and outlive transactions:
 * a purge that could not wait goes on with the next call.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "storage/procarray.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/uuid.h"

#include "core/envelope.h"
#include "pg/access.h"
#include "pg/compat.h"
#include "pg/events.h"
#include "pg/ids.h"
#include "pg/keycache.h"
#include "pg/owner.h"
#include "pg/registry.h"
#include "pg/store.h"

typedef enum Stage
{
	PROPOSING,
	ANNOUNCING,					/* in the transaction that announces */
	ANNOUNCED,
	FENCED
} Stage;

typedef struct Proposal
{
	pg_uuid_t	chat_id;
	int64		dek_id;
} Proposal;

static Stage stage;
static List *proposals;			/* of Proposal; this and the next live in a context of their own */
static VirtualTransactionId *running;
static int	nrunning;
static MemoryContext purge_context;

/* Keys that leave the shared cache when their destruction is committed. */
static List *evict_at_commit;

static void
at_end_of_transaction(XactEvent event, void *arg)
{
	ListCell   *cell;

	(void) arg;
	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE)
		return;
	if (event == XACT_EVENT_COMMIT)
		foreach(cell, evict_at_commit)
			chatcrypt_keycache_evict(lfirst(cell));
	evict_at_commit = NIL;		/* the list itself goes with its memory context */
	if (stage == ANNOUNCING)
		stage = event == XACT_EVENT_COMMIT ? ANNOUNCED : PROPOSING;
}

static void
set_up_once(void)
{
	static bool registered = false;

	if (registered)
		return;
	purge_context = AllocSetContextCreate(TopMemoryContext, "chatcrypt purge", ALLOCSET_SMALL_SIZES);
	RegisterXactCallback(at_end_of_transaction, NULL);
	registered = true;
}

static void
forget_all(void)
{
	set_up_once();
	MemoryContextReset(purge_context);
	proposals = NIL;
	running = NULL;
	nrunning = 0;
	stage = PROPOSING;
}

static void
out_of_turn(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("a step of a purge was called out of turn"),
			 errhint("CALL chatcrypt.purge_unused_deks() or chatcrypt.purge_chat() instead.")));
}

/* Locks the chat's row, which keeps other changes of its keys away, and checks its policy. */
static void
lock_chat(const uint8 *chat_id)
{
	ChatcryptArg arg = {UUIDOID, PointerGetDatum(chat_id), false};
	bool		isnull;

	if (chatcrypt_owner_execute("SELECT external_envelopes FROM chatcrypt.chat WHERE chat_id = $1 FOR NO KEY UPDATE",
								&arg, 1) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("chat %s does not exist", chatcrypt_id_text(chat_id))));
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

/* The keys that the envelopes of a chat name, as texts like those of unused_deks(). */
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

	chatcrypt_owner_execute("SELECT d.dek_id " REPLACED_KEYS_NOT_IN_USE, args, lengthof(args));
	previous = MemoryContextSwitchTo(purge_context);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		Proposal   *proposal = palloc(sizeof(Proposal));
		bool		isnull;

		memcpy(proposal->chat_id.data, chat_id, CC_ID_LEN);
		proposal->dek_id = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull));
		proposals = lappend(proposals, proposal);
	}
	MemoryContextSwitchTo(previous);
}

static void
note_looked(const uint8 *chat_id)
{
	ChatcryptArg arg = {UUIDOID, PointerGetDatum(chat_id), false};

	chatcrypt_owner_execute("INSERT INTO chatcrypt.upkeep (chat_id, looked_for_unused_at) VALUES ($1, clock_timestamp()) "
							"ON CONFLICT (chat_id) DO UPDATE SET looked_for_unused_at = excluded.looked_for_unused_at", &arg, 1);
}

PG_FUNCTION_INFO_V1(chatcrypt_propose_purge);

/* propose_purge(chat uuid): how many keys are noted, of this chat and before */
Datum
chatcrypt_propose_purge(PG_FUNCTION_ARGS)
{
	const uint8 *chat_id = PG_GETARG_UUID_P(0)->data;
	ChatcryptOwnerScope scope;

	chatcrypt_require(CHATCRYPT_MAY_ADMINISTER);
	set_up_once();
	if (stage != PROPOSING)
		out_of_turn();
	chatcrypt_owner_begin(&scope);
	lock_chat(chat_id);
	propose(chat_id);
	note_looked(chat_id);
	chatcrypt_owner_end(&scope);
	PG_RETURN_INT32(list_length(proposals));
}

PG_FUNCTION_INFO_V1(chatcrypt_announce_purge);

Datum
chatcrypt_announce_purge(PG_FUNCTION_ARGS)
{
	(void) fcinfo;
	chatcrypt_require(CHATCRYPT_MAY_ADMINISTER);
	set_up_once();
	if (stage != PROPOSING)
		out_of_turn();
	CacheInvalidateRelcacheByRelid(chatcrypt_store_relation("dek"));
	stage = ANNOUNCING;
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(chatcrypt_raise_fence);

/* raise_fence(): how many transactions run.  Lazy vacuums store no envelope, and are not waited for. */
Datum
chatcrypt_raise_fence(PG_FUNCTION_ARGS)
{
	VirtualTransactionId *others;

	(void) fcinfo;
	chatcrypt_require(CHATCRYPT_MAY_ADMINISTER);
	set_up_once();
	if (stage != ANNOUNCED)
		out_of_turn();
	others = GetCurrentVirtualXIDs(InvalidTransactionId, false, false, PROC_IS_AUTOVACUUM | PROC_IN_VACUUM, &nrunning);
	running = MemoryContextAlloc(purge_context, sizeof(VirtualTransactionId) * (nrunning + 1));
	memcpy(running, others, sizeof(VirtualTransactionId) * nrunning);
	stage = FENCED;
	PG_RETURN_INT32(nrunning);
}

static int
wait_no_longer_for_ended(void)
{
	int			left = 0;

	for (int i = 0; i < nrunning; i++)
		if (!VirtualXactLock(running[i], false))
			running[left++] = running[i];
	nrunning = left;
	return left;
}

PG_FUNCTION_INFO_V1(chatcrypt_fence_waits_for);

Datum
chatcrypt_fence_waits_for(PG_FUNCTION_ARGS)
{
	chatcrypt_require(CHATCRYPT_MAY_ADMINISTER);
	set_up_once();
	if (stage != FENCED)
		PG_RETURN_NULL();
	PG_RETURN_INT32(wait_no_longer_for_ended());
}

PG_FUNCTION_INFO_V1(chatcrypt_proposed_chats);

Datum
chatcrypt_proposed_chats(PG_FUNCTION_ARGS)
{
	Datum	   *chats = palloc(sizeof(Datum) * (list_length(proposals) + 1));
	pg_uuid_t  *last = NULL;
	int			count = 0;
	ListCell   *cell;

	chatcrypt_require(CHATCRYPT_MAY_ADMINISTER);
	if (proposals == NIL)
		PG_RETURN_NULL();
	foreach(cell, proposals)
	{
		Proposal   *proposal = lfirst(cell);

		if (last != NULL && memcmp(last, &proposal->chat_id, sizeof(pg_uuid_t)) == 0)
			continue;
		last = &proposal->chat_id;
		chats[count++] = UUIDPGetDatum(last);
	}
	PG_RETURN_ARRAYTYPE_P(construct_array(chats, count, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR));
}

/* The keys noted of a chat: bigint[]. */
static ArrayType *
proposed_deks(const uint8 *chat_id)
{
	Datum	   *deks = palloc(sizeof(Datum) * (list_length(proposals) + 1));
	int			count = 0;
	ListCell   *cell;

	foreach(cell, proposals)
	{
		Proposal   *proposal = lfirst(cell);

		if (memcmp(proposal->chat_id.data, chat_id, CC_ID_LEN) == 0)
			deks[count++] = Int64GetDatum(proposal->dek_id);
	}
	return construct_array(deks, count, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE);
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
		{INT8ARRAYOID, PointerGetDatum(proposed_deks(chat_id)), false}
	};
	SPITupleTable *found;
	int			nfound;

	nfound = (int) chatcrypt_owner_execute("SELECT d.purpose, d.dek_version, d.kms_key, d.kcv " REPLACED_KEYS_NOT_IN_USE
										   " AND d.dek_id = ANY ($3) ORDER BY d.dek_version FOR UPDATE",
										   args, lengthof(args));
	found = SPI_tuptable;
	for (int i = 0; i < nfound; i++)
	{
		ChatcryptEvent event = prepare_to_destroy(found->vals[i], found->tupdesc, chat_id);

		chatcrypt_event_record(scope, &event);
	}
	if (nfound > 0 &&
		chatcrypt_owner_execute("UPDATE chatcrypt.dek AS d SET state = 'destroyed', encrypted_dek = NULL, kcv = NULL "
								"WHERE d.dek_id IN (SELECT d.dek_id " REPLACED_KEYS_NOT_IN_USE " AND d.dek_id = ANY ($3))",
								args, lengthof(args)) != (uint64) nfound)
		elog(ERROR, "keys changed while they were locked");
	return nfound;
}

PG_FUNCTION_INFO_V1(chatcrypt_purge_proposed);

/* purge_proposed(chat uuid): how many keys were destroyed */
Datum
chatcrypt_purge_proposed(PG_FUNCTION_ARGS)
{
	const uint8 *chat_id = PG_GETARG_UUID_P(0)->data;
	ChatcryptOwnerScope scope;
	int			destroyed;

	chatcrypt_require(CHATCRYPT_MAY_ADMINISTER);
	if (stage != FENCED || wait_no_longer_for_ended() > 0)
		out_of_turn();
	chatcrypt_owner_begin(&scope);
	lock_chat(chat_id);
	destroyed = destroy_unused(&scope, chat_id);
	chatcrypt_owner_end(&scope);
	PG_RETURN_INT32(destroyed);
}

PG_FUNCTION_INFO_V1(chatcrypt_forget_proposals);

Datum
chatcrypt_forget_proposals(PG_FUNCTION_ARGS)
{
	(void) fcinfo;
	chatcrypt_require(CHATCRYPT_MAY_ADMINISTER);
	forget_all();
	PG_RETURN_VOID();
}
