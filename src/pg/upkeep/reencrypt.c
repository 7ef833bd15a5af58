/*
 * reencrypt.c
 *		Moves envelopes to their chat's newest key: reencrypt_chat(), reencrypt_due(),
 *		and reencrypt_envelope() for envelopes that are kept elsewhere.
 *
 * Each step of a pass (reencryptionpass.h) is a transaction of its own.
 *
 * Commits of slices do not wait for the disk: rows whose move is lost in a crash are found
 * again by the next pass, and the key that they need is destroyed only by a later commit,
 * which the crash then has undone as well.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "pg/access/access.h"
#include "pg/base/ids.h"
#include "pg/compat.h"
#include "pg/keys/keyaccess.h"
#include "pg/messages/seal.h"
#include "pg/messages/utf8.h"
#include "pg/procedures/progress.h"
#include "pg/procedures/work.h"
#include "pg/store/owner.h"
#include "pg/upkeep/reencryptionpass.h"

/* How many parts of files one transaction moves: a part has up to 16 MB, and usually 1 MB. */
#define PARTS_AT_ONCE 16

/* One run of a procedure. */
typedef struct Run
{
	int			batch;
	bool		forgiving;		/* a chat that fails causes a warning, and the others go on */
	MemoryContext slice_context;
	int64		moved;
	int64		unreadable;
	int64		failed;
} Run;

/* Does a step of the run and commits it.  Returns false where a forgiving run's step failed. */
static bool
take_step(const Run *run, ChatcryptStep step, void *arg)
{
	MemoryContext previous = MemoryContextSwitchTo(run->slice_context);
	bool		done = true;

	(void) set_config_option("synchronous_commit", "off", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_LOCAL, true, 0, false);
	if (run->forgiving)
		done = chatcrypt_work_try(step, arg);
	else
	{
		PushActiveSnapshot(GetTransactionSnapshot());
		step(arg);
		PopActiveSnapshot();
	}
	MemoryContextSwitchTo(previous);
	MemoryContextReset(run->slice_context);
	chatcrypt_work_commit();
	return done;
}

/* The counts for one chat. */
typedef struct Tally
{
	int64		unreadable;
	int64		passed_over;
} Tally;

/* Returns false where a step of a forgiving run failed. */
static bool
pass_over_place(Run *run, Tally *tally, ChatcryptPass *pass)
{
	ChatcryptSlice slice = {.pass = pass};
	int			batch = pass->known->kind == CHATCRYPT_PLACE_PARTS ?
		Min(run->batch, PARTS_AT_ONCE) : run->batch;

	do
	{
		if (!take_step(run, chatcrypt_reencryptionpass_list, pass))
			return false;
		for (slice.first = 0; slice.first < pass->nrows; slice.first += slice.count)
		{
			slice.count = Min(batch, pass->nrows - slice.first);
			if (!take_step(run, chatcrypt_reencryptionpass_move, &slice))
				return false;
			run->moved += slice.moved;
			tally->unreadable += slice.unreadable;
			tally->passed_over += slice.passed_over;
			chatcrypt_progress_note("re-encrypt", pass->chat_id, run->moved,
									CHATCRYPT_TOTAL_UNKNOWN);
		}
		if (pass->nrows > 0)
			pfree(pass->rows);
	} while (pass->nrows == CHATCRYPT_ROWS_LISTED);
	return true;
}

/* What is recorded of a pass over all places of a chat. */
typedef struct Upkeep
{
	const uint8 *chat_id;
	int64		dek_id;			/* the key that everything is under now; 0 for none */
	int64		unreadable;
} Upkeep;

/* A step, before the first place is looked at: finds the key that seals the chat's messages. */
static void
find_newest_dek(void *arg)
{
	Upkeep	   *upkeep = arg;
	const ChatcryptKey *key = chatcrypt_keyaccess_seal(upkeep->chat_id);
	ChatcryptArg args[] = {
		{UUIDOID, PointerGetDatum(upkeep->chat_id), false},
		{TEXTOID,
		 CStringGetTextDatum(chatcrypt_keytypes_purpose_text(chatcrypt_keyuse_purpose(key->use))),
		 false},
		{INT4OID, Int32GetDatum((int32) key->version), false}
	};
	ChatcryptOwnerScope scope;
	bool		isnull;

	chatcrypt_owner_begin(&scope);
	chatcrypt_owner_execute("SELECT dek_id "
							"FROM chatcrypt.dek "
							"WHERE chat_id = $1 AND purpose = $2 AND dek_version = $3",
							args, lengthof(args));
	upkeep->dek_id = DatumGetInt64(chatcrypt_owner_value(&isnull));
	chatcrypt_owner_end(&scope);
}

