/*
 * attachments.c
 *		Stores files in one go: put_attachment(), delete_attachment(), the trigger that deletes
 *		the files of a message, and encrypt_attachment() and decrypt_attachment() for files that
 *		are kept elsewhere.  Also the beginning of an upload, which makes the same row.
 *
 *		Not here: the rest of an upload in parts (attachmentupload.c), and reading
 *		(attachmentread.c).
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "pg/access/access.h"
#include "pg/access/moderation.h"
#include "pg/attachments/attachmentstore.h"
#include "pg/base/ids.h"
#include "pg/keys/chatkeys.h"
#include "pg/messages/messages.h"
#include "pg/messages/retention.h"
#include "pg/messages/utf8.h"
#include "pg/store/statement.h"

/* Arguments of put_attachment() and begin_attachment() from the name on. */
enum
{
	ARG_NAME,
	ARG_CONTENT_TYPE,
	ARG_MESSAGE,
	ARG_SENDER,
	ARG_EXPIRES_AT,
	ARG_PART_SIZE
};

/* A text argument as UTF-8, in a copy that the caller wipes; NULL has length 0. */
static uint8 *
utf8_argument(FunctionCallInfo fcinfo, int n, Size *len)
{
	text	   *given;
	char	   *utf8;
	uint8	   *copy;

	*len = 0;
	if (PG_ARGISNULL(n))
		return palloc(1);
	given = PG_GETARG_TEXT_PP(n);
	utf8 = chatcrypt_utf8_of_text(given, len);
	if (utf8 == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_CHARACTER_NOT_IN_REPERTOIRE),
				 errmsg("the name of the file or its content type is not text in UTF-8")));
	copy = palloc(*len + 1);
	memcpy(copy, utf8, *len);
	if (utf8 != VARDATA_ANY(given))
	{
		cc_wipe(utf8, *len);
		pfree(utf8);
	}
	return copy;
}

static uint32
part_size_argument(FunctionCallInfo fcinfo, int n)
{
	if (PG_ARGISNULL(n) || PG_GETARG_INT32(n) < CC_FILE_PART_SIZE_MIN ||
		PG_GETARG_INT32(n) > (int) CC_FILE_PART_SIZE_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the part size of an attachment must be %d to %d bytes", CC_FILE_PART_SIZE_MIN,
						(int) CC_FILE_PART_SIZE_MAX)));
	return (uint32) PG_GETARG_INT32(n);
}

static ChatcryptArg
expiry_argument(FunctionCallInfo fcinfo, int n, const pg_uuid_t *chat_id)
{
	TimestampTz expires_at;

	if (!PG_ARGISNULL(n))
		return (ChatcryptArg) {TIMESTAMPTZOID, PG_GETARG_DATUM(n), false};
	if (!chatcrypt_retention_expiry(chat_id->data, GetCurrentTransactionStartTimestamp(),
									&expires_at))
		return (ChatcryptArg) {TIMESTAMPTZOID, (Datum) 0, true};
	return (ChatcryptArg) {TIMESTAMPTZOID, TimestampTzGetDatum(expires_at), false};
}

/*
 * Reads the chat and the file: the first two arguments of put_attachment() and
 * begin_attachment().
 */
static void
read_ids(FunctionCallInfo fcinfo, ChatcryptFile *file)
{
	chatcrypt_id_refuse_null(fcinfo, 0, "the id of the chat");
	memset(file, 0, sizeof(*file));
	file->chat_id = *PG_GETARG_UUID_P(0);
	file->id = *DatumGetUUIDP(PG_ARGISNULL(1) ?
							  DirectFunctionCall1(chatcrypt_new_message_id, (Datum) 0) :
							  PG_GETARG_DATUM(1));
}

/*
 * Writes the row of the file, inside an owner scope and with the chat locked; the argument
 * number "first" is the name.
 */
static void
insert_file(FunctionCallInfo fcinfo, int first, const ChatcryptFile *file, cc_filemeta *meta)
{
	const text *sender = chatcrypt_moderation_sender(PG_ARGISNULL(first + ARG_SENDER) ? NULL :
													 PG_GETARG_TEXT_PP(first + ARG_SENDER));
	ChatcryptFileArgs args = {
		.message_id = {UUIDOID, PG_GETARG_DATUM(first + ARG_MESSAGE),
					   PG_ARGISNULL(first + ARG_MESSAGE)},
		.sender = {TEXTOID, PointerGetDatum(sender), sender == NULL},
		.expires_at = expiry_argument(fcinfo, first + ARG_EXPIRES_AT, &file->chat_id)
	};
	uint8	   *name = utf8_argument(fcinfo, first + ARG_NAME, &meta->name_len);
	uint8	   *content_type = utf8_argument(fcinfo, first + ARG_CONTENT_TYPE,
											 &meta->content_type_len);

	meta->name = name;
	meta->content_type = content_type;
	PG_TRY();
	{
		chatcrypt_attachmentstore_insert(file, meta, &args);
	}
	PG_FINALLY();
	{
		cc_wipe(name, meta->name_len);
		cc_wipe(content_type, meta->content_type_len);
	}
	PG_END_TRY();
}

