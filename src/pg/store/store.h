/*
 * store.h
 *		Reads the extension's own tables the way the server reads its catalogs: by
 *		index, under a fresh snapshot, without SPI and without checking the rights of
 *		the current user.  They are written by SQL (owner.h), not here.
 */
#ifndef CHATCRYPT_STORE_H
#define CHATCRYPT_STORE_H

#include "access/htup.h"
#include "access/tupdesc.h"

#include "core/bytes.h"
#include "kms/provider.h"
#include "pg/base/keytypes.h"
#include "pg/compat.h"
#include "pg/store/relations.h"

/* A copy of a row of chatcrypt.dek.  It holds no secret: the data key is wrapped. */
typedef struct ChatcryptDekRow
{
	uint64		epoch;			/* the epoch of the key cache before the row was read */
	ChatcryptKeyId id;
	ChatcryptDekState state;
	char		kms_key[CC_KMS_URI_MAX];
	uint8		wrapped[CC_KMS_WRAPPED_MAX];
	uint16		wrapped_len;
} ChatcryptDekRow;

/* Reads a row of chatcrypt.dek; version 0 stands for the active one.  False if there is none. */
extern bool chatcrypt_store_dek(const uint8 chat_id[CC_ID_LEN], ChatcryptPurpose purpose,
								uint32 version, ChatcryptDekRow *row);

/* False if there is no such chat. */
extern bool chatcrypt_store_chat_mode(const uint8 chat_id[CC_ID_LEN], ChatcryptMode *mode);

/*
 * Did this transaction write the row of the chat?  Then either the chat is new, and no other
 * session can have asked who takes part in it; or its row was changed, of which every session
 * is told.  False if there is no such chat.
 */
extern bool chatcrypt_store_chat_is_new(const uint8 chat_id[CC_ID_LEN], bool *exists);

/*
 * *lasts says whether the result may be remembered.  That an actor takes no part in a chat
 * must not be remembered if the chat does not exist or was created by this transaction.
 */
extern bool chatcrypt_store_is_participant(const uint8 chat_id[CC_ID_LEN], const char *actor,
										   bool *lasts);

/* False if no chat was ever created in this database. */
extern bool chatcrypt_store_deployment_id(uint8 deployment_id[CC_ID_LEN]);

/* Raises the error for data keys whose deployment id is missing. */
pg_noreturn extern void chatcrypt_store_deployment_lost(void);

/* The context that binds a data key to this deployment; raises if there is no deployment id. */
extern void chatcrypt_store_context(const ChatcryptKeyId *id, uint8 context[CC_CONTEXT_LEN]);

/*
 * The row that a unique index finds by its first column, under a fresh snapshot; NULL if
 * there is none.  The row and *desc are copies in the current memory context.
 */
extern HeapTuple chatcrypt_store_find_row(const char *table, const char *index, Oid collation,
										  RegProcedure equal, Datum key, TupleDesc *desc);

/* Is the table empty, under a fresh snapshot? */
extern bool chatcrypt_store_has_no_rows(const char *table);

#endif
