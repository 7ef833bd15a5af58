/*
 * attachmentread.c
 *		Reads files: read_attachment(), read_attachment_part(), and what the view attachments
 *		shows.
 *
 * Rows are read as the current user, so that every policy of the tables holds, and with the
 * snapshot of the calling query.  A part comes as a pointer to where it is stored.  Of that,
 * the beginning is fetched first, and then the chunks that are needed, at most CHUNKS_AT_ONCE
 * at a time.  They are fetched before the key is looked up: fetching may fail, and no key is in
 * use then.
 *
 * Only the sealed metadata says how many parts there are, and how long each of them is.  A part
 * that is missing, longer or shorter raises an error.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/uuid.h"

#include "pg/access/access.h"
#include "pg/attachments/attachmentseal.h"
#include "pg/base/ids.h"
#include "pg/base/settings.h"
#include "pg/compat.h"
#include "pg/messages/utf8.h"
#include "pg/store/statement.h"

#define CHUNKS_AT_ONCE		64		/* 1 MB */
#define SEALED_CHUNK_LEN	(CC_CHUNK_LEN + CC_AEAD_TAG_LEN)

/* A complete file.  Its name and content type are wiped already. */
typedef struct StoredFile
{
	pg_uuid_t	id;
	pg_uuid_t	chat_id;
	cc_filemeta meta;
} StoredFile;

/* Operators are named with their schema, because the search_path is the caller's. */
#define FETCH_FILE \
	"SELECT chat_id, encrypted_metadata " \
	"FROM chatcrypt.sealed_attachment " \
	"WHERE file_id OPERATOR(pg_catalog.=) $1 " \
	"AND (expires_at IS NULL OR expires_at OPERATOR(pg_catalog.>) pg_catalog.now())"
#define FETCH_PART \
	"SELECT sealed " \
	"FROM chatcrypt.sealed_attachment_part " \
	"WHERE file_id OPERATOR(pg_catalog.=) $1 " \
	"AND part OPERATOR(pg_catalog.=) $2"

static void
fetch_file(StoredFile *file)
{
	static SPIPlanPtr plan;
	ChatcryptArg arg = {UUIDOID, UUIDPGetDatum(&file->id), false};
	TupleDesc	desc;
	HeapTuple	tuple;
	bool		isnull;
	bytea	   *envelope;
	bytea	   *opened;

	if (chatcrypt_statement_run(&plan, FETCH_FILE, &arg, 1, true) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("attachment %s does not exist", chatcrypt_id_text(file->id.data))));
	desc = SPI_tuptable->tupdesc;
	tuple = SPI_tuptable->vals[0];
	file->chat_id = *DatumGetUUIDP(SPI_getbinval(tuple, desc, 1, &isnull));
	envelope = DatumGetByteaPP(SPI_getbinval(tuple, desc, 2, &isnull));
	opened = chatcrypt_attachmentseal_open_filemeta(file->chat_id.data, file->id.data, envelope,
													CHATCRYPT_FAIL_RAISE, &file->meta);
	chatcrypt_attachmentseal_close_filemeta(opened);
	if (!file->meta.complete)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("attachment %s is not complete", chatcrypt_id_text(file->id.data)),
				 errhint("It can be read after chatcrypt.finish_attachment().")));
}

/* A pointer to where a part is stored. */
static Datum
fetch_part(const StoredFile *file, uint32 part)
{
	static SPIPlanPtr plan;
	ChatcryptArg args[] = {
		{UUIDOID, UUIDPGetDatum(&file->id), false},
		{INT4OID, Int32GetDatum((int32) part), false}
	};
	bool		isnull;

	if (chatcrypt_statement_run(&plan, FETCH_PART, args, lengthof(args), true) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("part %u of attachment %s is missing", part,
						chatcrypt_id_text(file->id.data))));
	return chatcrypt_owner_value(&isnull);
}

static bytea *
slice(Datum sealed, Size offset, Size len)
{
	return (bytea *) PG_DETOAST_DATUM_SLICE(sealed, (int32) offset, (int32) len);
}

/*
 * Reads the chunks of a part that hold its bytes from "from" up to, but not including, "to",
 * and writes these bytes to out.  Reads CHUNKS_AT_ONCE chunks at a time.
 */