static void
store_content(const ChatcryptFile *file, const cc_filemeta *meta, const bytea *content)
{
	const uint8 *at = (const uint8 *) VARDATA_ANY(content);

	for (uint32 part = 0; part < meta->parts; part++)
	{
		cc_part_id	id = {.file_id = file->id.data, .part = part, .last = part + 1 == meta->parts};
		uint32		len = cc_filemeta_part_len(meta, part);
		bytea	   *sealed;

		CHECK_FOR_INTERRUPTS();
		sealed = chatcrypt_attachmentseal_part(file->chat_id.data, &id, at, len);
		chatcrypt_attachmentstore_put_part(file, &id, sealed);
		pfree(sealed);
		at += len;
	}
}

/*
 * Checks rights, and makes the key for the chat's files if it is missing, before anything is
 * locked.
 */
static void
prepare(const char *function, const ChatcryptFile *file)
{
	PreventCommandIfReadOnly(function);
	chatcrypt_access_require_participant(file->chat_id.data);
	(void) chatcrypt_chatkeys_ensure(file->chat_id.data, CHATCRYPT_PURPOSE_DATA);
}

static Datum
id_of(const ChatcryptFile *file)
{
	pg_uuid_t  *id = palloc(sizeof(pg_uuid_t));

	*id = file->id;
	return UUIDPGetDatum(id);
}

PG_FUNCTION_INFO_V1(chatcrypt_put_attachment);

/*
 * put_attachment(chat, file, content, name, content_type, message, sender, expires_at,
 * part_size): the file's id
 */
Datum
chatcrypt_put_attachment(PG_FUNCTION_ARGS)
{
	const int	first = 3;
	ChatcryptOwnerScope scope;
	cc_filemeta meta = {.complete = true};
	bytea	   *content;
	ChatcryptFile file;

	chatcrypt_access_require_for_plaintext(CHATCRYPT_MAY_WRITE);
	read_ids(fcinfo, &file);
	if (PG_ARGISNULL(2))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("the content of an attachment must not be null")));
	meta.part_size = part_size_argument(fcinfo, first + ARG_PART_SIZE);
	content = PG_GETARG_BYTEA_PP(2);
	meta.size = VARSIZE_ANY_EXHDR(content);
	meta.parts = meta.size == 0 ? 1 : (uint32) ((meta.size + meta.part_size - 1) / meta.part_size);
	prepare("chatcrypt.put_attachment()", &file);

	chatcrypt_owner_begin(&scope);
	chatcrypt_attachmentstore_check_quota(&file,
										  chatcrypt_attachmentstore_enter_chat(&file.chat_id),
										  (int64) chatcrypt_attachmentseal_filemeta_size(&meta), 0);
	insert_file(fcinfo, first, &file, &meta);
	store_content(&file, &meta, content);
	chatcrypt_owner_end(&scope);
	return id_of(&file);
}

PG_FUNCTION_INFO_V1(chatcrypt_begin_attachment);

/*
 * begin_attachment(chat, file, name, content_type, message, sender, expires_at,
 * part_size): the file's id
 */
Datum
chatcrypt_begin_attachment(PG_FUNCTION_ARGS)
{
	const int	first = 2;
	ChatcryptOwnerScope scope;
	cc_filemeta meta = {.complete = false};
	ChatcryptFile file;

	chatcrypt_access_require_for_plaintext(CHATCRYPT_MAY_WRITE);
	read_ids(fcinfo, &file);
	meta.part_size = part_size_argument(fcinfo, first + ARG_PART_SIZE);
	prepare("chatcrypt.begin_attachment()", &file);

	chatcrypt_owner_begin(&scope);
	chatcrypt_attachmentstore_check_quota(&file,
										  chatcrypt_attachmentstore_enter_chat(&file.chat_id), 0,
										  0);
	insert_file(fcinfo, first, &file, &meta);
	chatcrypt_owner_end(&scope);
	return id_of(&file);
}

PG_FUNCTION_INFO_V1(chatcrypt_delete_attachment);

/* delete_attachment(file any_id): whether there was one */
Datum
chatcrypt_delete_attachment(PG_FUNCTION_ARGS)
{
	static SPIPlanPtr look_up;
	static SPIPlanPtr delete;
	ChatcryptArg arg = {UUIDOID, PG_GETARG_DATUM(0), false};
	ChatcryptOwnerScope scope;
	Datum		sender;
	bool		isnull;
	bool		chat_isnull;
	bool		deleted = false;

	chatcrypt_rights_require(CHATCRYPT_MAY_WRITE);
	PreventCommandIfReadOnly("chatcrypt.delete_attachment()");
	chatcrypt_owner_begin_deleting(&scope);
	if (chatcrypt_statement_run(&look_up,
								"SELECT chat_id, sender "
								"FROM chatcrypt.sealed_attachment "
								"WHERE file_id = $1", &arg, 1, false) > 0)
	{
		sender = chatcrypt_owner_column(0, 2, &isnull);
		chatcrypt_moderation_require_own("attachment",
										 DatumGetUUIDP(chatcrypt_owner_value(&chat_isnull))->data,
										 isnull ? NULL : DatumGetTextPP(sender));
		deleted = chatcrypt_statement_run(&delete,
										  "DELETE FROM chatcrypt.sealed_attachment WHERE file_id = $1",
										  &arg, 1, false) > 0;
	}
	chatcrypt_owner_end(&scope);
	PG_RETURN_BOOL(deleted);
}

