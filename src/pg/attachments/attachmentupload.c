/*
 * attachmentupload.c
 *		Uploads in parts: put_attachment_part(), finish_attachment() and
 *		attachment_progress().
 *
 * An upload may be spread over transactions, sessions and days.  A part that is sent again is
 * sealed under a fresh salt and replaces the earlier one; until the file is finished nobody
 * reads any of it.  Finishing writes the number of parts and of bytes into the sealed metadata.
 * These numbers later tell a whole file from one that lost its end.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "pg/access/access.h"
#include "pg/access/moderation.h"
#include "pg/attachments/attachmentstore.h"
#include "pg/base/ids.h"

#define PARTS_AT_ONCE 1000

static void
require_writing(const char *function)
{
	chatcrypt_access_require_for_plaintext(CHATCRYPT_MAY_WRITE);
	PreventCommandIfReadOnly(function);
}

pg_noreturn static void refuse_part(const ChatcryptFile *file, const char *part, const char *what,
									const char *why);

static void
refuse_part(const ChatcryptFile *file, const char *part, const char *what, const char *why)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("%s of attachment %s %s", part, chatcrypt_id_text(file->id.data), what),
			 errdetail("%s", why)));
}

/* ---------- a part ---------- */

static uint32
part_size_of(const ChatcryptFile *file)
{
	cc_filemeta meta;

	chatcrypt_attachmentseal_close_filemeta(chatcrypt_attachmentstore_open(file, &meta));
	return meta.part_size;
}

static void
check_part(const ChatcryptFile *file, int32 part, bool last, Size len)
{
	uint32		part_size = part_size_of(file);

	if (part < 0 || part >= (int32) CC_FILE_PARTS_MAX)
		refuse_part(file, psprintf("part %d", part), "is out of range",
					psprintf("Parts are numbered from 0 to %d.", (int) CC_FILE_PARTS_MAX - 1));
	if (len > part_size || (len < part_size && !last))
		refuse_part(file, psprintf("part %d", part), psprintf("cannot have %zu bytes", len),
					psprintf("All parts but the last have %u bytes, and the last has no more.",
							 part_size));
}

static void
refuse_complete(const ChatcryptFile *file)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("attachment %s is complete", chatcrypt_id_text(file->id.data)),
			 errhint("Store the new content as a file of its own, and delete this one.")));
}

PG_FUNCTION_INFO_V1(chatcrypt_put_attachment_part);

/* put_attachment_part(file any_id, part integer, content bytea, last boolean) */
Datum
chatcrypt_put_attachment_part(PG_FUNCTION_ARGS)
{
	ChatcryptFile file = {.id = *PG_GETARG_UUID_P(0)};
	cc_part_id	id = {.file_id = file.id.data, .part = (uint32) PG_GETARG_INT32(1),
					  .last = PG_GETARG_BOOL(3)};
	ChatcryptOwnerScope scope;
	bytea	   *content;
	bytea	   *sealed;
	int64		quota;

	require_writing("chatcrypt.put_attachment_part()");
	content = PG_GETARG_BYTEA_PP(2);
	chatcrypt_owner_begin(&scope);
	chatcrypt_attachmentstore_fetch(&file, CHATCRYPT_FILE_UNLOCKED);
	chatcrypt_moderation_require_own("attachment", file.chat_id.data, file.sender);
	quota = chatcrypt_attachmentstore_lock_quota(&file.chat_id);
	chatcrypt_attachmentstore_fetch(&file, CHATCRYPT_FILE_SHARED);
	/*
	 * The file may have been deleted, and its id used by another sender, while this waited for
	 * the quota.
	 */
	chatcrypt_moderation_require_own("attachment", file.chat_id.data, file.sender);
	if (file.complete)
		refuse_complete(&file);
	check_part(&file, PG_GETARG_INT32(1), id.last, VARSIZE_ANY_EXHDR(content));
	sealed = chatcrypt_attachmentseal_part(file.chat_id.data, &id,
										   (const uint8 *) VARDATA_ANY(content),
										   VARSIZE_ANY_EXHDR(content));
	chatcrypt_attachmentstore_check_quota(&file, quota, VARSIZE(sealed) - VARHDRSZ,
										  PG_GETARG_INT32(1));
	chatcrypt_attachmentstore_put_part(&file, &id, sealed);
	chatcrypt_owner_end(&scope);
	PG_RETURN_VOID();
}

/* ---------- the end ---------- */

/* What is stored of a file. */
typedef struct Tally
{
	uint32		part_size;
	uint32		parts;
	uint64		size;
	bool		ended;
} Tally;

/* Counts a row of the parts, in their order: number, last, length, header. */
static void
count_part(const ChatcryptFile *file, Tally *tally, HeapTuple tuple, TupleDesc desc)
{
	bool		isnull;
	uint32		part = (uint32) DatumGetInt32(SPI_getbinval(tuple, desc, 1, &isnull));
	cc_part_id	id = {.file_id = file->id.data, .part = part,
					  .last = DatumGetBool(SPI_getbinval(tuple, desc, 2, &isnull))};
	Size		sealed_len = (Size) DatumGetInt32(SPI_getbinval(tuple, desc, 3, &isnull));
	bytea	   *header = DatumGetByteaPP(SPI_getbinval(tuple, desc, 4, &isnull));
	Size		len;
	cc_status	status = cc_part_plaintext_len(sealed_len, &len);

	if (part != tally->parts)
		refuse_part(file, psprintf("part %u", tally->parts), "is missing",
					"It was not sent, but later parts were.");
	if (tally->ended)
		refuse_part(file, psprintf("part %u", part), "follows the last part",
					"Send the part before it again, as one that is not the last.");
	if (status == CC_OK && (len > tally->part_size || (len < tally->part_size && !id.last)))
		status = CC_ERR_AUTH;
	if (status == CC_OK &&
		!chatcrypt_attachmentseal_part_is_committed(file->chat_id.data, &id, header, sealed_len))
		status = CC_ERR_AUTH;
	if (status != CC_OK)
		chatcrypt_raise_part(status, file->chat_id.data);
	tally->parts++;
	tally->size += len;
	tally->ended = id.last;
}

