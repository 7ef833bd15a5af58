/*
 * attachmentverify.h
 *		Says what keeps a file, or a part of a file, from being read, for verify_chat().
 */
#ifndef CHATCRYPT_ATTACHMENTVERIFY_H
#define CHATCRYPT_ATTACHMENTVERIFY_H

#include "access/htup.h"
#include "access/tupdesc.h"

#include "core/bytes.h"

/*
 * What is read of a row of chatcrypt.sealed_attachment beside chat, file and envelope, as an
 * array of three numbers: the parts that are stored, their bytes, and the parts that are marked
 * as the last and have the highest number.
 */
#define CHATCRYPT_FILE_CENSUS \
	", (SELECT ARRAY[count(*), coalesce(sum(octet_length(p.sealed)), 0), " \
	"count(*) FILTER (WHERE p.last AND p.part = c.parts - 1)] " \
	"FROM chatcrypt.sealed_attachment_part AS p, " \
	"(SELECT count(*) AS parts FROM chatcrypt.sealed_attachment_part AS q " \
	"WHERE q.file_id = stored.file_id) AS c " \
	"WHERE p.file_id = stored.file_id)"

/*
 * What is wrong with a file whose envelope opens: not all of its parts may be there.  The
 * census is the fourth column.  NULL where nothing is wrong.
 */
extern char *chatcrypt_attachmentverify_file(const uint8 chat_id[CC_ID_LEN],
											 const uint8 file_id[CC_ID_LEN],
											 const bytea *envelope, HeapTuple tuple,
											 TupleDesc desc);

/*
 * The same for a row of chatcrypt.sealed_attachment_part, whose fourth and fifth columns are
 * part and last.
 */
extern char *chatcrypt_attachmentverify_part(const uint8 chat_id[CC_ID_LEN],
											 const uint8 file_id[CC_ID_LEN],
											 const bytea *sealed, HeapTuple tuple,
											 TupleDesc desc);

#endif
