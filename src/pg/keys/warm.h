/*
 * warm.h
 *		Data keys that are about to be needed, unwrapped into the shared cache with few
 *		calls to the KMS: for warm_keys(), and for whoever goes through many chats.
 *
 * A key that does not open is told of, and stops no other one; a key service that is out
 * of order is waited for once.
 */
#ifndef CHATCRYPT_WARM_H
#define CHATCRYPT_WARM_H

#include "pg/procedures/work.h"

/* Told of each key that does not open; the job's words are its own. */
typedef void (*ChatcryptNotWarmed) (void *arg, const ChatcryptKmsJob *job);

typedef struct ChatcryptWarming
{
	ChatcryptOutages outages;	/* the caller sets its context */
	ChatcryptNotWarmed not_warmed;	/* NULL: nobody wants to know */
	void	   *arg;
	int64		warmed;
	int64		failed;
} ChatcryptWarming;

/* A key that an envelope names. */
typedef struct ChatcryptNamedKey
{
	uint8		chat_id[CC_ID_LEN];
	ChatcryptPurpose purpose;
	uint32		version;
} ChatcryptNamedKey;

/* Those which seal the messages of chats.  A chat that has none is passed over. */
extern void chatcrypt_warm_chats(ChatcryptWarming *warming, const uint8 *chat_ids, int nchats);

/* Sorts the keys, which may be there more than once. */
extern void chatcrypt_warm_named(ChatcryptWarming *warming, ChatcryptNamedKey *keys, int nkeys);

/*
 * All that open messages and files of this database, unless there are more than the shared
 * cache holds: then false, and none is.  Ends where most_failures are reached.  Commits as
 * it goes, and shows its progress.
 */
extern bool chatcrypt_warm_all(ChatcryptWarming *warming, int64 most_failures);

#endif
