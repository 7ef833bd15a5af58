/*
 * attachmentstore.c
 *		Writes the rows of files and their parts: see attachmentstore.h.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "pg/attachments/attachmentstore.h"
#include "pg/base/errors.h"
#include "pg/base/ids.h"
#include "pg/keys/chatkeys.h"
#include "pg/store/statement.h"

void
chatcrypt_no_such_file(const pg_uuid_t *file_id)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("attachment %s does not exist", chatcrypt_id_text(file_id->data))));
}

/* ---------- a file ---------- */

#define FETCH \
	"SELECT chat_id, encrypted_metadata, completed_at IS NOT NULL, sender " \
	"FROM chatcrypt.sealed_attachment " \
	"WHERE file_id = $1"

void
chatcrypt_attachmentstore_fetch(ChatcryptFile *file, ChatcryptFileLock lock)
{
	static const char *const statements[] = {
		[CHATCRYPT_FILE_UNLOCKED] = FETCH,
		[CHATCRYPT_FILE_SHARED] = FETCH " FOR SHARE",
		[CHATCRYPT_FILE_ALONE] = FETCH " FOR UPDATE"
	};
	static SPIPlanPtr plans[lengthof(statements)];
	ChatcryptArg arg = {UUIDOID, UUIDPGetDatum(&file->id), false};
	TupleDesc	desc;
	HeapTuple	tuple;
	Datum		sender;
	bool		isnull;

	if (chatcrypt_statement_run(&plans[lock], statements[lock], &arg, 1, false) == 0)
		chatcrypt_no_such_file(&file->id);
	desc = SPI_tuptable->tupdesc;
	tuple = SPI_tuptable->vals[0];
	file->chat_id = *DatumGetUUIDP(SPI_getbinval(tuple, desc, 1, &isnull));
	file->envelope = DatumGetByteaPCopy(SPI_getbinval(tuple, desc, 2, &isnull));
	file->complete = DatumGetBool(SPI_getbinval(tuple, desc, 3, &isnull));
	sender = SPI_getbinval(tuple, desc, 4, &isnull);
	file->sender = isnull ? NULL : DatumGetTextPCopy(sender);
}

bytea *
chatcrypt_attachmentstore_open(const ChatcryptFile *file, cc_filemeta *meta)
{
	return chatcrypt_attachmentseal_open_filemeta(file->chat_id.data, file->id.data, file->envelope,
												  CHATCRYPT_FAIL_RAISE, meta);
}

static ChatcryptArg
version_argument(const bytea *envelope)
{
	return (ChatcryptArg) {INT4OID, Int32GetDatum(chatcrypt_seal_fresh_version(envelope)), false};
}

void
chatcrypt_attachmentstore_insert(const ChatcryptFile *file, const cc_filemeta *meta,
								 const ChatcryptFileArgs *given)
{
	static SPIPlanPtr plan;
	bytea	   *envelope = chatcrypt_attachmentseal_filemeta(file->chat_id.data, file->id.data,
															 meta);
	ChatcryptArg args[] = {
		{UUIDOID, UUIDPGetDatum(&file->id), false},
		{UUIDOID, UUIDPGetDatum(&file->chat_id), false},
		given->message_id,
		given->sender,
		given->expires_at,
		{BYTEAOID, PointerGetDatum(envelope), false},
		version_argument(envelope),
		{BOOLOID, BoolGetDatum(meta->complete), false}
	};

	chatcrypt_statement_run(&plan,
							"INSERT INTO chatcrypt.sealed_attachment (file_id, chat_id, message_id, "
							"sender, expires_at, "
							"encrypted_metadata, dek_version, completed_at) "
							"VALUES ($1, $2, $3, $4, $5, $6, $7, CASE WHEN $8 THEN now() END)",
							args, lengthof(args), false);
}

void
chatcrypt_attachmentstore_complete(const ChatcryptFile *file, const cc_filemeta *meta)
{
	static SPIPlanPtr plan;
	bytea	   *envelope = chatcrypt_attachmentseal_filemeta(file->chat_id.data, file->id.data,
															 meta);
	ChatcryptArg args[] = {
		{UUIDOID, UUIDPGetDatum(&file->id), false},
		{BYTEAOID, PointerGetDatum(envelope), false},
		version_argument(envelope)
	};

	chatcrypt_statement_run(&plan,
							"UPDATE chatcrypt.sealed_attachment "
							"SET encrypted_metadata = $2, dek_version = $3, completed_at = now() "
							"WHERE file_id = $1", args, lengthof(args), false);
}

