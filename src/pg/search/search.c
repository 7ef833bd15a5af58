/*
 * search.c
 *		Finds messages of blind chats, newest first: see search.h.
 *
 * For each chat the index gives candidates, batch by batch in the order of time; their
 * rows are read as the caller, under the policies that hold for him, opened, and compared
 * with the query.  What is not compared is not shown, so an index that says too much costs
 * time and nothing else.  One that says too little would cost messages: who searches while
 * the index is being made is refused.
 *
 * The index is read under the statement's snapshot.  The policy and the key are read as
 * they are now, as every key is; where the snapshot shows the index of an older policy,
 * its tokens are not those that are looked for, and that is refused too.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"
#include "utils/uuid.h"

#include "pg/access/access.h"
#include "pg/base/ids.h"
#include "pg/base/settings.h"
#include "pg/compat.h"
#include "pg/keys/keys.h"
#include "pg/messages/binding.h"
#include "pg/messages/seal.h"
#include "pg/search/indexcondition.h"
#include "pg/search/policy.h"
#include "pg/search/query.h"
#include "pg/search/search.h"
#include "pg/search/tokenrows.h"
#include "pg/store/owner.h"
#include "pg/store/statement.h"
#include "pg/store/store.h"

#define LONGEST_PAGE	1000
#define LARGEST_BATCH	1000

/* Where a page, or a batch, ends: what comes next is older. */
typedef struct Place
{
	TimestampTz created_at;
	pg_uuid_t	message_id;
} Place;

/* A message that was found. */
typedef struct Hit
{
	Place		place;
	pg_uuid_t	chat_id;
	text	   *sender;			/* NULL for none */
	text	   *body;
} Hit;

typedef struct Search
{
	int			limit;
	Place		before;			/* where the caller's page begins */
	char	   *plain;			/* the query as it was written */
	MemoryContext context;		/* of what is found */
	MemoryContext batch_context;
	Hit		   *hits;			/* newest first once sorted; room for a page and a batch */
	int			nhits;
} Search;

/* One chat of it. */
typedef struct ChatSearch
{
	const uint8 *chat_id;
	ChatcryptSearchPolicy policy;
	ChatcryptQuery *query;
	ChatcryptIndexCondition condition;
	char	   *candidates;		/* the statement */
	Place		at;				/* how far it has come */
	bool		at_end;
} ChatSearch;

/* Candidates, newest first. */
typedef struct Batch
{
	Datum	   *ids;
	Place	   *places;
	int			count;
} Batch;

static void
refuse_argument(const char *message)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("%s", message)));
}

static int
newer(const Place *a, const Place *b)
{
	if (a->created_at != b->created_at)
		return a->created_at > b->created_at ? -1 : 1;
	return -memcmp(&a->message_id, &b->message_id, UUID_LEN);
}

static int
compare_hits(const void *a, const void *b)
{
	return newer(&((const Hit *) a)->place, &((const Hit *) b)->place);
}

/* ------------------------------------------------------------------------- chats */

static void
refuse_incomplete(const uint8 *chat_id)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("the search index of chat %s is not complete", chatcrypt_id_text(chat_id)),
			 errdetail("Messages from before its last change are not in it."),
			 errhint("CALL chatcrypt.reindex_search(), or wait for it.")));
}

/* before: the chat that was begun last, or NULL.  Words of one configuration are made once. */
static void
begin_chat(const Search *search, ChatSearch *chat, const ChatSearch *before, const uint8 *chat_id)
{
	const ChatcryptSearchPolicy *policy;

	chatcrypt_require_participant(chat_id);
	policy = chatcrypt_policy_require_blind(chat_id);
	if (!policy->complete && !policy->began_empty)
		refuse_incomplete(chat_id);
	memset(chat, 0, sizeof(*chat));
	chat->chat_id = chat_id;
	chat->policy = *policy;
	chat->at = search->before;
	if (before != NULL && before->policy.config == chat->policy.config)
		chat->query = before->query;
	else
		chat->query = chatcrypt_query_parse(chat->policy.config, search->plain);
}

/* $1: the chat; $2, $3: older than that; $4: how many.  Inside an owner scope. */
static const char by_token[] =
"SELECT t.message_id, t.created_at FROM chatcrypt.search_token t "
"WHERE t.chat_id = $1 AND (t.created_at, t.message_id) < ($2, $3) AND %s "
"ORDER BY t.created_at DESC, t.message_id DESC LIMIT $4";

static const char by_time[] =
"SELECT m.message_id, m.created_at FROM chatcrypt.message m %s"
"WHERE m.chat_id = $1 AND (m.created_at, m.message_id) < ($2, $3) AND m.created_at <= $2 %s%s "
"ORDER BY m.created_at DESC, m.message_id DESC LIMIT $4";

