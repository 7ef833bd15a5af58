/*
 * messagerow.h
 *		A row of the view messages on its way into the table: its columns, its envelope, and
 *		what search is told about it.
 */
#ifndef CHATCRYPT_MESSAGEROW_H
#define CHATCRYPT_MESSAGEROW_H

#include "pg/messages/binding.h"
#include "pg/messages/messages.h"

/* Raises an error where the column, which has this name, is NULL. */
extern void chatcrypt_messagerow_refuse_null(const ChatcryptMessageRow *row, int column,
											 const char *name);

extern void chatcrypt_messagerow_refuse_dek_version(void);

/* The sender and the body of a row; NULL for none. */
extern const text *chatcrypt_messagerow_sender(const ChatcryptMessageRow *row);
extern text *chatcrypt_messagerow_body(const ChatcryptMessageRow *row);

extern bool chatcrypt_messagerow_differs(const ChatcryptMessageRow *a, const ChatcryptMessageRow *b,
										 int column);

/* The additional data to seal the row's body with. */
extern const ChatcryptAad *chatcrypt_messagerow_aad(ChatcryptRowAad *aad,
													const ChatcryptMessageRow *row);

/* Puts an envelope, and its key version, where the plaintext was. */
extern void chatcrypt_messagerow_put_envelope(ChatcryptMessageRow *row, bytea *envelope);

/* Seals the body for the chat, the id, the sender and the time that the row has. */
extern void chatcrypt_messagerow_seal(ChatcryptMessageRow *row);

/* Tells search that the row is stored; body is NULL where there is no text. */
extern void chatcrypt_messagerow_note_written(const ChatcryptMessageRow *stored, const text *body);

#endif