static void
read_chunks(const StoredFile *file, const cc_part_id *id, Datum sealed, uint32 from, uint32 to,
			uint8 *out)
{
	ChatcryptChunks chunks = {
		.header = slice(sealed, 0, CC_PART_HEADER_LEN),
		.sealed_len = toast_raw_datum_size(sealed) - VARHDRSZ
	};
	uint32		end = to > from ? (to - 1) / CC_CHUNK_LEN + 1 : from / CC_CHUNK_LEN + 1;

	for (chunks.first = from / CC_CHUNK_LEN; chunks.first < end; chunks.first += chunks.count)
	{
		CHECK_FOR_INTERRUPTS();
		chunks.count = Min(CHUNKS_AT_ONCE, end - chunks.first);
		chunks.sealed = slice(sealed, CC_PART_HEADER_LEN + (Size) chunks.first * SEALED_CHUNK_LEN,
							  (Size) chunks.count * SEALED_CHUNK_LEN);
		chatcrypt_attachmentseal_open_chunks(file->chat_id.data, id, &chunks, from, to, out);
		pfree((bytea *) chunks.sealed);
	}
	pfree((bytea *) chunks.header);
}

static void
read_part(const StoredFile *file, uint32 part, uint32 from, uint32 to, uint8 *out)
{
	cc_part_id	id = {.file_id = file->id.data, .part = part, .last = part + 1 == file->meta.parts};
	Datum		sealed = fetch_part(file, part);
	Size		expected;

	if (cc_part_sealed_len(cc_filemeta_part_len(&file->meta, part), &expected) != CC_OK ||
		toast_raw_datum_size(sealed) - VARHDRSZ != expected)
		chatcrypt_raise_part(CC_ERR_AUTH, file->chat_id.data);
	read_chunks(file, &id, sealed, from, to, out);
	SPI_freetuptable(SPI_tuptable);
}

static void
read_range(const StoredFile *file, uint64 from, uint64 to, uint8 *out)
{
	uint32		part_size = file->meta.part_size;

	while (from < to)
	{
		uint32		part = (uint32) (from / part_size);
		uint64		begin = (uint64) part * part_size;
		uint64		end = Min(to, begin + part_size);

		read_part(file, part, (uint32) (from - begin), (uint32) (end - begin), out);
		out += end - from;
		from = end;
	}
}

/*
 * Fills the result.  Where the rest of the file does not open, or the statement is canceled,
 * wipes what the result holds of the file already.
 */
static void
fill(const StoredFile *file, uint64 from, uint64 to, bytea *result)
{
	PG_TRY();
	{
		read_range(file, from, to, (uint8 *) VARDATA(result));
	}
	PG_CATCH();
	{
		cc_wipe(VARDATA(result), VARSIZE(result) - VARHDRSZ);
		PG_RE_THROW();
	}
	PG_END_TRY();
}

static bytea *
allocate(MemoryContext context, uint64 len)
{
	bytea	   *result;

	if (len > MaxAllocSize - VARHDRSZ)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("the attachment does not fit into one value"),
				 errhint("Read it in parts, or a range of it at a time.")));
	result = MemoryContextAlloc(context, VARHDRSZ + len);
	SET_VARSIZE(result, VARHDRSZ + len);
	return result;
}