/* A step: records the pass. */
static void
note_upkeep(void *arg)
{
	Upkeep	   *upkeep = arg;
	ChatcryptArg args[] = {
		{UUIDOID, PointerGetDatum(upkeep->chat_id), false},
		{INT8OID, Int64GetDatum(upkeep->dek_id), upkeep->dek_id == 0},
		{INT8OID, Int64GetDatum(upkeep->unreadable), false}
	};
	ChatcryptOwnerScope scope;

	chatcrypt_owner_begin(&scope);
	chatcrypt_owner_execute("INSERT INTO chatcrypt.upkeep "
							"AS u (chat_id, reencrypted_to, reencrypted_at, unreadable) "
							"SELECT chat_id, $2, clock_timestamp(), $3 "
							"FROM chatcrypt.chat "
							"WHERE chat_id = $1 "
							"ON CONFLICT (chat_id) DO UPDATE "
							"SET reencrypted_to = coalesce(excluded.reencrypted_to, "
							"u.reencrypted_to), reencrypted_at = excluded.reencrypted_at, "
							"unreadable = excluded.unreadable",
							args, lengthof(args));
	chatcrypt_owner_end(&scope);
}

static void
reencrypt(Run *run, const uint8 *chat_id, List *places)
{
	Upkeep		upkeep = {.chat_id = chat_id};
	Tally		tally = {0};
	bool		done = take_step(run, find_newest_dek, &upkeep);
	ListCell   *cell;

	foreach(cell, places)
	{
		ChatcryptPass pass = {.chat_id = chat_id, .known = lfirst(cell),
							  .context = CurrentMemoryContext};

		ItemPointerSet(&pass.after, 0, 0);
		done = done && pass_over_place(run, &tally, &pass);
	}
	if (!done || tally.passed_over > 0)
		upkeep.dek_id = 0;
	upkeep.unreadable = tally.unreadable;
	run->unreadable += tally.unreadable;
	run->failed += !done;
	(void) take_step(run, note_upkeep, &upkeep);
}

static Datum
reencrypt_chat(FunctionCallInfo fcinfo, const pg_uuid_t *chat_id)
{
	Run			run = {.batch = chatcrypt_work_batch_argument(fcinfo, 1)};
	List	   *places;

	chatcrypt_rights_require(CHATCRYPT_MAY_ADMINISTER);
	chatcrypt_work_begin(fcinfo, "chatcrypt.reencrypt_chat()");
	run.slice_context = AllocSetContextCreate(CurrentMemoryContext, "chatcrypt slice",
											  ALLOCSET_DEFAULT_SIZES);
	places = chatcrypt_registry_places(AccessShareLock);
	reencrypt(&run, chat_id->data, places);
	chatcrypt_progress_end();
	return chatcrypt_work_end(fcinfo, (int64[]) {run.moved, run.unreadable}, 2);
}

PG_FUNCTION_INFO_V1(chatcrypt_reencrypt_chat);

/* reencrypt_chat(chat any_id, batch integer, INOUT moved bigint, INOUT unreadable bigint) */
Datum
chatcrypt_reencrypt_chat(PG_FUNCTION_ARGS)
{
	pg_uuid_t	id = chatcrypt_id_chat_argument(fcinfo);

	return reencrypt_chat(fcinfo, &id);
}

/*
 * Chats with keys that were replaced since the last pass over the chat, and at least as long
 * ago as $1 or their policies say.  Chats that were looked at longest ago come first; $2 is
 * their number at most.
 */
#define DUE \
	"SELECT c.chat_id " \
	"FROM chatcrypt.dek d " \
	"JOIN chatcrypt.chat c USING (chat_id) " \
	"JOIN chatcrypt.tenant t USING (tenant) " \
	"LEFT JOIN chatcrypt.upkeep u USING (chat_id) " \
	"LEFT JOIN chatcrypt.dek done ON done.dek_id = u.reencrypted_to " \
	"WHERE d.state = 'decrypt_only' AND d.purpose <> 'search' AND c.mode <> 'e2ee' " \
	"AND (done.state IS NULL OR done.state <> 'active' " \
	"AND (d.dek_version >= done.dek_version OR d.purpose <> done.purpose)) " \
	"GROUP BY c.chat_id, t.tenant, u.chat_id " \
	"HAVING min(d.valid_to) <= now() - coalesce($1, c.reencrypt_after, t.reencrypt_after) " \
	"ORDER BY u.reencrypted_at NULLS FIRST, min(d.valid_to) " \
	"LIMIT $2"

