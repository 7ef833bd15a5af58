/*
 * search.c
 *		search(): finds messages of blind chats, newest first.
 *
 * For each chat the index names candidates (candidates.c).  Their rows are read as the caller,
 * under the policies that hold for the caller, opened, and compared with the query (hits.c).
 * An index that lacks messages would lose matches, so search() raises an error while the index
 * of a chat is being made.
 *
 * The index is read under the snapshot of the statement.  The policy and the key are read as
 * they are now, like every key.  If the snapshot shows the index of an older policy, its tokens
 * are not the ones that are looked for, and search() raises an error as well.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"
#include "utils/uuid.h"

#include "pg/access/access.h"
#include "pg/base/ids.h"
#include "pg/compat.h"
#include "pg/search/candidates.h"
#include "pg/search/hits.h"
#include "pg/search/policy.h"
#include "pg/search/query.h"
#include "pg/search/tokenrows.h"
#include "pg/store/owner.h"

#define MOST_CHATS		10000
#define LONGEST_PAGE	1000
#define LARGEST_BATCH	1000

/* Arguments of search() in SQL. */
enum
{
	ARG_CHATS,
	ARG_QUERY,
	ARG_MAX_MESSAGES,
	ARG_BEFORE,
	ARG_BEFORE_ID
};

/* One of the chats that are searched. */
typedef struct ChatSearch
{
	const uint8 *chat_id;
	ChatcryptSearchPolicy policy;
	ChatcryptQuery *query;		/* NULL if the query has no word that can be searched for */
} ChatSearch;

typedef struct Search
{
	char	   *plain;			/* the query as the caller wrote it */
	ChatcryptPlace before;		/* messages on the page are older than this place */
	MemoryContext batch_context;
	ChatcryptHits page;
	ChatSearch *chats;
	int			nchats;
} Search;

static void
refuse_argument(const char *message)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("%s", message)));
}

/* ------------------------------------------------------------------------- chats */

static void
refuse_incomplete(const uint8 *chat_id)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("the search index of chat %s is not complete", chatcrypt_id_text(chat_id)),
			 errdetail("Messages from before its last change may be missing in it."),
			 errhint("Call chatcrypt.reindex_search(), or wait until a call that is running has "
					 "completed it.")));
}

/*
 * previous is the chat that was begun before this one, or NULL.  Two neighbours with the same
 * text search configuration share one parsed query.
 */
static void
begin_chat(const char *plain, ChatSearch *chat, const ChatSearch *previous, const uint8 *chat_id)
{
	const ChatcryptSearchPolicy *policy;

	chatcrypt_access_require_participant(chat_id);
	policy = chatcrypt_policy_require_blind(chat_id);
	if (!policy->complete && !policy->began_empty)
		refuse_incomplete(chat_id);
	chat->chat_id = chat_id;
	chat->policy = *policy;
	if (previous != NULL && previous->policy.config == chat->policy.config)
		chat->query = previous->query;
	else
		chat->query = chatcrypt_query_parse(chat->policy.config, plain);
}

/*
 * Does the snapshot of the statement show the index that the current policy describes?  If that
 * index is not complete, the chat began empty, and each message that the snapshot shows must
 * have its tokens.  This look cannot miss a message that candidates.c would have to find, since
 * both read the same snapshot.
 */
static void
require_index(const ChatSearch *chat)
{
	Oid			types[] = {UUIDOID, INT8OID};
	Datum		values[] = {PointerGetDatum(chat->chat_id), Int64GetDatum(chat->policy.generation)};
	bool		isnull;

	if (SPI_execute_with_args("SELECT complete FROM chatcrypt.search_policy "
							  "WHERE chat_id = $1 AND generation = $2 "
							  "AND (complete OR began_empty)",
							  lengthof(types), types, values, NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not read the policy of a chat");
	if (SPI_processed == 0)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("the search index of chat %s was made again after this transaction began",
						chatcrypt_id_text(chat->chat_id)),
				 errhint("Retry the transaction.")));
	if (!DatumGetBool(chatcrypt_owner_value(&isnull)) &&
		chatcrypt_tokenrows_are_missing(chat->chat_id, chat->policy.generation))
		refuse_incomplete(chat->chat_id);
}

static void
require_indexes(const Search *search)
{
	ChatcryptOwnerScope scope;

	chatcrypt_owner_begin(&scope);
	chatcrypt_owner_by_index();
	for (int i = 0; i < search->nchats; i++)
		require_index(&search->chats[i]);
	chatcrypt_owner_end(&scope);
}

static int
compare_ids(const void *a, const void *b)
{
	return memcmp(a, b, UUID_LEN);
}

/* Sorts the ids, and keeps each chat once, however often the caller named it. */
static int
unique_chats(pg_uuid_t *ids, int count)
{
	int			kept = 0;

	qsort(ids, count, sizeof(pg_uuid_t), compare_ids);
	for (int i = 0; i < count; i++)
		if (i == 0 || compare_ids(&ids[i], &ids[kept - 1]) != 0)
			ids[kept++] = ids[i];
	return kept;
}

static void
begin_chats(Search *search, pg_uuid_t *ids, int count)
{
	search->chats = palloc0(sizeof(ChatSearch) * Max(count, 1));
	search->nchats = unique_chats(ids, count);
	for (int i = 0; i < search->nchats; i++)
	{
		CHECK_FOR_INTERRUPTS();
		begin_chat(search->plain, &search->chats[i], i > 0 ? &search->chats[i - 1] : NULL,
				   ids[i].data);
	}
	require_indexes(search);
}

/* ------------------------------------------------------------------------- messages */

