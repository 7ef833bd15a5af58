/*
 * attachmentseal.h
 *		Seals and opens parts of files, and the metadata of files, in memory.
 *		Not here: reading and writing the tables that hold them.
 */
#ifndef CHATCRYPT_ATTACHMENTSEAL_H
#define CHATCRYPT_ATTACHMENTSEAL_H

#include "core/attachment.h"
#include "core/filemeta.h"
#include "pg/compat.h"
#include "pg/messages/seal.h"

/* ---------- parts ---------- */

/* Seals a part under the chat's active data key.  The caller has checked its user's rights. */
extern bytea *chatcrypt_attachmentseal_part(const uint8 chat_id[CC_ID_LEN], const cc_part_id *id,
											const uint8 *plaintext, Size len);

/* Opens a whole part.  Raises an error where it does not open. */
extern bytea *chatcrypt_attachmentseal_open_part(const uint8 chat_id[CC_ID_LEN],
												 const cc_part_id *id, const bytea *sealed);

/*
 * Seals a part anew, under the chat's newest key.  NULL, with *why set, where it does not open.
 */
extern bytea *chatcrypt_attachmentseal_reseal_part(const uint8 chat_id[CC_ID_LEN],
												   const cc_part_id *id,
												   const bytea *sealed, cc_status *why);

/* What keeps a part from opening, as text; NULL where it opens. */
extern char *chatcrypt_attachmentseal_diagnose_part(const uint8 chat_id[CC_ID_LEN],
													const cc_part_id *id, const bytea *sealed);

/*
 * Whether the beginning of a part, which has sealed_len bytes in all, fits its key, its chat,
 * its file, its number and its being the last part or not.  Decrypts nothing.
 */
extern bool chatcrypt_attachmentseal_part_is_committed(const uint8 chat_id[CC_ID_LEN],
													   const cc_part_id *id,
													   const bytea *header, Size sealed_len);

/* Consecutive chunks of one part, from which a range of its plaintext is wanted. */
typedef struct ChatcryptChunks
{
	const bytea *header;		/* of the part */
	Size		sealed_len;		/* of the part */
	uint32		first;
	uint32		count;
	const bytea *sealed;		/* these chunks */
} ChatcryptChunks;

/*
 * Writes the bytes from "from" up to, but not including, "to" of the part to out.  All are
 * within these chunks.  Raises an error where a chunk does not open.
 */
extern void chatcrypt_attachmentseal_open_chunks(const uint8 chat_id[CC_ID_LEN],
												 const cc_part_id *id,
												 const ChatcryptChunks *chunks, uint32 from,
												 uint32 to, uint8 *out);

/* Raises the error that a file, or a part of it, is not what was stored. */
pg_noreturn extern void chatcrypt_raise_part(cc_status status, const uint8 *chat_id);

/* ---------- metadata ---------- */

/* The additional data of the metadata of every file. */
extern const ChatcryptAad *chatcrypt_attachmentseal_filemeta_aad(void);

extern bytea *chatcrypt_attachmentseal_filemeta(const uint8 chat_id[CC_ID_LEN],
												const uint8 file_id[CC_ID_LEN],
												const cc_filemeta *meta);

/*
 * Opens the metadata of a file.  The plaintext, into which meta points, is returned, and the
 * caller closes it.  NULL where it does not open and on_failure allows that.
 */
extern bytea *chatcrypt_attachmentseal_open_filemeta(const uint8 chat_id[CC_ID_LEN],
													 const uint8 file_id[CC_ID_LEN],
													 const bytea *envelope,
													 ChatcryptOnFailure on_failure,
													 cc_filemeta *meta);
extern void chatcrypt_attachmentseal_close_filemeta(bytea *plaintext);

/* The number of bytes that all parts of a complete file take as they are stored. */
extern uint64 chatcrypt_attachmentseal_filemeta_size(const cc_filemeta *meta);

#endif
