/*
 * binding.h
 *		The sender and the time of a message, bound into its envelope: the additional data of a
 *		row of chatcrypt.sealed_message, for everything that seals or opens one.
 *
 * A conversation message binds no additional data, and so neither sender nor time
 * (docs/format.md).
 */
#ifndef CHATCRYPT_BINDING_H
#define CHATCRYPT_BINDING_H

#include "datatype/timestamp.h"

#include "core/rowaad.h"
#include "pg/messages/seal.h"

/* Room on the stack for a sender; most senders are shorter than this. */
#define CHATCRYPT_SHORT_SENDER	116

typedef struct ChatcryptRowAad
{
	ChatcryptAad aad;
	uint8	   *allocated;		/* for a long sender; in the current memory context */
	uint8		room[CC_ROW_AAD_FIXED_LEN + CHATCRYPT_SHORT_SENDER];
} ChatcryptRowAad;

/*
 * For opening: raises no error for anything that a row can hold.  A row for which nothing can
 * have been sealed (without a finite time, or with a sender that is too long) does not open.
 * sender is NULL for none.
 */
extern const ChatcryptAad *chatcrypt_binding_aad(ChatcryptRowAad *row, TimestampTz created_at,
												 const text *sender);

/* For sealing: raises an error for such a row. */
extern const ChatcryptAad *chatcrypt_binding_aad_to_seal(ChatcryptRowAad *row,
														 TimestampTz created_at,
														 const text *sender);

/* Frees what was allocated, for loops whose memory context is not reset between two rows. */
extern void chatcrypt_binding_free_aad(ChatcryptRowAad *row);

/*
 * Raises an error where a row was stored with another id, chat, sender or time than it was
 * sealed for, which a trigger that a user made can cause.  The arrays are in the order of the
 * table's columns.
 */
extern void chatcrypt_binding_require_as_sealed(const Datum *sealed, const bool *sealed_nulls,
												const Datum *stored, const bool *stored_nulls);

/* Whether a column of two rows is the same, byte for byte. */
extern bool chatcrypt_binding_same_column(int column, Datum a, bool a_null, Datum b, bool b_null);

#endif