enum
{
	FIXED_PARAMETERS = 4
};

static void
make_statement(ChatSearch *chat)
{
	ChatcryptIndexCondition *condition = &chat->condition;

	chatcrypt_indexcondition_make(chat->query, chat->chat_id, &chat->policy, FIXED_PARAMETERS + 1,
								  condition);
	if (condition->indexed)
		chat->candidates = psprintf(by_token, condition->sql);
	else
		chat->candidates = psprintf(by_time,
									condition->sql ?
									"JOIN chatcrypt.search_token t USING (message_id) " : "",
									condition->sql ? "AND " : "",
									condition->sql ? condition->sql : "");
}

/* ------------------------------------------------------------------------- candidates */

static void
take_candidates(Batch *batch, MemoryContext context)
{
	batch->count = (int) SPI_processed;
	batch->ids = MemoryContextAlloc(context, sizeof(Datum) * Max(batch->count, 1));
	batch->places = MemoryContextAlloc(context, sizeof(Place) * Max(batch->count, 1));
	for (int i = 0; i < batch->count; i++)
	{
		bool		isnull;

		batch->places[i].message_id = *DatumGetUUIDP(chatcrypt_owner_column(i, 1, &isnull));
		batch->places[i].created_at = DatumGetTimestampTz(chatcrypt_owner_column(i, 2, &isnull));
		batch->ids[i] = PointerGetDatum(&batch->places[i].message_id);
	}
}

static void
run_candidates(const ChatSearch *chat, int count)
{
	int			nargs = FIXED_PARAMETERS + list_length(chat->condition.arguments);
	Oid		   *types = palloc(sizeof(Oid) * nargs);
	Datum	   *values = palloc(sizeof(Datum) * nargs);
	int			result;

	types[0] = types[2] = UUIDOID;
	types[1] = TIMESTAMPTZOID;
	types[3] = INT4OID;
	values[0] = PointerGetDatum(chat->chat_id);
	values[1] = TimestampTzGetDatum(chat->at.created_at);
	values[2] = PointerGetDatum(&chat->at.message_id);
	values[3] = Int32GetDatum(count);
	for (int i = FIXED_PARAMETERS; i < nargs; i++)
	{
		types[i] = INT8ARRAYOID;
		values[i] = PointerGetDatum(list_nth(chat->condition.arguments, i - FIXED_PARAMETERS));
	}
	result = SPI_execute_with_args(chat->candidates, nargs, types, values, NULL, true, 0);
	if (result != SPI_OK_SELECT)
		elog(ERROR, "could not search: %s", SPI_result_code_string(result));
}

static void
next_batch(const Search *search, ChatSearch *chat, int count, Batch *batch)
{
	ChatcryptOwnerScope scope;

	chatcrypt_owner_begin(&scope);
	chatcrypt_owner_by_index();
	run_candidates(chat, count);
	take_candidates(batch, search->batch_context);
	chatcrypt_owner_end(&scope);
	chat->at_end = batch->count < count;
	if (batch->count > 0)
		chat->at = batch->places[batch->count - 1];
}

/* ------------------------------------------------------------------------- messages */

/*
 * As the caller: his rights and policies are those of any SELECT.  By id alone: the
 * planner would take the whole chat from its index where the statement named that too.
 */
static void
read_messages(const Batch *batch)
{
	static SPIPlanPtr plan;
	ChatcryptArg ids = {
		UUIDARRAYOID,
		PointerGetDatum(construct_array(batch->ids, batch->count, UUIDOID, UUID_LEN, false,
										TYPALIGN_CHAR)), false
	};

	chatcrypt_statement_run(&plan,
							"SELECT message_id, created_at, sender, encrypted_message, chat_id "
							"FROM chatcrypt.message "
							"WHERE message_id OPERATOR(pg_catalog.=) ANY ($1) "
							"AND encrypted_message IS NOT NULL "
							"AND (expires_at IS NULL OR expires_at OPERATOR(pg_catalog.>) "
							"pg_catalog.now())",
							&ids, 1, true);
}

static bool
matches(const ChatSearch *chat, const text *body)
{
	ParsedText	words;
	bool		found;

	/* Nothing raises while they are compared. */
	chatcrypt_words_parse(chat->policy.config, VARDATA_ANY(body), VARSIZE_ANY_EXHDR(body), &words);
	found = chatcrypt_query_matches(chat->query, &words);
	chatcrypt_words_wipe(&words);
	return found;
}

