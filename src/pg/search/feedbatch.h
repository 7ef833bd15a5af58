/*
 * feedbatch.h
 *		The text of one batch for the external search index: for each message the lines
 *		that the _bulk API of Elasticsearch and OpenSearch expects.
 *
 * A batch holds plaintext.  The caller that made it ends it or drops it.
 */
#ifndef CHATCRYPT_FEEDBATCH_H
#define CHATCRYPT_FEEDBATCH_H

#include "core/bytes.h"
#include "pg/search/ndjson.h"
#include "pg/store/owner.h"

/* What became of a row of the outbox.  Rows that found no room have no fate. */
typedef enum ChatcryptFeedFate
{
	CHATCRYPT_FEED_HAS,
	CHATCRYPT_FEED_PUT_OFF,		/* the key service did not give the key */
	CHATCRYPT_FEED_FATES
} ChatcryptFeedFate;

/* A batch ends after this many chats whose key the key service did not give. */
#define CHATCRYPT_FEED_MOST_DOWN	3

typedef struct ChatcryptFeedBatch
{
	int64		number;			/* the version of its documents; set it before filling the batch */
	ChatcryptNdjson lines;
	char	   *index;			/* JSON */
	MemoryContext context;
	Datum	   *positions[CHATCRYPT_FEED_FATES];
	int			count[CHATCRYPT_FEED_FATES];
	const char *problem;		/* why the key service did not give a key */
	uint8		down[CHATCRYPT_FEED_MOST_DOWN][CC_ID_LEN]; /* chats whose key it did not give */
	int			ndown;
	bool		full;
} ChatcryptFeedBatch;

/* Makes an empty batch in the current memory context. */
extern ChatcryptFeedBatch *chatcrypt_feedbatch_new(const text *index);

/*
 * Inside an owner scope: writes the lines of these messages (an array of positions in the outbox
 * and one of message ids), in their order, until the batch is full.
 */
extern void chatcrypt_feedbatch_fill(ChatcryptFeedBatch *batch, const ChatcryptArg picked[2]);

/* Positions of the rows of one fate, as an argument of a statement. */
extern ChatcryptArg chatcrypt_feedbatch_positions(const ChatcryptFeedBatch *batch,
												  ChatcryptFeedFate fate);

/* The text, or NULL if there is none.  Warns of messages that were put off. */
extern text *chatcrypt_feedbatch_end(ChatcryptFeedBatch *batch);
extern void chatcrypt_feedbatch_drop(ChatcryptFeedBatch *batch);

#endif
