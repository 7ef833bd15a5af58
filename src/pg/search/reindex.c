/*
 * reindex.c
 *		reindex_search(): brings the tokens of a chat's messages in line with its policy,
 *		while they are read and written.
 *
 *	1. policy	If a new key is requested, or if the index is complete, the policy gets a
 *				new generation, whose index is not complete.  Writers that know of the new
 *				generation write its tokens from here on.
 *	2. fence	The transactions that are running are noted, because they may know only the
 *				older generation.
 *	3. pass		Each message without tokens of this generation gets them, batch by batch.
 *				Each batch locks its messages, and skips those that other transactions hold.
 *	4. wait		The procedure waits for the transactions that were noted, and then makes
 *				further passes until one of them has skipped no message.
 *	5. end		The index is complete, and search keys that were replaced are destroyed.
 *
 * If the procedure is interrupted, the next call goes on where it ended, because it does not look
 * at messages that have tokens of this generation.  Two calls for one chat may run at once.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "pg/access/access.h"
#include "pg/base/ids.h"
#include "pg/cache/eviction.h"
#include "pg/compat.h"
#include "pg/history/events.h"
#include "pg/keys/dekrows.h"
#include "pg/keys/chatkeys.h"
#include "pg/messages/binding.h"
#include "pg/messages/seal.h"
#include "pg/procedures/fence.h"
#include "pg/procedures/progress.h"
#include "pg/procedures/work.h"
#include "pg/search/indexing.h"
#include "pg/search/policy.h"
#include "pg/store/owner.h"

#define INPUTS	4				/* arguments that the procedure does not return */
#define NAP		100				/* milliseconds before messages that were skipped are tried again */

typedef struct Reindex
{
	pg_uuid_t	chat_id;
	int			batch;
	bool		new_key;
	MemoryContext batch_context;
	ChatcryptSearchPolicy policy;	/* the one that this run is for */

	/* In one pass, the last message that was looked at. */
	TimestampTz after_time;
	pg_uuid_t	after_id;
	int			listed;			/* messages of the last batch, with those that it skipped */
	bool		passed_over;	/* has this pass skipped a message? */

	int64		indexed;
	int64		unreadable;
	int64		outstanding;	/* older transactions that still ran at the deadline */
} Reindex;

static void
run_step(Reindex *run, ChatcryptStep step)
{
	MemoryContext previous = MemoryContextSwitchTo(run->batch_context);

	PushActiveSnapshot(GetTransactionSnapshot());
	step(run);
	PopActiveSnapshot();
	MemoryContextSwitchTo(previous);
	MemoryContextReset(run->batch_context);
	chatcrypt_work_commit();
}

/* The current policy of the chat; raises an error if the chat has no index here. */
static const ChatcryptSearchPolicy *
current_policy(const Reindex *run)
{
	const ChatcryptSearchPolicy *policy = chatcrypt_policy_find(run->chat_id.data);

	if (policy == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("search of chat %s is off", chatcrypt_id_text(run->chat_id.data)),
				 errhint("Choose how the chat is searched with chatcrypt.set_search().")));
	if (policy->mode != CHATCRYPT_SEARCH_BLIND)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("chat %s is searched by an external search engine, and has no index here",
						chatcrypt_id_text(run->chat_id.data)),
				 errhint("Feed all of its messages again with chatcrypt.resend_search_feed().")));
	return policy;
}

/* ------------------------------------------------------------------------- before and after */

/*
 * A step.  Begins a new generation if the caller asked for a new key, or if the index is complete
 * and is to be made again.
 */
static void
begin_generation(void *arg)
{
	Reindex    *run = arg;
	ChatcryptArg chat = {UUIDOID, PointerGetDatum(&run->chat_id), false};
	ChatcryptOwnerScope scope;

	run->policy = *current_policy(run);
	if (run->new_key)
		(void) chatcrypt_chatkeys_rotate_purpose(run->chat_id.data, CHATCRYPT_PURPOSE_SEARCH);
	else if (!run->policy.complete)
		return;
	chatcrypt_owner_begin(&scope);
	chatcrypt_chatkeys_lock(run->chat_id.data);
	chatcrypt_owner_execute("UPDATE chatcrypt.search_policy "
							"SET generation = DEFAULT, complete = false, began_empty = false, "
							"updated_at = now() "
							"WHERE chat_id = $1",
							&chat, 1);
	chatcrypt_owner_end(&scope);
	run->policy = *current_policy(run);
}

