/*
 * store.h
 *		Reads the extension's own tables the way the server reads its catalogs: by
 *		index, under a fresh snapshot, without SPI and without asking whether the
 *		current user may.  Writing them is SQL's business (pg/chats/chats.c).
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

/* A row of chatcrypt.dek, copied out.  No secret: the DEK is wrapped. */
typedef struct ChatcryptDekRow
{
	uint64		epoch;			/* the key cache's before the row was read */
	ChatcryptKeyId id;
	ChatcryptDekState state;
	char		kms_key[CC_KMS_URI_MAX];
	uint8		wrapped[CC_KMS_WRAPPED_MAX];
	uint16		wrapped_len;
} ChatcryptDekRow;

/* version 0 asks for the active one.  False where there is none. */
extern bool chatcrypt_store_dek(const uint8 chat_id[CC_ID_LEN], ChatcryptPurpose purpose,
								uint32 version, ChatcryptDekRow *row);

/* False where there is no such chat. */
extern bool chatcrypt_store_chat_mode(const uint8 chat_id[CC_ID_LEN], ChatcryptMode *mode);

/*
 * Whether the row of the chat is this transaction's.  Such a chat is either new, and nobody
 * else can have asked who takes part in it; or its row was changed, which all are told of.
 * False too where there is no such chat.
 */
extern bool chatcrypt_store_chat_is_new(const uint8 chat_id[CC_ID_LEN], bool *exists);

/*
 * Also says whether that may be remembered: that somebody is absent from a chat which does
 * not exist, or which this transaction has made, may not.
 */
extern bool chatcrypt_store_is_participant(const uint8 chat_id[CC_ID_LEN], const char *actor,
										   bool *lasts);

/* False where no chat was ever made in this database. */
extern bool chatcrypt_store_deployment_id(uint8 deployment_id[CC_ID_LEN]);

/* Raises: there are keys, and no deployment id that they are bound to. */
pg_noreturn extern void chatcrypt_store_deployment_lost(void);

/* The context of a DEK in this deployment; raises where there is no deployment id. */
extern void chatcrypt_store_context(const ChatcryptKeyId *id, uint8 context[CC_CONTEXT_LEN]);

/*
 * The row that a unique index finds by its first column, under a fresh snapshot: a
 * copy, in the current memory context, as *desc is.  NULL where there is none.
 */
extern HeapTuple chatcrypt_store_find_row(const char *table, const char *index, Oid collation,
										  RegProcedure equal, Datum key, TupleDesc *desc);

/* The same for a table as a whole: is there no row at all? */
extern bool chatcrypt_store_has_no_rows(const char *table);

#endif
