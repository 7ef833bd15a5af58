/*
 * feedbatch.c
 *		The text of one batch for the external search index: see feedbatch.h.
 *
 * Messages are read through a cursor, a few at a time, and each body is wiped before the next
 * message is opened.  A message becomes a deletion if it was deleted, has expired or cannot be
 * opened, or if its chat is no longer fed.  If the key service does not give a key, nothing is
 * known of the message, so it is put off and the batch goes on with others.  After a few such
 * chats the batch ends, so that not each of a thousand chats waits for a key service that is
 * down.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/uuid.h"

#include "pg/base/ids.h"
#include "pg/compat.h"
#include "pg/messages/binding.h"
#include "pg/messages/seal.h"
#include "pg/search/feedbatch.h"
#include "pg/service/requests.h"

#define ROWS_AT_ONCE	50
#define BYTES_AT_ONCE	(8 * 1024 * 1024)	/* of a batch; the first message may be longer */
#define LONGEST_NAME	(32 * 1024)		/* search engines accept no longer keyword */

/* The longest text of a message, because search engines refuse requests of 100 MB and more. */
#define LONGEST_TEXT	(4 * 1024 * 1024)

/*
 * created_at is NULL in the document if it is infinite, which JSON cannot express, or if its year
 * does not have four digits, which search engines do not accept.  A message of which only tokens
 * are shown is not opened.  It is enough that its key exists.
 */
#define READ_MESSAGES \
	"SELECT u.position, u.message_id, m.chat_id, s.mode, m.sender, m.encrypted_message, " \
	"m.dek_version, " \
	"CASE WHEN m.created_at >= '0001-01-01 00:00:00+00' " \
	"AND m.created_at < '9999-12-31 00:00:00+00' " \
	"THEN to_char(m.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') END, " \
	"ARRAY(SELECT lpad(to_hex(token), 16, '0') FROM unnest(t.tokens) AS token), " \
	"EXISTS (SELECT FROM chatcrypt.dek d " \
	"WHERE d.chat_id = m.chat_id AND d.dek_version = m.dek_version " \
	"AND d.purpose <> 'search' AND d.state <> 'destroyed'), " \
	"m.created_at " \
	"FROM unnest($1, $2) WITH ORDINALITY AS u (position, message_id, n) " \
	"LEFT JOIN chatcrypt.sealed_message m ON m.message_id = u.message_id " \
	"AND (m.expires_at IS NULL OR m.expires_at > clock_timestamp()) " \
	"LEFT JOIN chatcrypt.search_policy s ON s.chat_id = m.chat_id AND s.feed " \
	"LEFT JOIN chatcrypt.search_token t ON t.message_id = m.message_id " \
	"AND t.generation = s.generation AND s.mode = 'blind' " \
	"ORDER BY u.n"

enum
{
	ROW_POSITION,
	ROW_MESSAGE_ID,
	ROW_CHAT_ID,
	ROW_MODE,					/* NULL if the chat is not fed */
	ROW_SENDER,
	ROW_ENVELOPE,
	ROW_DEK_VERSION,
	ROW_CREATED_AT,				/* as text, for the document */
	ROW_TOKENS,
	ROW_HAS_KEY,
	ROW_BOUND_TIME,				/* created_at as a timestamp, to which the envelope is bound */
	ROW_COLUMNS
};

typedef struct Row
{
	Datum		values[ROW_COLUMNS];
	bool		nulls[ROW_COLUMNS];
} Row;

/* What the batch says of a message. */
typedef enum Saying
{
	SAY_DELETED,
	SAY_TEXT,
	SAY_NO_TEXT,				/* the body is NULL */
	SAY_TOO_LONG,
	SAY_TOKENS,
	SAY_NOTHING_YET				/* the key service did not give the key */
} Saying;

ChatcryptFeedBatch *
chatcrypt_feedbatch_new(const text *index)
{
	ChatcryptFeedBatch *batch = palloc0(sizeof(ChatcryptFeedBatch));
	ChatcryptNdjson name;

	batch->context = CurrentMemoryContext;
	chatcrypt_ndjson_begin(&name);
	chatcrypt_ndjson_put_text(&name, index);
	batch->index = text_to_cstring(chatcrypt_ndjson_end(&name));
	chatcrypt_ndjson_begin(&batch->lines);
	return batch;
}

/* ---------- what the batch says of a message ---------- */

static bool
is_down(const ChatcryptFeedBatch *batch, const uint8 *chat_id)
{
	for (int i = 0; i < batch->ndown; i++)
		if (memcmp(batch->down[i], chat_id, CC_ID_LEN) == 0)
			return true;
	return false;
}

static void
note_down(ChatcryptFeedBatch *batch, const uint8 *chat_id, const ChatcryptKmsJob *failure)
{
	memcpy(batch->down[batch->ndown++], chat_id, CC_ID_LEN);
	batch->full = batch->ndown == CHATCRYPT_FEED_MOST_DOWN;
	batch->problem = failure->wrong_key ?
		"the key service gives another key than the one that was wrapped" :
		cc_kms_outcome_text(failure->outcome);
}

