/*
 * hits.c
 *		Opens the candidates of a search and keeps those that match: see hits.h.
 *
 * Only messages that were opened and compared with the query are kept.  An index that names
 * too many candidates therefore costs time, and nothing else.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/datum.h"

#include "pg/base/settings.h"
#include "pg/compat.h"
#include "pg/messages/binding.h"
#include "pg/messages/seal.h"
#include "pg/search/hits.h"
#include "pg/store/statement.h"

/* Columns of the statement in read_messages(). */
enum
{
	ROW_MESSAGE_ID,
	ROW_CREATED_AT,
	ROW_SENDER,
	ROW_ENVELOPE,
	ROW_CHAT_ID,
	ROW_COLUMNS
};

int
chatcrypt_hits_compare_places(const ChatcryptPlace *a, const ChatcryptPlace *b)
{
	if (a->created_at != b->created_at)
		return a->created_at > b->created_at ? -1 : 1;
	return -memcmp(&a->message_id, &b->message_id, UUID_LEN);
}

static int
compare_hits(const void *a, const void *b)
{
	return chatcrypt_hits_compare_places(&((const ChatcryptHit *) a)->place,
										 &((const ChatcryptHit *) b)->place);
}

void
chatcrypt_hits_begin(ChatcryptHits *page, int max, int largest_batch)
{
	page->max = max;
	page->count = 0;
	page->context = CurrentMemoryContext;
	page->hits = palloc(sizeof(ChatcryptHit) * (max + largest_batch));
}

bool
chatcrypt_hits_end_before(const ChatcryptHits *page, const ChatcryptPlace *place)
{
	return page->count == page->max &&
		chatcrypt_hits_compare_places(&page->hits[page->count - 1].place, place) <= 0;
}

/*
 * As the current user, whose rights and policies hold as in any other SELECT.  The statement
 * names messages by id alone: if it named the chat too, the planner would read the whole chat
 * from its index.
 */
static void
read_messages(Datum *ids, int nids)
{
	static SPIPlanPtr plan;
	ChatcryptArg arg = {
		UUIDARRAYOID,
		PointerGetDatum(construct_array(ids, nids, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR)), false
	};

	chatcrypt_statement_run(&plan,
							"SELECT message_id, created_at, sender, encrypted_message, chat_id "
							"FROM chatcrypt.sealed_message "
							"WHERE message_id OPERATOR(pg_catalog.=) ANY ($1) "
							"AND encrypted_message IS NOT NULL "
							"AND (expires_at IS NULL "
							"OR expires_at OPERATOR(pg_catalog.>) pg_catalog.now())",
							&arg, 1, true);
}

static bool
matches(Oid config, const ChatcryptQuery *query, const text *body)
{
	ParsedText	words;
	bool		found;

	/* chatcrypt_query_matches() raises no error, so the words are always wiped. */
	chatcrypt_words_parse(config, VARDATA_ANY(body), VARSIZE_ANY_EXHDR(body), &words);
	found = chatcrypt_query_matches(query, &words);
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

/* Completes the hit behind the last one with copies, which belong to the page. */
static void
keep(ChatcryptHits *page, text *sender, const text *body)
{
	MemoryContext previous = MemoryContextSwitchTo(page->context);
	ChatcryptHit *hit = &page->hits[page->count];

	hit->sender = sender == NULL ? NULL : copy_text(sender);
	hit->body = copy_text(body);
	page->count++;
	MemoryContextSwitchTo(previous);
}

/* Opens the message in a row of read_messages(), and keeps it if it matches. */
static void
try_message(ChatcryptHits *page, const uint8 *chat_id, Oid config, const ChatcryptQuery *query,
			HeapTuple row, TupleDesc desc)
{
	ChatcryptHit *hit = &page->hits[page->count];
	Datum		values[ROW_COLUMNS];
	bool		nulls[ROW_COLUMNS];
	ChatcryptRowAad aad;
	text	   *sender;
	text	   *body;

	heap_deform_tuple(row, desc, values, nulls);
	if (memcmp(DatumGetUUIDP(values[ROW_CHAT_ID])->data, chat_id, CC_ID_LEN) != 0)
		return;
	hit->place.message_id = *DatumGetUUIDP(values[ROW_MESSAGE_ID]);
	hit->place.created_at = DatumGetTimestampTz(values[ROW_CREATED_AT]);
	memcpy(hit->chat_id.data, chat_id, CC_ID_LEN);
	sender = nulls[ROW_SENDER] ? NULL : DatumGetTextPP(values[ROW_SENDER]);
	body = chatcrypt_seal_open_text(chat_id, hit->place.message_id.data,
									DatumGetByteaPP(values[ROW_ENVELOPE]),
									chatcrypt_binding_aad(&aad, hit->place.created_at, sender),
									chatcrypt_seal_on_failure_in_views());
	if (body == NULL)
		return;
	PG_TRY();
	{
		if (matches(config, query, body))
			keep(page, sender, body);
	}
	PG_FINALLY();
	{
		wipe_text(body);
	}
	PG_END_TRY();
}

/* Sorts the hits, and wipes those that are too old for the page. */
static void
keep_newest(ChatcryptHits *page)
{
	qsort(page->hits, page->count, sizeof(ChatcryptHit), compare_hits);
	while (page->count > page->max)
		wipe_text(page->hits[--page->count].body);
}

void
chatcrypt_hits_add_matches(ChatcryptHits *page, const uint8 chat_id[CC_ID_LEN], Oid config,
						   const ChatcryptQuery *query, Datum *ids, int nids)
{
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	read_messages(ids, nids);
	for (uint64 i = 0; i < SPI_processed; i++)
		try_message(page, chat_id, config, query, SPI_tuptable->vals[i], SPI_tuptable->tupdesc);
	SPI_finish();
	keep_newest(page);
}

void
chatcrypt_hits_wipe(ChatcryptHits *page)
{
	while (page->count > 0)
		wipe_text(page->hits[--page->count].body);
}