static void
destroy_replaced_keys(const ChatcryptOwnerScope *scope, const ChatcryptArg *chat)
{
	ChatcryptEvent event = {.event = "purge", .chat_id = DatumGetUUIDP(chat->value)->data,
							.purpose = "search"};
	uint64		destroyed;

	destroyed = chatcrypt_dekrows_destroy("d.chat_id = $1 "
										  "AND d.purpose = 'search' "
										  "AND d.state = 'decrypt_only'", chat, 1);
	if (destroyed == 0)
		return;
	event.detail = psprintf(UINT64_FORMAT " keys destroyed", destroyed);
	chatcrypt_event_record(scope, &event);
	chatcrypt_eviction_note_chat(event.chat_id);
}

/* A step.  Another call may have begun a newer generation meanwhile, which stays incomplete. */
static void
complete(void *arg)
{
	Reindex    *run = arg;
	ChatcryptArg args[] = {
		{UUIDOID, PointerGetDatum(&run->chat_id), false},
		{INT8OID, Int64GetDatum(run->policy.generation), false}
	};
	ChatcryptOwnerScope scope;

	chatcrypt_owner_begin(&scope);
	chatcrypt_chatkeys_lock(run->chat_id.data);
	if (chatcrypt_owner_execute("UPDATE chatcrypt.search_policy "
								"SET complete = true, updated_at = now() "
								"WHERE chat_id = $1 AND generation = $2 AND NOT complete",
								args, lengthof(args)) > 0)
		destroy_replaced_keys(&scope, args);
	chatcrypt_owner_end(&scope);
}

/* ------------------------------------------------------------------------- one batch */

/* Lists messages that have no tokens of this generation, from older to newer. */
static uint64
list_messages(const Reindex *run, Datum **ids)
{
	ChatcryptArg args[] = {
		{UUIDOID, PointerGetDatum(&run->chat_id), false},
		{INT8OID, Int64GetDatum(run->policy.generation), false},
		{TIMESTAMPTZOID, TimestampTzGetDatum(run->after_time), false},
		{UUIDOID, PointerGetDatum(&run->after_id), false},
		{INT4OID, Int32GetDatum(run->batch), false}
	};
	uint64		count;
	bool		isnull;

	count = chatcrypt_owner_execute("SELECT m.message_id, m.created_at FROM chatcrypt.sealed_message m "
									"LEFT JOIN chatcrypt.search_token t USING (message_id) "
									"WHERE m.chat_id = $1 AND m.encrypted_message IS NOT NULL "
									"AND t.generation IS DISTINCT FROM $2 "
									"AND m.created_at >= $3 "
									"AND (m.created_at, m.message_id) > ($3, $4) "
									"ORDER BY m.created_at, m.message_id LIMIT $5",
									args, lengthof(args));
	*ids = palloc(sizeof(Datum) * Max(count, 1));
	for (uint64 i = 0; i < count; i++)
		(*ids)[i] = chatcrypt_owner_column(i, 1, &isnull);
	return count;
}

/* Notes the last message that was listed, after which the next batch begins. */
static void
note_place(Reindex *run, uint64 count)
{
	bool		isnull;

	run->listed = (int) count;
	if (count == 0)
		return;
	run->after_id = *DatumGetUUIDP(chatcrypt_owner_column(count - 1, 1, &isnull));
	run->after_time = DatumGetTimestampTz(chatcrypt_owner_column(count - 1, 2, &isnull));
}

static void
index_message(Reindex *run, uint64 row)
{
	bool		isnull;
	pg_uuid_t  *id = DatumGetUUIDP(chatcrypt_owner_column(row, 1, &isnull));
	TimestampTz created_at = DatumGetTimestampTz(chatcrypt_owner_column(row, 2, &isnull));
	Datum		sender = chatcrypt_owner_column(row, 3, &isnull);
	ChatcryptRowAad aad;
	const ChatcryptAad *bound = chatcrypt_binding_aad(&aad, created_at,
													  isnull ? NULL : DatumGetTextPP(sender));
	Datum		envelope = chatcrypt_owner_column(row, 4, &isnull);
	text	   *body = isnull ? NULL :
		chatcrypt_seal_open_text(run->chat_id.data, id->data, DatumGetByteaPP(envelope), bound,
								 CHATCRYPT_FAIL_NULL);

	if (body == NULL)
	{
		run->unreadable += !isnull;
		return;
	}
	chatcrypt_indexing_message_written(run->chat_id.data, id->data, created_at, body);
	run->indexed++;
	cc_wipe(body, VARSIZE_ANY(body));
	pfree(body);
}

/*
 * A step.  A message that another transaction has locked is skipped and looked at in a later
 * pass.  That transaction either writes its tokens under the current policy or is one of those
 * that the procedure waits for.  This step waits for no lock, so that no other transaction can
 * end in a deadlock with it.
 */
