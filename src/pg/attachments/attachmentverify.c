/*
 * attachmentverify.c
 *		Says what keeps a file, or a part of a file, from being read: see attachmentverify.h.
 *
 * Each part opens, or does not, by itself.  Only the file tells that no part is missing at the
 * end, and that the part that ends the file was sealed as the last one.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/array.h"

#include "pg/attachments/attachmentseal.h"
#include "pg/attachments/attachmentverify.h"

/* In the order of CHATCRYPT_FILE_CENSUS. */
enum
{
	CENSUS_PARTS,
	CENSUS_BYTES,
	CENSUS_ENDS,
	CENSUS_LEN
};

static char *
compare(const cc_filemeta *meta, const int64 *census)
{
	if (census[CENSUS_PARTS] != meta->parts)
		return psprintf("incomplete: " INT64_FORMAT " of %u parts are there", census[CENSUS_PARTS],
						meta->parts);
	if (census[CENSUS_ENDS] != 1)
		return pstrdup("incomplete: the highest part was not sealed as the last one");
	if ((uint64) census[CENSUS_BYTES] != chatcrypt_attachmentseal_filemeta_size(meta))
		return pstrdup("damaged: its parts are not as long as they were");
	return NULL;
}

char *
chatcrypt_attachmentverify_file(const uint8 chat_id[CC_ID_LEN], const uint8 file_id[CC_ID_LEN],
								const bytea *envelope, HeapTuple tuple, TupleDesc desc)
{
	cc_filemeta meta;
	bool		isnull;
	ArrayType  *census = DatumGetArrayTypeP(SPI_getbinval(tuple, desc, 4, &isnull));
	bytea	   *known = chatcrypt_attachmentseal_open_filemeta(chat_id, file_id, envelope,
															   CHATCRYPT_FAIL_NULL, &meta);

	if (known == NULL)
		return pstrdup("damaged: the metadata of the file is not in its format");
	chatcrypt_attachmentseal_close_filemeta(known);
	Assert(ArrayGetNItems(ARR_NDIM(census), ARR_DIMS(census)) == CENSUS_LEN);
	return meta.complete ? compare(&meta, (const int64 *) ARR_DATA_PTR(census)) : NULL;
}

char *
chatcrypt_attachmentverify_part(const uint8 chat_id[CC_ID_LEN],
								const uint8 file_id[CC_ID_LEN], const bytea *sealed,
								HeapTuple tuple, TupleDesc desc)
{
	bool		isnull;
	cc_part_id	id = {
		.file_id = file_id,
		.part = (uint32) DatumGetInt32(SPI_getbinval(tuple, desc, 4, &isnull)),
		.last = DatumGetBool(SPI_getbinval(tuple, desc, 5, &isnull))
	};

	return chatcrypt_attachmentseal_diagnose_part(chat_id, &id, sealed);
}
