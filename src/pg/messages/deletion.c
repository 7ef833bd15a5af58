/*
 * deletion.c
 *		Deletes messages and files: apply_retention(), delete_chat() and
 *		delete_messages_of().
 *
 * Each batch is a transaction of its own, so that none holds back vacuum for long, and each
 * procedure can be called again after it was interrupted.  What a deleted row leaves behind
 * (dead tuples, WAL, backups) can be opened for as long as its key exists: docs/erasure.md.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "storage/bufmgr.h"
#include "storage/itemptr.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/uuid.h"

#include "pg/access/access.h"
#include "pg/base/errors.h"
#include "pg/base/ids.h"
#include "pg/base/settings.h"
#include "pg/compat.h"
#include "pg/history/events.h"
#include "pg/keys/chatkeys.h"
#include "pg/keys/shred.h"
#include "pg/procedures/progress.h"
#include "pg/procedures/work.h"
#include "pg/store/observer.h"
#include "pg/store/owner.h"

/* Blocks of the table that one batch looks through for messages of a participant. */
#define BLOCKS_AT_ONCE 1024

/*
 * A batch is found by its ctids.  A ctid is unique within one table, and a table that inherits
 * from this one may have rows with the same ctids.  So the DELETE repeats the condition of the
 * search.
 */

/*
 * Messages that are due come first; those that another transaction has locked are left for the
 * next call.
 */
#define DELETE_EXPIRED \
	"DELETE FROM chatcrypt.sealed_message " \
	"WHERE ctid = ANY (ARRAY(SELECT ctid " \
	"FROM chatcrypt.sealed_message " \
	"WHERE expires_at <= now() " \
	"ORDER BY expires_at " \
	"LIMIT $1 " \
	"FOR UPDATE SKIP LOCKED)) " \
	"AND expires_at <= now()"

/* All messages of the chat are deleted, so this waits for writers. */
#define DELETE_OF_CHAT \
	"DELETE FROM chatcrypt.sealed_message " \
	"WHERE ctid = ANY (ARRAY(SELECT ctid " \
	"FROM chatcrypt.sealed_message " \
	"WHERE chat_id = $2 " \
	"LIMIT $1 " \
	"FOR UPDATE)) " \
	"AND chat_id = $2"

#define DELETE_OF_SENDER_IN_CHAT \
	"DELETE FROM chatcrypt.sealed_message " \
	"WHERE ctid = ANY (ARRAY(SELECT ctid " \
	"FROM chatcrypt.sealed_message " \
	"WHERE chat_id = $2 AND sender = $3 " \
	"LIMIT $1 " \
	"FOR UPDATE)) " \
	"AND chat_id = $2 AND sender = $3"

#define DELETE_OF_SENDER_IN_BLOCKS \
	"DELETE FROM chatcrypt.sealed_message " \
	"WHERE ctid >= $1 AND ctid < $2 AND sender = $3"

/* Files that one batch deletes: each with its parts. */
#define FILES_AT_ONCE 100

#define DELETE_FILES \
	"DELETE FROM chatcrypt.sealed_attachment " \
	"WHERE ctid = ANY (ARRAY(SELECT ctid " \
	"FROM chatcrypt.sealed_attachment AS a "

#define DELETE_EXPIRED_FILES \
	DELETE_FILES \
	"WHERE expires_at <= now() " \
	"ORDER BY expires_at " \
	"LIMIT $1 " \
	"FOR UPDATE SKIP LOCKED)) " \
	"AND expires_at <= now()"

/* Uploads that have received nothing for $2 seconds. */
#define DELETE_ABANDONED_UPLOADS \
	DELETE_FILES \
	"WHERE completed_at IS NULL AND created_at < now() - make_interval(secs => $2) " \
	"AND NOT EXISTS (SELECT FROM chatcrypt.sealed_attachment_part AS p " \
	"WHERE p.file_id = a.file_id " \
	"AND p.stored_at >= now() - make_interval(secs => $2)) " \
	"LIMIT $1 " \
	"FOR UPDATE SKIP LOCKED)) " \
	"AND completed_at IS NULL AND created_at < now() - make_interval(secs => $2)"

#define DELETE_FILES_OF_CHAT \
	DELETE_FILES \
	"WHERE chat_id = $2 " \
	"LIMIT $1 " \
	"FOR UPDATE)) " \
	"AND chat_id = $2"

#define DELETE_FILES_OF_SENDER \
	DELETE_FILES \
	"WHERE sender = $2 AND ($3 IS NULL OR chat_id = $3) " \
	"LIMIT $1 " \
	"FOR UPDATE)) " \
	"AND sender = $2 AND ($3 IS NULL OR chat_id = $3)"

/*
 * Runs one statement as the tables' owner, in a transaction of its own; returns how many rows
 * it deleted.
 */
