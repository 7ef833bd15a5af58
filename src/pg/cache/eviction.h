/*
 * eviction.h
 *		Keys that leave the shared cache when the transaction commits.
 *
 * For whatever destroys or deletes keys.  From the commit on no cache of any session is
 * believed before it asked again.
 */
#ifndef CHATCRYPT_EVICTION_H
#define CHATCRYPT_EVICTION_H

#include "pg/base/keytypes.h"

extern void chatcrypt_eviction_note_key(const ChatcryptKeyId *id);

/* All keys of a chat of this database.  However many chats, it is one walk of the cache. */
extern void chatcrypt_eviction_note_chat(const uint8 chat_id[CC_ID_LEN]);

/* All keys of a database; one in a transaction, as DROP DATABASE has one of its own. */
extern void chatcrypt_eviction_note_database(Oid database);

#endif