PG_FUNCTION_INFO_V1(chatcrypt_delete_attachments_of_messages);

/*
 * Trigger on chatcrypt.sealed_message, after a DELETE, once for all of its rows.  A file that
 * names a message of another chat stays.  So does a file that the current actor may not delete:
 * the actor could have sent and deleted a message with the very id that the file names.
 */
Datum
chatcrypt_delete_attachments_of_messages(PG_FUNCTION_ARGS)
{
	static SPIPlanPtr plan;
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	ChatcryptOwnerScope scope;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_FOR_STATEMENT(trigger->tg_event) ||
		trigger->tg_oldtable == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("chatcrypt_internal.delete_attachments_of_messages() must be called as a trigger for statements, with an old table")));
	if (tuplestore_tuple_count(trigger->tg_oldtable) == 0)
		PG_RETURN_POINTER(NULL);
	chatcrypt_owner_begin_deleting(&scope);
	if (SPI_register_trigger_data(trigger) != SPI_OK_TD_REGISTER)
		elog(ERROR, "could not register the rows of a trigger");
	chatcrypt_statement_run(&plan,
							"DELETE FROM chatcrypt.sealed_attachment AS a USING deleted AS d "
							"WHERE a.message_id = d.message_id AND a.chat_id = d.chat_id "
							"AND (chatcrypt.current_actor() IS NULL "
							"OR chatcrypt.may_change(a.chat_id, a.sender))", NULL, 0, false);
	chatcrypt_owner_end(&scope);
	PG_RETURN_POINTER(NULL);
}

/* ---------- files that are kept elsewhere ---------- */

PG_FUNCTION_INFO_V1(chatcrypt_ensure_attachment_key);

/* ensure_attachment_key(chat any_id): whether this made one */
Datum
chatcrypt_ensure_attachment_key(PG_FUNCTION_ARGS)
{
	const uint8 *chat_id = PG_GETARG_UUID_P(0)->data;

	chatcrypt_rights_require(CHATCRYPT_MAY_WRITE);
	PreventCommandIfReadOnly("chatcrypt.ensure_attachment_key()");
	chatcrypt_access_require_participant(chat_id);
	PG_RETURN_BOOL(chatcrypt_chatkeys_ensure(chat_id, CHATCRYPT_PURPOSE_DATA));
}

/* Arguments as SQL has them: chat, file, bytes, part, last, aad. */
static cc_part_id
part_argument(FunctionCallInfo fcinfo)
{
	bytea	   *aad = PG_ARGISNULL(5) ? NULL : PG_GETARG_BYTEA_PP(5);

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(3) || PG_ARGISNULL(4))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("the chat, the file, the number of a part, and whether it is the last one, must not be null")));
	if (PG_GETARG_INT32(3) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("parts are numbered from 0")));
	return (cc_part_id) {
		.file_id = PG_GETARG_UUID_P(1)->data,
		.part = (uint32) PG_GETARG_INT32(3),
		.last = PG_GETARG_BOOL(4),
		.aad = aad ? (const uint8 *) VARDATA_ANY(aad) : NULL,
		.aad_len = aad ? VARSIZE_ANY_EXHDR(aad) : 0
	};
}

PG_FUNCTION_INFO_V1(chatcrypt_encrypt_attachment);

Datum
chatcrypt_encrypt_attachment(PG_FUNCTION_ARGS)
{
	cc_part_id	id;
	bytea	   *content;

	chatcrypt_access_require_for_plaintext(CHATCRYPT_MAY_WRITE);
	if (PG_ARGISNULL(2))
		PG_RETURN_NULL();
	id = part_argument(fcinfo);
	content = PG_GETARG_BYTEA_PP(2);
	PG_RETURN_BYTEA_P(chatcrypt_attachmentseal_part(PG_GETARG_UUID_P(0)->data, &id,
													(const uint8 *) VARDATA_ANY(content),
													VARSIZE_ANY_EXHDR(content)));
}

PG_FUNCTION_INFO_V1(chatcrypt_decrypt_attachment);

Datum
chatcrypt_decrypt_attachment(PG_FUNCTION_ARGS)
{
	cc_part_id	id;

	chatcrypt_access_require_for_plaintext(CHATCRYPT_MAY_READ);
	if (PG_ARGISNULL(2))
		PG_RETURN_NULL();
	id = part_argument(fcinfo);
	PG_RETURN_BYTEA_P(chatcrypt_attachmentseal_open_part(PG_GETARG_UUID_P(0)->data, &id,
														 PG_GETARG_BYTEA_PP(2)));
}
