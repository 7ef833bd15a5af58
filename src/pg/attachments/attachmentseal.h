/*
 * attachmentseal.h
 *		Sealing and opening of parts of files, and of what is known of a file, in memory.
 *		What a table holds of them is read and written elsewhere.
 */
#ifndef CHATCRYPT_ATTACHMENTSEAL_H
#define CHATCRYPT_ATTACHMENTSEAL_H

#include "core/attachment.h"
#include "core/filemeta.h"
#include "pg/compat.h"
#include "pg/messages/seal.h"

/* ---------- parts ---------- */

/* Under the chat's active data key.  The caller has checked its user's rights. */
extern bytea *chatcrypt_attachmentseal_part(const uint8 chat_id[CC_ID_LEN], const cc_part_id *id,
											const uint8 *plaintext, Size len);

/* A whole part; raises where it does not open. */
extern bytea *chatcrypt_attachmentseal_open_part(const uint8 chat_id[CC_ID_LEN],
												 const cc_part_id *id, const bytea *sealed);

/* Anew, under the chat's newest key; NULL, with why, where it does not open. */
extern bytea *chatcrypt_attachmentseal_reseal_part(const uint8 chat_id[CC_ID_LEN],
												   const cc_part_id *id,
												   const bytea *sealed, cc_status *why);

/* What keeps a part from opening, in words; NULL for nothing. */
extern char *chatcrypt_attachmentseal_diagnose_part(const uint8 chat_id[CC_ID_LEN],
													const cc_part_id *id, const bytea *sealed);

/*
 * Whether the beginning of a part, of sealed_len bytes in all, is what its key, chat,
 * file, number and end make it.  Decrypts nothing.
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
 * Copies bytes from to to (excluded) of the part, all within these chunks; raises where
 * one does not open.
 */
extern void chatcrypt_attachmentseal_open_chunks(const uint8 chat_id[CC_ID_LEN],
												 const cc_part_id *id,
												 const ChatcryptChunks *chunks, uint32 from,
												 uint32 to, uint8 *out);

/* Raises: a file, or a part of it, is not what was stored. */
pg_noreturn extern void chatcrypt_raise_part(cc_status status, const uint8 *chat_id);

/* ---------- what is known of a file ---------- */

/* The additional data of all of them. */
extern const ChatcryptAad *chatcrypt_attachmentseal_filemeta_aad(void);

extern bytea *chatcrypt_attachmentseal_filemeta(const uint8 chat_id[CC_ID_LEN],
												const uint8 file_id[CC_ID_LEN],
												const cc_filemeta *meta);

/*
 * The meta points into the plaintext, which is the result and the caller's to wipe and
 * free.  NULL where it does not open and that may be.
 */
extern bytea *chatcrypt_attachmentseal_open_filemeta(const uint8 chat_id[CC_ID_LEN],
													 const uint8 file_id[CC_ID_LEN],
													 const bytea *envelope,
													 ChatcryptOnFailure on_failure,
													 cc_filemeta *meta);
extern void chatcrypt_attachmentseal_close_filemeta(bytea *plaintext);

/* Bytes that all parts of a complete file take as they are stored. */
extern uint64 chatcrypt_attachmentseal_filemeta_size(const cc_filemeta *meta);

#endif