static void
wipe_text(text *plain)
{
	cc_wipe(plain, VARSIZE_ANY(plain));
	pfree(plain);
}

static text *
copy_text(const text *original)
{
	return (text *) DatumGetPointer(datumCopy(PointerGetDatum(original), false, -1));
}

/* The body in a copy: the page's, who wipes it. */
static void
keep(Search *search, Hit *hit, text *sender, const text *body)
{
	MemoryContext previous = MemoryContextSwitchTo(search->context);

	hit->sender = sender == NULL ? NULL : copy_text(sender);
	hit->body = copy_text(body);
	search->nhits++;
	MemoryContextSwitchTo(previous);
}

/* A row of read_messages(): opens it, and keeps it where it matches. */
static void
try_message(Search *search, const ChatSearch *chat, HeapTuple row, TupleDesc desc)
{
	Hit		   *hit = &search->hits[search->nhits];
	Datum		values[5];
	bool		nulls[5];
	ChatcryptRowAad aad;
	text	   *sender;
	text	   *body;

	heap_deform_tuple(row, desc, values, nulls);
	if (memcmp(DatumGetUUIDP(values[4])->data, chat->chat_id, CC_ID_LEN) != 0)
		return;
	hit->place.message_id = *DatumGetUUIDP(values[0]);
	hit->place.created_at = DatumGetTimestampTz(values[1]);
	memcpy(hit->chat_id.data, chat->chat_id, CC_ID_LEN);
	sender = nulls[2] ? NULL : DatumGetTextPP(values[2]);
	body = chatcrypt_open_text(chat->chat_id, hit->place.message_id.data,
							   DatumGetByteaPP(values[3]),
							   chatcrypt_row_aad(&aad, hit->place.created_at, sender),
							   chatcrypt_on_failure_in_views());
	if (body == NULL)
		return;
	PG_TRY();
	{
		if (matches(chat, body))
			keep(search, hit, sender, body);
	}
	PG_FINALLY();
	{
		wipe_text(body);
	}
	PG_END_TRY();
}

/* The newest so many, newest first; the others are forgotten. */
static void
keep_newest(Search *search)
{
	qsort(search->hits, search->nhits, sizeof(Hit), compare_hits);
	while (search->nhits > search->limit)
		wipe_text(search->hits[--search->nhits].body);
}

/* Leaves out candidates that are older than a page that is full. */
static void
cut_batch(const Search *search, ChatSearch *chat, Batch *batch)
{
	if (search->nhits < search->limit)
		return;
	while (batch->count > 0 &&
		   newer(&search->hits[search->nhits - 1].place, &batch->places[batch->count - 1]) < 0)
	{
		batch->count--;
		chat->at_end = true;
	}
}

static void
search_chat(Search *search, ChatSearch *chat)
{
	int			count = search->limit;

	while (!chat->at_end)
	{
		Batch		batch;

		CHECK_FOR_INTERRUPTS();
		next_batch(search, chat, count, &batch);
		cut_batch(search, chat, &batch);
		if (SPI_connect() != SPI_OK_CONNECT)
			elog(ERROR, "could not connect to SPI");
		read_messages(&batch);
		for (uint64 i = 0; i < SPI_processed; i++)
			try_message(search, chat, SPI_tuptable->vals[i], SPI_tuptable->tupdesc);
		SPI_finish();
		keep_newest(search);
		MemoryContextReset(search->batch_context);
		count = Min(2 * count, LARGEST_BATCH);

		/* What comes next is older than all that was found here. */
		if (search->nhits == search->limit &&
			newer(&search->hits[search->nhits - 1].place, &chat->at) <= 0)
			return;
	}
}

/* ------------------------------------------------------------------------- the function */

/*
 * Does the statement's snapshot show the index that the policy of now tells of?  Where that
 * is not complete, the chat began empty: then each message that the snapshot shows must have
 * its tokens.  None can be missing that is not seen here, since candidates come from the same
 * snapshot.
 */
static void
require_index(const ChatSearch *chat)
{
	Oid			types[] = {UUIDOID, INT8OID};
	Datum		values[] = {PointerGetDatum(chat->chat_id), Int64GetDatum(chat->policy.generation)};
	bool		isnull;

	if (SPI_execute_with_args("SELECT complete FROM chatcrypt.search_policy WHERE chat_id = $1 "
							  "AND generation = $2 AND (complete OR began_empty)",
							  lengthof(types), types, values, NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not read the policy of a chat");
	if (SPI_processed == 0)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("the search index of chat %s was made anew since this transaction began",
						chatcrypt_id_text(chat->chat_id)),
				 errhint("Retry the transaction.")));
	if (!DatumGetBool(chatcrypt_owner_value(&isnull)) &&
		chatcrypt_tokenrows_are_missing(chat->chat_id, chat->policy.generation))
		refuse_incomplete(chat->chat_id);
}

