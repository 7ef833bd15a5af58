/*
 * hits.h
 *		The page of messages that one call of search() has found so far.
 *
 * A page holds plaintext.  The caller that began a page returns its rows and wipes it, also
 * when an error is raised.
 */
#ifndef CHATCRYPT_HITS_H
#define CHATCRYPT_HITS_H

#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "pg/search/policy.h"
#include "pg/search/query.h"

/* Where a message stands in the order of search results, which is from newest to oldest. */
typedef struct ChatcryptPlace
{
	TimestampTz created_at;
	pg_uuid_t	message_id;
} ChatcryptPlace;

/* A message that matches the query. */
typedef struct ChatcryptHit
{
	ChatcryptPlace place;
	pg_uuid_t	chat_id;
	text	   *sender;			/* NULL for none */
	text	   *body;
} ChatcryptHit;

typedef struct ChatcryptHits
{
	int			max;			/* the most messages that the page may have */
	int			count;
	ChatcryptHit *hits;			/* newest first; room for a page and one batch of candidates */
	MemoryContext context;		/* holds senders and bodies */
} ChatcryptHits;

/* Negative if a is newer than b, positive if it is older, and 0 for the same message. */
extern int	chatcrypt_hits_compare_places(const ChatcryptPlace *a, const ChatcryptPlace *b);

/* Begins an empty page in the current memory context. */
extern void chatcrypt_hits_begin(ChatcryptHits *page, int max, int largest_batch);

/* Is the page full, so that a message at this place or an older one cannot be on it? */
extern bool chatcrypt_hits_end_before(const ChatcryptHits *page, const ChatcryptPlace *place);

/*
 * Reads the messages of a chat that have these ids (Datums of uuid) with the rights of the
 * current user, opens them, and keeps the newest of those that match the query.
 */
extern void chatcrypt_hits_add_matches(ChatcryptHits *page, const uint8 chat_id[CC_ID_LEN],
									   Oid config, const ChatcryptQuery *query, Datum *ids,
									   int nids);

/* Wipes all bodies of the page, and leaves it empty. */
extern void chatcrypt_hits_wipe(ChatcryptHits *page);

#endif