/* The chats that are due, in the current memory context. */
static pg_uuid_t *
due_chats(FunctionCallInfo fcinfo, uint64 *count)
{
	MemoryContext context = CurrentMemoryContext;
	ChatcryptArg args[] = {
		{INTERVALOID, PG_GETARG_DATUM(0), PG_ARGISNULL(0)},
		{INT8OID, PG_GETARG_DATUM(1), PG_ARGISNULL(1)}
	};
	ChatcryptOwnerScope scope;
	pg_uuid_t  *chats;
	bool		isnull;

	chatcrypt_owner_begin(&scope);
	*count = chatcrypt_owner_execute(DUE, args, lengthof(args));
	chats = MemoryContextAllocHuge(context, sizeof(pg_uuid_t) * (*count + 1));
	for (uint64 i = 0; i < *count; i++)
		chats[i] =
			*DatumGetUUIDP(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull));
	chatcrypt_owner_end(&scope);
	return chats;
}

PG_FUNCTION_INFO_V1(chatcrypt_reencrypt_due);

/*
 * reencrypt_due(replaced_for interval, max_chats bigint, batch integer,
 *				 INOUT moved bigint, INOUT unreadable bigint, INOUT failed bigint)
 */
Datum
chatcrypt_reencrypt_due(PG_FUNCTION_ARGS)
{
	Run			run = {.batch = chatcrypt_work_batch_argument(fcinfo, 2), .forgiving = true};
	List	   *places;
	pg_uuid_t  *chats;
	uint64		count;

	chatcrypt_rights_require(CHATCRYPT_MAY_ADMINISTER);
	(void) chatcrypt_work_limit_argument(fcinfo, 1, "max_chats");
	chatcrypt_work_begin(fcinfo, "chatcrypt.reencrypt_due()");
	run.slice_context = AllocSetContextCreate(CurrentMemoryContext, "chatcrypt slice",
											  ALLOCSET_DEFAULT_SIZES);
	places = chatcrypt_registry_places(AccessShareLock);
	chats = due_chats(fcinfo, &count);
	for (uint64 i = 0; i < count; i++)
		reencrypt(&run, chats[i].data, places);
	chatcrypt_progress_end();
	return chatcrypt_work_end(fcinfo, (int64[]) {run.moved, run.unreadable, run.failed}, 3);
}

/* NULL where the envelope is NULL, or where it does not open and the caller wants no error. */
static Datum
reseal(FunctionCallInfo fcinfo, bool raises)
{
	ChatcryptAad room;
	const ChatcryptAad *aad;
	cc_status	why;
	bytea	   *resealed;

	chatcrypt_rights_require(CHATCRYPT_MAY_ADMINISTER);
	if (PG_ARGISNULL(2))
		PG_RETURN_NULL();
	chatcrypt_id_refuse_null(fcinfo, 0, "the id of the chat");
	chatcrypt_id_refuse_null(fcinfo, 1, "the id of the message");
	aad = PG_ARGISNULL(3) ? NULL : chatcrypt_seal_aad(&room, PG_GETARG_BYTEA_PP(3));
	while ((resealed = chatcrypt_seal_again(PG_GETARG_UUID_P(0)->data, PG_GETARG_UUID_P(1)->data,
											PG_GETARG_BYTEA_PP(2), aad, &why)) == NULL)
	{
		if (!raises)
			PG_RETURN_NULL();
		/* Raises decrypt()'s error.  If the envelope opens by now, the next round seals it. */
		chatcrypt_utf8_wipe_text(chatcrypt_seal_open(PG_GETARG_UUID_P(0)->data,
													 PG_GETARG_UUID_P(1)->data,
													 PG_GETARG_BYTEA_PP(2), aad,
													 CHATCRYPT_FAIL_RAISE));
	}
	PG_RETURN_BYTEA_P(resealed);
}

PG_FUNCTION_INFO_V1(chatcrypt_reencrypt_envelope);

/* reseal(chat any_id, message any_id, envelope bytea, aad bytea): raises for what does not open */
Datum
chatcrypt_reencrypt_envelope(PG_FUNCTION_ARGS)
{
	return reseal(fcinfo, true);
}

PG_FUNCTION_INFO_V1(chatcrypt_try_reencrypt_envelope);

/* The same with NULL for what does not open. */
Datum
chatcrypt_try_reencrypt_envelope(PG_FUNCTION_ARGS)
{
	return reseal(fcinfo, false);
}