/* *body is the text in UTF-8, which the caller wipes; NULL if it was not opened. */
static Saying
open_body(ChatcryptFeedBatch *batch, const Row *row, bytea **body)
{
	const uint8 *chat_id = DatumGetUUIDP(row->values[ROW_CHAT_ID])->data;
	ChatcryptRowAad aad;
	ChatcryptKmsJob failure;
	cc_status	why;

	if (row->nulls[ROW_ENVELOPE])
		return SAY_NO_TEXT;
	if (is_down(batch, chat_id))
		return SAY_NOTHING_YET;
	*body = chatcrypt_seal_probe(chat_id, DatumGetUUIDP(row->values[ROW_MESSAGE_ID])->data,
							DatumGetByteaPP(row->values[ROW_ENVELOPE]),
							chatcrypt_binding_aad(&aad,
												  DatumGetTimestampTz(row->values[ROW_BOUND_TIME]),
												  row->nulls[ROW_SENDER] ? NULL :
												  DatumGetTextPP(row->values[ROW_SENDER])),
							&failure, &why);
	if (failure.outcome != CC_KMS_OK || failure.wrong_key)
	{
		note_down(batch, chat_id, &failure);
		return SAY_NOTHING_YET;
	}
	if (*body == NULL || !pg_verify_mbstr(PG_UTF8, VARDATA(*body), VARSIZE(*body) - VARHDRSZ, true))
		return SAY_DELETED;
	return VARSIZE(*body) - VARHDRSZ > LONGEST_TEXT ? SAY_TOO_LONG : SAY_TEXT;
}

static Saying
what_to_say(ChatcryptFeedBatch *batch, const Row *row, bytea **body)
{
	*body = NULL;
	if (row->nulls[ROW_CHAT_ID] || row->nulls[ROW_MODE])
		return SAY_DELETED;
	if (strcmp(TextDatumGetCString(row->values[ROW_MODE]), "plain") == 0)
		return open_body(batch, row, body);
	if (row->nulls[ROW_ENVELOPE])
		return SAY_NO_TEXT;
	return DatumGetBool(row->values[ROW_HAS_KEY]) ? SAY_TOKENS : SAY_DELETED;
}

/* ---------- lines ---------- */

static void
put(ChatcryptFeedBatch *batch, const char *json)
{
	chatcrypt_ndjson_put(&batch->lines, json);
}

static void
put_id(ChatcryptFeedBatch *batch, const Row *row, int column)
{
	put(batch, "\"");
	put(batch, chatcrypt_id_uuid_text(DatumGetUUIDP(row->values[column])->data));
	put(batch, "\"");
}

/*
 * A writer may give a sender of any length.  One that is too long becomes null, so that the index
 * does not refuse the request with all its other messages.
 */
static void
put_text_or_null(ChatcryptFeedBatch *batch, const Row *row, int column)
{
	if (row->nulls[column] || toast_raw_datum_size(row->values[column]) > LONGEST_NAME)
		put(batch, "null");
	else
		chatcrypt_ndjson_put_text(&batch->lines, DatumGetTextPP(row->values[column]));
}

static void
put_action(ChatcryptFeedBatch *batch, const Row *row, const char *action)
{
	put(batch, psprintf("{\"%s\":{\"_index\":%s,\"_id\":", action, batch->index));
	put_id(batch, row, ROW_MESSAGE_ID);
	put(batch,
		psprintf(",\"version\":" INT64_FORMAT ",\"version_type\":\"external\"}}\n", batch->number));
}

static void
put_tokens(ChatcryptFeedBatch *batch, const Row *row)
{
	Datum	   *tokens;
	int			count;

	deconstruct_array(DatumGetArrayTypeP(row->values[ROW_TOKENS]), TEXTOID, -1, false, TYPALIGN_INT,
					  &tokens, NULL, &count);
	put(batch, ",\"tokens\":[");
	for (int i = 0; i < count; i++)
	{
		put(batch, i == 0 ? "" : ",");
		chatcrypt_ndjson_put_text(&batch->lines, DatumGetTextPP(tokens[i]));
	}
	put(batch, "]");
}

static void
put_document(ChatcryptFeedBatch *batch, const Row *row, Saying saying, const bytea *body)
{
	put(batch, "{\"message_id\":");
	put_id(batch, row, ROW_MESSAGE_ID);
	put(batch, ",\"chat_id\":");
	put_id(batch, row, ROW_CHAT_ID);
	put(batch, ",\"sender\":");
	put_text_or_null(batch, row, ROW_SENDER);
	put(batch, ",\"created_at\":");
	put_text_or_null(batch, row, ROW_CREATED_AT);
	put(batch, ",\"dek_version\":");
	put(batch,
		row->nulls[ROW_DEK_VERSION] ? "null" :
		psprintf("%d", DatumGetInt32(row->values[ROW_DEK_VERSION])));
	if (saying == SAY_TEXT)
	{
		put(batch, ",\"text\":");
		chatcrypt_ndjson_put_utf8(&batch->lines, VARDATA(body), VARSIZE(body) - VARHDRSZ);
	}
	else if (saying == SAY_TOO_LONG)
		put(batch, ",\"text_left_out\":true");
	else if (saying == SAY_TOKENS)
		put_tokens(batch, row);
	put(batch, "}\n");
}