static void
require_indexes(const ChatSearch *chats, int nchats)
{
	ChatcryptOwnerScope scope;

	chatcrypt_owner_begin(&scope);
	chatcrypt_owner_by_index();
	for (int i = 0; i < nchats; i++)
		require_index(&chats[i]);
	chatcrypt_owner_end(&scope);
}

static void
return_hits(const Search *search, ReturnSetInfo *result)
{
	for (int i = 0; i < search->nhits; i++)
	{
		const Hit  *hit = &search->hits[i];
		Datum		values[] = {
			PointerGetDatum(&hit->chat_id), PointerGetDatum(&hit->place.message_id),
			PointerGetDatum(hit->sender), PointerGetDatum(hit->body),
			TimestampTzGetDatum(hit->place.created_at)
		};
		bool		nulls[] = {false, false, hit->sender == NULL, false, false};

		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
		wipe_text(hit->body);
	}
}

static void
begin_search(FunctionCallInfo fcinfo, Search *search)
{
	memset(search, 0, sizeof(*search));
	search->plain = text_to_cstring(PG_GETARG_TEXT_PP(1));
	search->limit = PG_GETARG_INT32(2);
	if (search->limit < 1 || search->limit > LONGEST_PAGE)
		refuse_argument("a page of a search has 1 to 1000 messages");
	search->before.created_at = PG_ARGISNULL(3) ? DT_NOEND : PG_GETARG_TIMESTAMPTZ(3);
	memset(&search->before.message_id, PG_ARGISNULL(3) ? 0xff : 0, UUID_LEN);
	if (!PG_ARGISNULL(4))
		search->before.message_id = *PG_GETARG_UUID_P(4);
	search->context = CurrentMemoryContext;
	search->batch_context = AllocSetContextCreate(CurrentMemoryContext, "chatcrypt search batch",
												  ALLOCSET_DEFAULT_SIZES);
	search->hits = palloc(sizeof(Hit) * (search->limit + LARGEST_BATCH));
}

static int
compare_ids(const void *a, const void *b)
{
	return memcmp(a, b, UUID_LEN);
}

/* Each chat once, however often it was named. */
static int
unique_chats(pg_uuid_t *chats, int count)
{
	int			kept = 0;

	qsort(chats, count, sizeof(pg_uuid_t), compare_ids);
	for (int i = 0; i < count; i++)
		if (i == 0 || compare_ids(&chats[i], &chats[kept - 1]) != 0)
			chats[kept++] = chats[i];
	return kept;
}

/* Not on a disk, however large the page is: work_mem would have it written to a file. */
static void
keep_in_memory(ReturnSetInfo *result)
{
	MemoryContext previous = MemoryContextSwitchTo(result->econtext->ecxt_per_query_memory);
	bool		random_access = (result->allowedModes & SFRM_Materialize_Random) != 0;

	tuplestore_end(result->setResult);
	result->setResult = tuplestore_begin_heap(random_access, false, MAX_KILOBYTES);
	MemoryContextSwitchTo(previous);
}

static void
find(Search *search, ChatSearch *chats, int nchats)
{
	for (int i = 0; i < nchats; i++)
	{
		if (chats[i].query == NULL)
			continue;
		make_statement(&chats[i]);
		search_chat(search, &chats[i]);
	}
}

void
chatcrypt_search_chats(FunctionCallInfo fcinfo, pg_uuid_t *ids, int count)
{
	Search		search;
	ChatSearch *chats = palloc(sizeof(ChatSearch) * Max(count, 1));
	int			nchats = unique_chats(ids, count);

	begin_search(fcinfo, &search);
	InitMaterializedSRF(fcinfo, 0);
	keep_in_memory((ReturnSetInfo *) fcinfo->resultinfo);
	for (int i = 0; i < nchats; i++)
	{
		CHECK_FOR_INTERRUPTS();
		begin_chat(&search, &chats[i], i > 0 ? &chats[i - 1] : NULL, ids[i].data);
	}
	require_indexes(chats, nchats);
	PG_TRY();
	{
		find(&search, chats, nchats);
	}
	PG_CATCH();
	{
		for (int i = 0; i < search.nhits; i++)
			wipe_text(search.hits[i].body);
		PG_RE_THROW();
	}
	PG_END_TRY();
	return_hits(&search, (ReturnSetInfo *) fcinfo->resultinfo);
}