static void
index_batch(void *arg)
{
	Reindex    *run = arg;
	ChatcryptOwnerScope scope;
	ChatcryptArg messages;
	Datum	   *ids;
	uint64		count;
	uint64		locked;

	(void) set_config_option("synchronous_commit", "off", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_LOCAL, true, 0, false);
	if (current_policy(run)->generation != run->policy.generation)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("the search policy of chat %s was changed while its index was being made",
						chatcrypt_id_text(run->chat_id.data)),
				 errhint("Call chatcrypt.reindex_search() again.")));
	chatcrypt_owner_begin(&scope);
	chatcrypt_owner_by_index();
	count = list_messages(run, &ids);
	note_place(run, count);
	messages = (ChatcryptArg) {
		UUIDARRAYOID, PointerGetDatum(construct_array(ids, (int) count, UUIDOID, UUID_LEN, false,
													  TYPALIGN_CHAR)), false
	};
	locked = chatcrypt_owner_execute("SELECT message_id, created_at, sender, encrypted_message "
									 "FROM chatcrypt.sealed_message "
									 "WHERE message_id = ANY ($1) "
									 "FOR NO KEY UPDATE SKIP LOCKED",
									 &messages, 1);
	for (uint64 i = 0; i < locked; i++)
		index_message(run, i);
	run->passed_over = run->passed_over || locked < count;
	chatcrypt_owner_end(&scope);
}

/* ------------------------------------------------------------------------- the procedure */

static void
pass(Reindex *run)
{
	run->after_time = DT_NOBEGIN;
	memset(&run->after_id, 0, sizeof(run->after_id));
	run->passed_over = false;
	run->unreadable = 0;
	do
	{
		run_step(run, index_batch);
		chatcrypt_progress_note("reindex search", run->chat_id.data, run->indexed,
								CHATCRYPT_TOTAL_UNKNOWN);
	} while (run->listed == run->batch);
}

/* False if the deadline came before a pass that skipped no message. */
static bool
pass_until_done(Reindex *run, TimestampTz until)
{
	static uint32 wait_event;

	for (;;)
	{
		pass(run);
		if (!run->passed_over)
			return true;
		if (GetCurrentTimestamp() >= until)
			return false;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, NAP,
						 chatcrypt_wait_event(&wait_event, "ChatcryptReindex"));
		ResetLatch(MyLatch);
	}
}

/*
 * A backend has one fence.  If a purge in the same backend was waiting for its own, its next
 * call begins from the start.
 */
static void
reindex(Reindex *run, TimestampTz until)
{
	run_step(run, begin_generation);
	chatcrypt_fence_raise();
	pass(run);
	if (!chatcrypt_fence_wait(until))
		run->outstanding = chatcrypt_fence_waits_for();
	else if (!pass_until_done(run, until))
		run->outstanding = 1;
	else
		run_step(run, complete);
	chatcrypt_fence_lower();
}

static Datum
reindex_search(FunctionCallInfo fcinfo, const pg_uuid_t *chat_id)
{
	Reindex		run = {.chat_id = *chat_id, .batch = chatcrypt_work_batch_argument(fcinfo, 1)};
	TimestampTz until = chatcrypt_fence_deadline(fcinfo, 3);

	chatcrypt_rights_require(CHATCRYPT_MAY_ADMINISTER);
	chatcrypt_access_require_participant(chat_id->data);
	run.new_key = !PG_ARGISNULL(2) && PG_GETARG_BOOL(2);
	chatcrypt_work_begin(fcinfo, "chatcrypt.reindex_search()");
	run.batch_context = AllocSetContextCreate(CurrentMemoryContext, "chatcrypt reindex batch",
											  ALLOCSET_DEFAULT_SIZES);
	reindex(&run, until);
	chatcrypt_progress_end();
	if (run.outstanding > 0)
		ereport(WARNING,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("the search index of chat %s is not complete yet",
						chatcrypt_id_text(chat_id->data)),
				 errdetail("Transactions that began before the change are still running."),
				 errhint("Call chatcrypt.reindex_search() again when they have ended, or let it "
						 "wait longer.")));
	if (PG_NARGS() > INPUTS)
		return chatcrypt_work_end(fcinfo,
								  (int64[]) {run.indexed, run.unreadable, run.outstanding}, 3);
	ereport(NOTICE,
			(errmsg("indexed %lld messages of chat %s; %lld could not be opened",
					(long long) run.indexed, chatcrypt_id_text(chat_id->data),
					(long long) run.unreadable)));
	return chatcrypt_work_end(fcinfo, NULL, 0);
}

PG_FUNCTION_INFO_V1(chatcrypt_reindex_search);

/*
 * reindex_search(chat_id any_id, batch integer, new_key boolean, max_wait interval
 * [, INOUT indexed, unreadable, waiting_for])
 */
Datum
chatcrypt_reindex_search(PG_FUNCTION_ARGS)
{
	pg_uuid_t	id = chatcrypt_id_chat_argument(fcinfo);

	return reindex_search(fcinfo, &id);
}