static void
refuse_negative(int64 number, const char *what)
{
	if (number < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must not be negative", what)));
}

static void
begin_reading(void)
{
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
}

PG_FUNCTION_INFO_V1(chatcrypt_read_attachment);

/*
 * read_attachment(file any_id, first_byte bigint, max_bytes integer): reads to the end where
 * max_bytes is NULL
 */
Datum
chatcrypt_read_attachment(PG_FUNCTION_ARGS)
{
	MemoryContext context = CurrentMemoryContext;
	uint64		from;
	uint64		to;
	bytea	   *result;
	StoredFile	file;

	chatcrypt_access_require_for_plaintext(CHATCRYPT_MAY_READ);
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	refuse_negative(PG_GETARG_INT64(1), "first_byte");
	refuse_negative(PG_ARGISNULL(2) ? 0 : PG_GETARG_INT32(2), "max_bytes");
	file.id = *PG_GETARG_UUID_P(0);
	begin_reading();
	fetch_file(&file);
	from = Min((uint64) PG_GETARG_INT64(1), file.meta.size);
	to = PG_ARGISNULL(2) ? file.meta.size : Min(from + (uint64) PG_GETARG_INT32(2), file.meta.size);
	result = allocate(context, to - from);
	fill(&file, from, to, result);
	SPI_finish();
	PG_RETURN_BYTEA_P(result);
}

PG_FUNCTION_INFO_V1(chatcrypt_read_attachment_part);

/*
 * read_attachment_part(file any_id, part integer): NULL past the end, which the sealed metadata
 * tells
 */
Datum
chatcrypt_read_attachment_part(PG_FUNCTION_ARGS)
{
	MemoryContext context = CurrentMemoryContext;
	uint32		part;
	uint64		from;
	uint32		len;
	bytea	   *result;
	StoredFile	file;

	chatcrypt_access_require_for_plaintext(CHATCRYPT_MAY_READ);
	refuse_negative(PG_GETARG_INT32(1), "the number of a part");
	file.id = *PG_GETARG_UUID_P(0);
	part = (uint32) PG_GETARG_INT32(1);
	begin_reading();
	fetch_file(&file);
	if (part >= file.meta.parts)
	{
		SPI_finish();
		PG_RETURN_NULL();
	}
	len = cc_filemeta_part_len(&file.meta, part);
	result = allocate(context, len);
	from = (uint64) part * file.meta.part_size;
	if (len > 0)
		fill(&file, from, from + len, result);
	else
		read_part(&file, part, 0, 0, (uint8 *) VARDATA(result));
	SPI_finish();
	PG_RETURN_BYTEA_P(result);
}

/* ---------- the view ---------- */

#define METADATA_COLUMNS 5

/*
 * Makes a text of UTF-8, NULL for none.  False where the server's encoding lacks a character of
 * it.
 */
static bool
text_of(const uint8 *utf8, Size len, Datum *value, bool *isnull)
{
	text	   *result = len == 0 ? NULL : chatcrypt_utf8_to_text((const char *) utf8, len);

	*value = PointerGetDatum(result);
	*isnull = result == NULL;
	return result != NULL || len == 0;
}

/* Fills the row; false where a text of it cannot be shown. */
static bool
describe(const cc_filemeta *meta, Datum *values, bool *nulls)
{
	bool		shown = text_of(meta->name, meta->name_len, &values[0], &nulls[0]);

	shown &= text_of(meta->content_type, meta->content_type_len, &values[1], &nulls[1]);
	values[2] = Int64GetDatum((int64) meta->size);
	values[3] = Int32GetDatum((int32) meta->part_size);
	values[4] = Int32GetDatum((int32) meta->parts);
	nulls[2] = nulls[4] = !meta->complete;
	nulls[3] = false;
	return shown;
}

PG_FUNCTION_INFO_V1(chatcrypt_attachment_metadata);

/*
 * attachment_metadata(chat uuid, file uuid, encrypted_metadata bytea): name, content
 * type, size, part size, parts
 */
Datum
chatcrypt_attachment_metadata(PG_FUNCTION_ARGS)
{
	bool		lenient = chatcrypt_on_decrypt_error == CHATCRYPT_ON_ERROR_NULL;
	Datum		values[METADATA_COLUMNS] = {0};
	bool		nulls[METADATA_COLUMNS] = {true, true, true, true, true};
	TupleDesc	desc;
	cc_filemeta meta;
	bytea	   *known;

	chatcrypt_access_require_for_plaintext(CHATCRYPT_MAY_READ);
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "the function must give a row");
	known = chatcrypt_attachmentseal_open_filemeta(PG_GETARG_UUID_P(0)->data,
												   PG_GETARG_UUID_P(1)->data, PG_GETARG_BYTEA_PP(2),
												   chatcrypt_seal_on_failure_in_views(), &meta);
	if (known != NULL)
	{
		bool		shown = describe(&meta, values, nulls);

		chatcrypt_attachmentseal_close_filemeta(known);
		if (!shown && !lenient)
			ereport(ERROR,
					(errcode(ERRCODE_UNTRANSLATABLE_CHARACTER),
					 errmsg("the name of an attachment or its content type cannot be shown in the encoding \"%s\" of this database",
							GetDatabaseEncodingName())));
	}
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