static int64
delete_and_commit(const char *sql, const ChatcryptArg *args, int nargs)
{
	ChatcryptOwnerScope scope;
	int64		deleted;

	PushActiveSnapshot(GetTransactionSnapshot());
	chatcrypt_owner_begin_deleting(&scope);
	deleted = (int64) chatcrypt_owner_execute(sql, args, nargs);
	chatcrypt_owner_end(&scope);
	PopActiveSnapshot();
	chatcrypt_work_commit();
	return deleted;
}

/*
 * Runs a statement whose $1 is the size of a batch, until it finds no more or has deleted
 * as many as it may.
 */
static int64
delete_in_batches(const char *task, const uint8 *chat_id, const char *sql, ChatcryptArg *args,
				  int nargs, int batch, int64 most)
{
	int64		deleted = 0;
	int64		now;

	do
	{
		args[0] = (ChatcryptArg) {INT8OID, Int64GetDatum(Min(batch, most - deleted)), false};
		now = delete_and_commit(sql, args, nargs);
		deleted += now;
		chatcrypt_progress_note(task, chat_id, deleted, CHATCRYPT_TOTAL_UNKNOWN);
	} while (now > 0 && deleted < most);
	return deleted;
}

PG_FUNCTION_INFO_V1(chatcrypt_apply_retention);

/* apply_retention(max_rows bigint, batch integer, INOUT deleted bigint) */
Datum
chatcrypt_apply_retention(PG_FUNCTION_ARGS)
{
	int64		most = chatcrypt_work_limit_argument(fcinfo, 0, "max_rows");
	int			batch = chatcrypt_work_batch_argument(fcinfo, 1);
	int			files = Min(batch, FILES_AT_ONCE);
	int64		deleted;
	ChatcryptArg args[2];

	chatcrypt_rights_require(CHATCRYPT_MAY_ADMINISTER);
	chatcrypt_work_begin(fcinfo, "chatcrypt.apply_retention()");
	args[1] = (ChatcryptArg) {FLOAT8OID, Float8GetDatum(chatcrypt_attachment_upload_time), false};
	deleted = delete_in_batches("delete expired messages", NULL, DELETE_EXPIRED, args, 1, batch,
								most);
	deleted += delete_in_batches("delete expired files", NULL, DELETE_EXPIRED_FILES, args, 1, files,
								 most - deleted);
	deleted += delete_in_batches("delete abandoned uploads", NULL, DELETE_ABANDONED_UPLOADS, args,
								 2, files, most - deleted);
	chatcrypt_progress_end();
	return chatcrypt_work_end(fcinfo, &deleted, 1);
}

/* ---------- a chat ---------- */

static bool
chat_exists(const uint8 *chat_id)
{
	ChatcryptMode mode;

	return chatcrypt_store_chat_mode(chat_id, &mode);
}

/* The keys come first: from this commit on nothing of the chat can be read. */
static void
destroy_keys_and_commit(const pg_uuid_t *chat_id)
{
	PushActiveSnapshot(GetTransactionSnapshot());
	(void) chatcrypt_shred_keys(chat_id->data, false, "");
	PopActiveSnapshot();
	chatcrypt_work_commit();
}

/*
 * Deletes the chat's row and, by foreign keys, those of its keys and files.  Most or all of its
 * files and messages are gone by then.
 */
static int64
delete_row_and_commit(const pg_uuid_t *chat_id, int64 deleted)
{
	ChatcryptArg arg = {UUIDOID, UUIDPGetDatum(chat_id), false};
	ChatcryptEvent event = {.event = "shred", .chat_id = chat_id->data};
	ChatcryptOwnerScope scope;

	PushActiveSnapshot(GetTransactionSnapshot());
	chatcrypt_owner_begin_deleting(&scope);
	chatcrypt_owner_execute("SELECT FROM chatcrypt.chat "
							"WHERE chat_id = $1 "
							"FOR UPDATE", &arg, 1);
	deleted += (int64) chatcrypt_owner_execute("DELETE FROM chatcrypt.sealed_message WHERE chat_id = $1",
											   &arg, 1);
	chatcrypt_observer()->chat_deleted(chat_id->data);
	event.detail = psprintf("chat deleted, with " INT64_FORMAT " messages", deleted);
	if (chatcrypt_owner_execute("DELETE FROM chatcrypt.chat WHERE chat_id = $1", &arg, 1) > 0)
		chatcrypt_event_record(&scope, &event);
	chatcrypt_owner_end(&scope);
	PopActiveSnapshot();
	chatcrypt_work_commit();
	return deleted;
}

static void
require_confirmation(FunctionCallInfo fcinfo)
{
	if (chatcrypt_shred_is_confirmed(fcinfo))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("deleting a chat cannot be undone and was not confirmed"),
			 errhint("CALL chatcrypt.delete_chat(chat, confirm => 'irreversible').")));
}

