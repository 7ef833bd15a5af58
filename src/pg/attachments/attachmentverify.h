/*
 * attachmentverify.h
 *		What keeps a file, or a part of one, from being read, in words for verify_chat().
 */
#ifndef CHATCRYPT_ATTACHMENTVERIFY_H
#define CHATCRYPT_ATTACHMENTVERIFY_H

#include "access/htup.h"
#include "access/tupdesc.h"

#include "core/bytes.h"

/*
 * What is read of a row of chatcrypt.sealed_attachment beside chat, file and envelope: a number
 * each for the parts that there are, their bytes, and those that are said to be the last
 * and have the highest number.
 */
#define CHATCRYPT_FILE_CENSUS \
	", (SELECT ARRAY[count(*), coalesce(sum(octet_length(p.sealed)), 0), " \
	"count(*) FILTER (WHERE p.last AND p.part = c.parts - 1)] " \
	"FROM chatcrypt.sealed_attachment_part AS p, " \
	"(SELECT count(*) AS parts FROM chatcrypt.sealed_attachment_part AS q " \
	"WHERE q.file_id = stored.file_id) AS c " \
	"WHERE p.file_id = stored.file_id)"

/*
 * Whether all parts are there of a file whose envelope opens; the census is the fourth
 * column.  NULL for nothing.
 */
extern char *chatcrypt_attachmentverify_file(const uint8 chat_id[CC_ID_LEN],
											 const uint8 file_id[CC_ID_LEN],
											 const bytea *envelope, HeapTuple tuple,
											 TupleDesc desc);

/* A row of chatcrypt.sealed_attachment_part; part and last are its fourth and fifth columns. */
extern char *chatcrypt_attachmentverify_part(const uint8 chat_id[CC_ID_LEN],
											 const uint8 file_id[CC_ID_LEN],
											 const bytea *sealed, HeapTuple tuple,
											 TupleDesc desc);

#endif