void
chatcrypt_attachmentstore_put_part(const ChatcryptFile *file, const cc_part_id *id,
								   const bytea *sealed)
{
	static SPIPlanPtr plan;
	ChatcryptArg args[] = {
		{UUIDOID, UUIDPGetDatum(&file->id), false},
		{INT4OID, Int32GetDatum((int32) id->part), false},
		{UUIDOID, UUIDPGetDatum(&file->chat_id), false},
		{BOOLOID, BoolGetDatum(id->last), false},
		{BYTEAOID, PointerGetDatum(sealed), false}
	};

	chatcrypt_statement_run(&plan,
							"INSERT INTO chatcrypt.sealed_attachment_part (file_id, part, chat_id, "
							"last, sealed) "
							"VALUES ($1, $2, $3, $4, $5) "
							"ON CONFLICT (file_id, part) DO UPDATE "
							"SET last = excluded.last, sealed = excluded.sealed, "
							"stored_at = excluded.stored_at",
							args, lengthof(args), false);
}

/* ---------- quota ---------- */

static int64
quota_of(const pg_uuid_t *chat_id)
{
	static SPIPlanPtr plan;
	ChatcryptArg arg = {UUIDOID, UUIDPGetDatum(chat_id), false};
	Datum		quota;
	bool		isnull;

	if (chatcrypt_statement_run(&plan,
								"SELECT coalesce(c.attachment_quota, t.attachment_quota) "
								"FROM chatcrypt.chat AS c "
								"JOIN chatcrypt.tenant AS t USING (tenant) "
								"WHERE c.chat_id = $1",
								&arg, 1, false) == 0)
		chatcrypt_no_such_chat(chat_id->data);
	quota = chatcrypt_owner_value(&isnull);
	return isnull ? CHATCRYPT_NO_QUOTA : DatumGetInt64(quota);
}

int64
chatcrypt_attachmentstore_lock_quota(const pg_uuid_t *chat_id)
{
	int64		quota = quota_of(chat_id);

	if (quota != CHATCRYPT_NO_QUOTA)
		chatcrypt_chatkeys_lock(chat_id->data);
	return quota;
}

int64
chatcrypt_attachmentstore_enter_chat(const pg_uuid_t *chat_id)
{
	static SPIPlanPtr plan;
	ChatcryptArg arg = {UUIDOID, UUIDPGetDatum(chat_id), false};
	int64		quota = chatcrypt_attachmentstore_lock_quota(chat_id);

	if (quota == CHATCRYPT_NO_QUOTA &&
		chatcrypt_statement_run(&plan, "SELECT FROM chatcrypt.chat "
									   "WHERE chat_id = $1 "
									   "FOR SHARE",
								&arg, 1, false) == 0)
		chatcrypt_no_such_chat(chat_id->data);
	return quota;
}

/*
 * Counts what is committed by now, and what this transaction has put.  The lengths are in the
 * rows, so nothing sealed is read.
 */
void
chatcrypt_attachmentstore_check_quota(const ChatcryptFile *file, int64 quota, int64 incoming,
									  int32 replaced_part)
{
	ChatcryptArg args[] = {
		{UUIDOID, UUIDPGetDatum(&file->chat_id), false},
		{UUIDOID, UUIDPGetDatum(&file->id), false},
		{INT4OID, Int32GetDatum(replaced_part), false}
	};
	bool		isnull;
	int64		stored;

	if (quota == CHATCRYPT_NO_QUOTA)
		return;
	chatcrypt_owner_execute_on_latest("SELECT coalesce(sum(octet_length(sealed)), 0) "
									  "FROM chatcrypt.sealed_attachment_part "
									  "WHERE chat_id = $1 AND (file_id <> $2 OR part <> $3)", args,
									  lengthof(args));
	stored = DatumGetInt64(chatcrypt_owner_value(&isnull));
	if (incoming <= quota && stored <= quota - incoming)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("the attachments of chat %s would be over its quota",
					chatcrypt_id_text(file->chat_id.data)),
			 errdetail("The quota is "
					   INT64_FORMAT " bytes; the attachments take " INT64_FORMAT
					   " bytes as they are stored, and this call would store "
					   INT64_FORMAT " more.",
					   quota, stored, incoming),
			 errhint("Delete attachments, or raise attachment_quota of the chat or of its tenant.")));
}