/* What a writer committed after the chat was gone is deleted by a second call. */
static Datum
delete_chat(FunctionCallInfo fcinfo, const pg_uuid_t *chat_id)
{
	int			batch = chatcrypt_work_batch_argument(fcinfo, 2);
	ChatcryptArg args[2];
	bool		exists;
	int64		deleted;

	chatcrypt_rights_require(CHATCRYPT_MAY_ADMINISTER);
	require_confirmation(fcinfo);
	chatcrypt_work_begin(fcinfo, "chatcrypt.delete_chat()");
	exists = chat_exists(chat_id->data);
	if (exists)
		destroy_keys_and_commit(chat_id);
	args[1] = (ChatcryptArg) {UUIDOID, UUIDPGetDatum(chat_id), false};
	(void) delete_in_batches("delete the files of a chat", chat_id->data, DELETE_FILES_OF_CHAT,
							 args, lengthof(args), Min(batch, FILES_AT_ONCE), PG_INT64_MAX);
	deleted = delete_in_batches("delete a chat", chat_id->data, DELETE_OF_CHAT, args,
								lengthof(args), batch, PG_INT64_MAX);
	if (exists)
		deleted = delete_row_and_commit(chat_id, deleted);
	else if (deleted == 0)
		chatcrypt_no_such_chat(chat_id->data);
	chatcrypt_progress_end();
	return chatcrypt_work_end(fcinfo, &deleted, 1);
}

PG_FUNCTION_INFO_V1(chatcrypt_delete_chat);

/* delete_chat(chat any_id, confirm text, batch integer, INOUT deleted bigint) */
Datum
chatcrypt_delete_chat(PG_FUNCTION_ARGS)
{
	pg_uuid_t	id = chatcrypt_id_chat_argument(fcinfo);

	return delete_chat(fcinfo, &id);
}

/* ---------- a participant ---------- */

static BlockNumber
blocks_of_messages(void)
{
	Relation	table = table_open(chatcrypt_relations_find("sealed_message"), AccessShareLock);
	BlockNumber blocks = RelationGetNumberOfBlocks(table);

	table_close(table, AccessShareLock);
	return blocks;
}

/* Goes through the table once, a range of blocks at a time. */
static int64
delete_in_blocks(Datum sender, BlockNumber blocks)
{
	ItemPointerData from = {0};
	ItemPointerData to = {0};
	ChatcryptArg args[] = {
		{TIDOID, PointerGetDatum(&from), false},
		{TIDOID, PointerGetDatum(&to), false},
		{TEXTOID, sender, false}
	};
	int64		deleted = 0;

	for (BlockNumber first = 0; first < blocks; first += Min(BLOCKS_AT_ONCE, blocks - first))
	{
		ItemPointerSet(&from, first, 0);
		ItemPointerSet(&to, first + Min(BLOCKS_AT_ONCE, blocks - first), 0);
		deleted += delete_and_commit(DELETE_OF_SENDER_IN_BLOCKS, args, lengthof(args));
		chatcrypt_progress_note("delete messages of a participant", NULL, first, blocks);
	}
	return deleted;
}

/*
 * An UPDATE may move a row back to where a pass has been, so passes are repeated until one
 * finds nothing.
 */
static int64
delete_everywhere(Datum sender)
{
	int64		deleted = 0;
	int64		now;

	do
	{
		now = delete_in_blocks(sender, blocks_of_messages());
		deleted += now;
	} while (now > 0);
	return deleted;
}

PG_FUNCTION_INFO_V1(chatcrypt_delete_messages_of);

/* delete_messages_of(participant text, chat any_id, INOUT deleted bigint) */
Datum
chatcrypt_delete_messages_of(PG_FUNCTION_ARGS)
{
	pg_uuid_t	chat_id;
	bool		everywhere = PG_ARGISNULL(1);
	ChatcryptArg args[3];
	Datum		sender;
	int64		deleted;

	chatcrypt_rights_require(CHATCRYPT_MAY_ADMINISTER);
	chatcrypt_id_refuse_null(fcinfo, 0, "the participant");
	if (!everywhere)
		chat_id = *PG_GETARG_UUID_P(1);
	chatcrypt_work_begin(fcinfo, "chatcrypt.delete_messages_of()");
	sender = PointerGetDatum(PG_GETARG_TEXT_P_COPY(0));
	if (everywhere)
		deleted = delete_everywhere(sender);
	else
	{
		args[1] = (ChatcryptArg) {UUIDOID, UUIDPGetDatum(&chat_id), false};
		args[2] = (ChatcryptArg) {TEXTOID, sender, false};
		deleted = delete_in_batches("delete messages of a participant", chat_id.data,
									DELETE_OF_SENDER_IN_CHAT, args, lengthof(args), 1000,
									PG_INT64_MAX);
	}
	args[1] = (ChatcryptArg) {TEXTOID, sender, false};
	args[2] = (ChatcryptArg) {UUIDOID, UUIDPGetDatum(&chat_id), everywhere};
	deleted += delete_in_batches("delete files of a participant", everywhere ? NULL : chat_id.data,
								 DELETE_FILES_OF_SENDER, args, lengthof(args), FILES_AT_ONCE,
								 PG_INT64_MAX);
	chatcrypt_progress_end();
	return chatcrypt_work_end(fcinfo, &deleted, 1);
}
