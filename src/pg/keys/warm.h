/*
 * warm.h
 *		Unwraps data keys that are about to be needed into the shared cache, with few calls to
 *		the KMS: for warm_keys(), and for functions that go through many chats.
 *
 * A key that does not open is reported, and does not stop the others; a key service that is out
 * of order is waited for once.
 */
#ifndef CHATCRYPT_WARM_H
#define CHATCRYPT_WARM_H

#include "pg/procedures/work.h"

/* Called for each key that does not open; the job says why. */
typedef void (*ChatcryptNotWarmed) (void *arg, const ChatcryptKmsJob *job);

typedef struct ChatcryptWarming
{
	ChatcryptOutages outages;	/* the caller sets its context */
	ChatcryptNotWarmed not_warmed;	/* NULL for none */
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

/* Warms the keys that seal the messages of chats.  A chat that has none is passed over. */
extern void chatcrypt_warm_chats(ChatcryptWarming *warming, const uint8 *chat_ids, int nchats);

/* Warms the keys that envelopes name.  Sorts the array; a key may be in it more than once. */
extern void chatcrypt_warm_named(ChatcryptWarming *warming, ChatcryptNamedKey *keys, int nkeys);

/*
 * Warms all keys that open messages and files of this database.  False, with none warmed, where
 * there are more keys than the shared cache holds.  Ends after most_failures failures.  Commits
 * as it goes, and shows its progress.
 */
extern bool chatcrypt_warm_all(ChatcryptWarming *warming, int64 most_failures);

#endif