/*
 * Counts all parts, a thousand rows at a time.  Reads only the beginning of what is sealed.
 * Reads the parts as they are now that the file is locked: by the snapshot of a transaction
 * that began before a part was sent again, the file would be finished as one that nobody can
 * open.
 */
static void
count_parts(const ChatcryptFile *file, Tally *tally)
{
	Oid			types[] = {UUIDOID};
	Datum		values[] = {UUIDPGetDatum(&file->id)};
	SPIPlanPtr	plan = SPI_prepare_cursor(psprintf("SELECT part, last, octet_length(sealed), "
												   "substr(sealed, 1, %d) "
												   "FROM chatcrypt.sealed_attachment_part "
												   "WHERE file_id = $1 "
												   "ORDER BY part",
												   CC_PART_HEADER_LEN), 1, types, 0);
	Portal		cursor;

	if (plan == NULL)
		elog(ERROR, "SPI_prepare_cursor failed: %s", SPI_result_code_string(SPI_result));
	PushActiveSnapshot(GetLatestSnapshot());
	cursor = SPI_cursor_open(NULL, plan, values, NULL, true);
	PopActiveSnapshot();
	do
	{
		SPI_freetuptable(SPI_tuptable);
		SPI_cursor_fetch(cursor, true, PARTS_AT_ONCE);
		for (uint64 i = 0; i < SPI_processed; i++)
			count_part(file, tally, SPI_tuptable->vals[i], SPI_tuptable->tupdesc);
		CHECK_FOR_INTERRUPTS();
	} while (SPI_processed > 0);
	SPI_cursor_close(cursor);
	if (!tally->ended)
		refuse_part(file, "the last part", "is missing", "No part was sent as the last one.");
}

/* Marks the file as complete, in its row and in its metadata. */
static void
complete(const ChatcryptFile *file, const Tally *tally)
{
	cc_filemeta meta;
	bytea	   *known = chatcrypt_attachmentstore_open(file, &meta);

	meta.complete = true;
	meta.parts = tally->parts;
	meta.size = tally->size;
	PG_TRY();
	{
		chatcrypt_attachmentstore_complete(file, &meta);
	}
	PG_FINALLY();
	{
		chatcrypt_attachmentseal_close_filemeta(known);
	}
	PG_END_TRY();
}

/* The size of the file. */
static uint64
finish(const ChatcryptFile *file)
{
	Tally		tally = {.part_size = part_size_of(file)};

	count_parts(file, &tally);
	complete(file, &tally);
	return tally.size;
}

static uint64
size_of(const ChatcryptFile *file)
{
	cc_filemeta meta;

	chatcrypt_attachmentseal_close_filemeta(chatcrypt_attachmentstore_open(file, &meta));
	return meta.size;
}

PG_FUNCTION_INFO_V1(chatcrypt_finish_attachment);

/*
 * finish_attachment(file any_id): the size of the file.  A client that did not get the answer
 * may ask again.
 */
Datum
chatcrypt_finish_attachment(PG_FUNCTION_ARGS)
{
	ChatcryptFile file = {.id = *PG_GETARG_UUID_P(0)};
	ChatcryptOwnerScope scope;
	int64		size;

	require_writing("chatcrypt.finish_attachment()");
	chatcrypt_owner_begin(&scope);
	chatcrypt_attachmentstore_fetch(&file, CHATCRYPT_FILE_ALONE);
	chatcrypt_moderation_require_own("attachment", file.chat_id.data, file.sender);
	size = (int64) (file.complete ? size_of(&file) : finish(&file));
	chatcrypt_owner_end(&scope);
	PG_RETURN_INT64(size);
}

PG_FUNCTION_INFO_V1(chatcrypt_attachment_progress);

/* attachment_progress(file any_id): part, size, last */
Datum
chatcrypt_attachment_progress(PG_FUNCTION_ARGS)
{
	ChatcryptArg arg = {UUIDOID, PG_GETARG_DATUM(0), false};
	ChatcryptFile file = {.id = *PG_GETARG_UUID_P(0)};
	ChatcryptOwnerScope scope;

	chatcrypt_rights_require(CHATCRYPT_MAY_WRITE);
	chatcrypt_owner_begin(&scope);
	chatcrypt_attachmentstore_fetch(&file, CHATCRYPT_FILE_UNLOCKED);
	chatcrypt_access_require_participant(file.chat_id.data);
	chatcrypt_owner_end(&scope);
	chatcrypt_owner_return_rows(fcinfo,
								"SELECT part, sealed_chunks - 16 * (sealed_chunks / 16400 + 1), "
								"last "
								"FROM (SELECT part, octet_length(sealed) - 61, last "
								"FROM chatcrypt.sealed_attachment_part "
								"WHERE file_id = $1) AS p (part, sealed_chunks, last) "
								"ORDER BY part", &arg, 1);
	return (Datum) 0;
}