static void
put_lines(ChatcryptFeedBatch *batch, const Row *row, Saying saying, const bytea *body)
{
	if (saying == SAY_DELETED)
	{
		put_action(batch, row, "delete");
		return;
	}
	put_action(batch, row, "index");
	put_document(batch, row, saying, body);
}

/* ---------- a batch ---------- */

static void
decide(ChatcryptFeedBatch *batch, const Row *row, ChatcryptFeedFate fate)
{
	batch->positions[fate][batch->count[fate]++] = row->values[ROW_POSITION];
}

static void
take(ChatcryptFeedBatch *batch, const Row *row)
{
	Size		before = batch->lines.len;
	bytea	   *body;
	Saying		saying = what_to_say(batch, row, &body);

	if (saying == SAY_NOTHING_YET)
		decide(batch, row, CHATCRYPT_FEED_PUT_OFF);
	else
	{
		put_lines(batch, row, saying, body);
		if (batch->lines.len > BYTES_AT_ONCE && batch->count[CHATCRYPT_FEED_HAS] > 0)
		{
			chatcrypt_ndjson_cut(&batch->lines, before);
			batch->full = true;
		}
		else
			decide(batch, row, CHATCRYPT_FEED_HAS);
	}
	if (body != NULL)
		cc_wipe(VARDATA(body), VARSIZE(body) - VARHDRSZ);
}

/* Takes the rows that were fetched.  What the batch keeps of a row is not in row_context. */
static void
take_fetched(ChatcryptFeedBatch *batch, MemoryContext row_context)
{
	for (uint64 i = 0; i < SPI_processed && !batch->full; i++)
	{
		MemoryContext previous = MemoryContextSwitchTo(row_context);
		Row			row;

		CHECK_FOR_INTERRUPTS();
		for (int column = 0; column < ROW_COLUMNS; column++)
			row.values[column] = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc,
											   column + 1, &row.nulls[column]);
		take(batch, &row);
		MemoryContextSwitchTo(previous);
		MemoryContextReset(row_context);
	}
}

void
chatcrypt_feedbatch_fill(ChatcryptFeedBatch *batch, const ChatcryptArg picked[2])
{
	ArrayType  *all = DatumGetArrayTypeP(picked[0].value);
	int			most = ArrayGetNItems(ARR_NDIM(all), ARR_DIMS(all));
	Oid			types[] = {picked[0].type, picked[1].type};
	Datum		values[] = {picked[0].value, picked[1].value};
	MemoryContext row_context = AllocSetContextCreate(CurrentMemoryContext, "chatcrypt search feed",
													  ALLOCSET_DEFAULT_SIZES);
	Portal		cursor;

	for (int fate = 0; fate < CHATCRYPT_FEED_FATES; fate++)
		batch->positions[fate] = MemoryContextAlloc(batch->context, sizeof(Datum) * most);
	cursor = SPI_cursor_open_with_args(NULL, READ_MESSAGES, lengthof(types), types, values, NULL,
									   false, 0);
	do
	{
		SPI_freetuptable(SPI_tuptable);
		SPI_cursor_fetch(cursor, true, ROWS_AT_ONCE);
		take_fetched(batch, row_context);
	} while (SPI_processed > 0 && !batch->full);
	SPI_cursor_close(cursor);
	MemoryContextDelete(row_context);
}

ChatcryptArg
chatcrypt_feedbatch_positions(const ChatcryptFeedBatch *batch, ChatcryptFeedFate fate)
{
	ArrayType  *array = construct_array(batch->positions[fate], batch->count[fate], INT8OID,
										sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE);

	return (ChatcryptArg) {INT8ARRAYOID, PointerGetDatum(array), false};
}

text *
chatcrypt_feedbatch_end(ChatcryptFeedBatch *batch)
{
	if (batch->count[CHATCRYPT_FEED_PUT_OFF] > 0)
		ereport(WARNING,
				(errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
				 errmsg("%d messages could not be opened and will be tried again",
						batch->count[CHATCRYPT_FEED_PUT_OFF]),
				 errdetail_internal("%s", batch->problem)));
	if (batch->count[CHATCRYPT_FEED_HAS] > 0)
		return chatcrypt_ndjson_end(&batch->lines);
	chatcrypt_ndjson_drop(&batch->lines);
	return NULL;
}

void
chatcrypt_feedbatch_drop(ChatcryptFeedBatch *batch)
{
	chatcrypt_ndjson_drop(&batch->lines);
}
