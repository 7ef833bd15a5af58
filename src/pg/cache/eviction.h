/*
 * eviction.h
 *		Evicts keys from the key cache when the transaction commits.
 *
 * Code that destroys or deletes keys notes them here.  From the commit on, every session
 * asks the key cache again before it uses a key of its own keyring.
 */
#ifndef CHATCRYPT_EVICTION_H
#define CHATCRYPT_EVICTION_H

#include "pg/base/keytypes.h"

extern void chatcrypt_eviction_note_key(const ChatcryptKeyId *id);

/*
 * Notes all keys of a chat of this database.  The commit walks the cache once, however many
 * chats were noted.
 */
extern void chatcrypt_eviction_note_chat(const uint8 chat_id[CC_ID_LEN]);

/*
 * Notes all keys of a database.  A transaction can note one database only, which is enough:
 * DROP DATABASE cannot run in a transaction block.
 */
extern void chatcrypt_eviction_note_database(Oid database);

#endif
