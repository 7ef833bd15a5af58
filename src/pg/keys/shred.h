/*
 * shred.h
 *		Keys that are destroyed: out of the tables, and out of the caches.
 */
#ifndef CHATCRYPT_SHRED_H
#define CHATCRYPT_SHRED_H

#include "fmgr.h"

#include "core/bytes.h"

/*
 * Destroys all keys of a chat, records that and evicts them; how many they were.  Deletes
 * the chat's files as well, unless the caller goes on to do so, in steps of its own.  What is
 * recorded begins with because, which may be empty.  The caller has checked rights.
 */
extern int	chatcrypt_shred_keys(const uint8 chat_id[CC_ID_LEN], bool with_files,
								 const char *because);

/* Whether the second argument, which may be NULL, is 'irreversible'. */
extern bool chatcrypt_shred_is_confirmed(FunctionCallInfo fcinfo);

#endif
