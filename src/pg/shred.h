/*
 * shred.h
 *		Keys that are destroyed: out of the tables, and out of the caches.
 */
#ifndef CHATCRYPT_SHRED_H
#define CHATCRYPT_SHRED_H

#include "fmgr.h"

#include "core/bytes.h"

/*
 * For whoever destroys or deletes keys of a chat: they leave the shared cache when
 * the transaction commits, and no cache of any session is believed before it asked
 * again.  However many chats, it is one walk of the cache.
 */
extern void chatcrypt_evict_chat_at_commit(const uint8 chat_id[CC_ID_LEN]);

/* shred_chat(chat uuid, confirm text), which C calls as well: checks rights, records, evicts. */
extern PGDLLEXPORT Datum chatcrypt_shred_chat(PG_FUNCTION_ARGS);

#endif
