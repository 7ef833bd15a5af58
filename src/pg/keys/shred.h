/*
 * shred.h
 *		Destroys keys: removes them from the tables and from the caches.
 */
#ifndef CHATCRYPT_SHRED_H
#define CHATCRYPT_SHRED_H

#include "fmgr.h"

#include "core/bytes.h"

/*
 * Destroys all keys of a chat, records that, evicts them, and returns their number.  Deletes
 * the chat's files as well if with_files; otherwise the caller goes on to delete them in steps
 * of its own.  The recorded text begins with because, which may be empty.  The caller has
 * checked rights.
 */
extern int	chatcrypt_shred_keys(const uint8 chat_id[CC_ID_LEN], bool with_files,
								 const char *because);

/* Whether the second argument, which may be NULL, is 'irreversible'. */
extern bool chatcrypt_shred_is_confirmed(FunctionCallInfo fcinfo);

#endif