/* Leaves out the candidates that are too old for a page that is full. */
static void
cut_batch(const ChatcryptHits *page, ChatcryptCandidates *candidates)
{
	while (candidates->count > 0 &&
		   chatcrypt_hits_end_before(page, &candidates->places[candidates->count - 1]))
	{
		candidates->count--;
		candidates->at_end = true;
	}
}

static void
search_batch(ChatcryptHits *page, const ChatSearch *chat, ChatcryptCandidates *candidates,
			 int count)
{
	chatcrypt_candidates_next(candidates, count);
	cut_batch(page, candidates);
	chatcrypt_hits_add_matches(page, chat->chat_id, chat->policy.config, chat->query,
							   candidates->ids, candidates->count);
}

/* Batches grow, so that a query that matches few of many candidates needs few statements. */
static void
search_chat(Search *search, const ChatSearch *chat)
{
	ChatcryptCandidates candidates;
	int			count = search->page.max;

	chatcrypt_candidates_begin(&candidates, chat->chat_id, &chat->policy, chat->query,
							   &search->before);
	while (!candidates.at_end && !chatcrypt_hits_end_before(&search->page, &candidates.after))
	{
		MemoryContext previous = MemoryContextSwitchTo(search->batch_context);

		CHECK_FOR_INTERRUPTS();
		search_batch(&search->page, chat, &candidates, count);
		MemoryContextSwitchTo(previous);
		MemoryContextReset(search->batch_context);
		count = Min(2 * count, LARGEST_BATCH);
	}
}

static void
search_chats(Search *search)
{
	for (int i = 0; i < search->nchats; i++)
		if (search->chats[i].query != NULL)
			search_chat(search, &search->chats[i]);
}

/* ------------------------------------------------------------------------- the function */

static void
begin_search(FunctionCallInfo fcinfo, Search *search)
{
	int			max_messages = PG_GETARG_INT32(ARG_MAX_MESSAGES);

	search->plain = text_to_cstring(PG_GETARG_TEXT_PP(ARG_QUERY));
	if (max_messages < 1 || max_messages > LONGEST_PAGE)
		refuse_argument("max_messages of a search must be 1 to 1000");
	search->before.created_at = PG_ARGISNULL(ARG_BEFORE) ? DT_NOEND :
		PG_GETARG_TIMESTAMPTZ(ARG_BEFORE);
	memset(&search->before.message_id, PG_ARGISNULL(ARG_BEFORE) ? 0xff : 0, UUID_LEN);
	if (!PG_ARGISNULL(ARG_BEFORE_ID))
		search->before.message_id = *PG_GETARG_UUID_P(ARG_BEFORE_ID);
	search->batch_context = AllocSetContextCreate(CurrentMemoryContext, "chatcrypt search batch",
												  ALLOCSET_DEFAULT_SIZES);
	chatcrypt_hits_begin(&search->page, max_messages, LARGEST_BATCH);
}

/*
 * Replaces the tuplestore of the result, which would write a page that is larger than work_mem
 * to a file, by one that stays in memory.
 */
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
return_page(const ChatcryptHits *page, ReturnSetInfo *result)
{
	for (int i = 0; i < page->count; i++)
	{
		const ChatcryptHit *hit = &page->hits[i];
		Datum		values[] = {
			PointerGetDatum(&hit->chat_id), PointerGetDatum(&hit->place.message_id),
			PointerGetDatum(hit->sender), PointerGetDatum(hit->body),
			TimestampTzGetDatum(hit->place.created_at)
		};
		bool		nulls[] = {false, false, hit->sender == NULL, false, false};

		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
}

static void
search_and_return(FunctionCallInfo fcinfo, pg_uuid_t *ids, int count)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Search		search = {0};

	begin_search(fcinfo, &search);
	InitMaterializedSRF(fcinfo, 0);
	keep_in_memory(result);
	begin_chats(&search, ids, count);
	PG_TRY();
	{
		search_chats(&search);
		return_page(&search.page, result);
	}
	PG_FINALLY();
	{
		chatcrypt_hits_wipe(&search.page);
	}
	PG_END_TRY();
}

/* Called before any argument is read. */
static void
check_caller(FunctionCallInfo fcinfo)
{
	chatcrypt_access_require_for_plaintext(CHATCRYPT_MAY_READ);
	if (PG_ARGISNULL(ARG_CHATS) || PG_ARGISNULL(ARG_QUERY) || PG_ARGISNULL(ARG_MAX_MESSAGES))
		refuse_argument("the chats, the query and max_messages of a search must not be null");
}

PG_FUNCTION_INFO_V1(chatcrypt_search);

/*
 * search(chat_ids any_id[], query text, max_messages integer, before timestamptz,
 * before_id any_id): a page of messages
 */
Datum
chatcrypt_search(PG_FUNCTION_ARGS)
{
	ArrayType  *chats;
	int			nchats;

	check_caller(fcinfo);
	chats = chatcrypt_id_chats_argument(fcinfo, &nchats);
	if (nchats > MOST_CHATS)
		refuse_argument("a search can have at most 10000 chats");
	search_and_return(fcinfo, (pg_uuid_t *) ARR_DATA_PTR(chats), nchats);
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(chatcrypt_search_chat);

/* The same for one chat: search(chat_id any_id, ...). */
Datum
chatcrypt_search_chat(PG_FUNCTION_ARGS)
{
	pg_uuid_t	chat_id;

	check_caller(fcinfo);
	chat_id = *PG_GETARG_UUID_P(ARG_CHATS);
	search_and_return(fcinfo, &chat_id, 1);
	return (Datum) 0;
}
