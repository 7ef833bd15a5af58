/*
 * feedbatch.h
 *		The text of one batch for the external search index: for each message the lines
 *		that the _bulk API of Elasticsearch and OpenSearch wants.
 *
 * It holds plaintext: whoever made a batch ends or drops it.
 */
#ifndef CHATCRYPT_FEEDBATCH_H
#define CHATCRYPT_FEEDBATCH_H

#include "core/bytes.h"
#include "pg/search/ndjson.h"
#include "pg/store/owner.h"

/* What became of a row of the outbox.  Those that found no room are in neither. */
typedef enum ChatcryptFeedFate
{
	CHATCRYPT_FEED_HAS,
	CHATCRYPT_FEED_PUT_OFF,	/* no key to be had now */
	CHATCRYPT_FEED_FATES
} ChatcryptFeedFate;

#define CHATCRYPT_FEED_MOST_DOWN	3

typedef struct ChatcryptFeedBatch
{
	int64		number;			/* the version of its documents; the caller's to set before it is filled */
	ChatcryptNdjson lines;
	char	   *index;			/* JSON */
	MemoryContext context;
	Datum	   *positions[CHATCRYPT_FEED_FATES];
	int			count[CHATCRYPT_FEED_FATES];
	const char *problem;		/* of those put off */
	uint8		down[CHATCRYPT_FEED_MOST_DOWN][CC_ID_LEN]; /* chats whose key is not to be had */
	int			ndown;
	bool		full;
} ChatcryptFeedBatch;

/* In the current memory context. */
extern ChatcryptFeedBatch *chatcrypt_feedbatch_new(const text *index);

/*
 * Inside an owner scope: writes what there is to say of these messages (an array of
 * positions in the outbox and one of message ids), in their order, until it is full.
 */
extern void chatcrypt_feedbatch_fill(ChatcryptFeedBatch *batch, const ChatcryptArg picked[2]);

/* Positions of one fate, as an argument of a statement. */
extern ChatcryptArg chatcrypt_feedbatch_positions(const ChatcryptFeedBatch *batch,
												  ChatcryptFeedFate fate);

/* The text, or NULL where there is none; warns of what was put off. */
extern text *chatcrypt_feedbatch_end(ChatcryptFeedBatch *batch);
extern void chatcrypt_feedbatch_drop(ChatcryptFeedBatch *batch);

#endif
