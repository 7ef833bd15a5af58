/*
 * binding.h
 *		Who wrote a message and when is bound into its envelope: the additional data of
 *		a row of chatcrypt.sealed_message, for everything that seals or opens one.
 *
 * A conversation message binds nothing, and so neither of the two (docs/format.md).
 */
#ifndef CHATCRYPT_BINDING_H
#define CHATCRYPT_BINDING_H

#include "datatype/timestamp.h"

#include "core/rowaad.h"
#include "pg/messages/seal.h"

/* Room for it on the stack: most senders are shorter than this. */
#define CHATCRYPT_SHORT_SENDER	116

typedef struct ChatcryptRowAad
{
	ChatcryptAad aad;
	uint8	   *allocated;		/* where the sender is long; in the current memory context */
	uint8		room[CC_ROW_AAD_FIXED_LEN + CHATCRYPT_SHORT_SENDER];
} ChatcryptRowAad;

/*
 * For opening: raises for nothing that a row can hold.  A row that nothing can have been
 * sealed for (no finite time, a sender that is too long) does not open.  sender is NULL
 * for none.
 */
extern const ChatcryptAad *chatcrypt_binding_aad(ChatcryptRowAad *row, TimestampTz created_at,
												 const text *sender);

/* For sealing: raises for such a row. */
extern const ChatcryptAad *chatcrypt_binding_aad_to_seal(ChatcryptRowAad *row,
														 TimestampTz created_at,
														 const text *sender);

/* For loops whose memory context is not reset between two rows. */
extern void chatcrypt_binding_free_aad(ChatcryptRowAad *row);

/*
 * Raises where a row was stored with another id, chat, sender or time than it was sealed
 * for, as a trigger of somebody's can have it.  Both in the order of the table's columns.
 */
extern void chatcrypt_binding_require_as_sealed(const Datum *sealed, const bool *sealed_nulls,
												const Datum *stored, const bool *stored_nulls);

/* Are these columns of two rows the same, byte for byte? */
extern bool chatcrypt_binding_same_column(int column, Datum a, bool a_null, Datum b, bool b_null);

#endif
