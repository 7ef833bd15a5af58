/*
 * searchbatch.h
 *		The text of one batch for the external search index: for each message the lines
 *		that the _bulk API of Elasticsearch and OpenSearch wants.
 *
 * It holds plaintext: whoever made a batch ends or drops it.
 */
#ifndef CHATCRYPT_SEARCHBATCH_H
#define CHATCRYPT_SEARCHBATCH_H

#include "core/bytes.h"
#include "pg/search/ndjson.h"
#include "pg/store/owner.h"

/* What became of a row of the outbox.  Those that found no room are in neither. */
typedef enum ChatcryptBatchFate
{
	CHATCRYPT_BATCH_HAS,
	CHATCRYPT_BATCH_PUT_OFF,	/* no key to be had now */
	CHATCRYPT_BATCH_FATES
} ChatcryptBatchFate;

#define CHATCRYPT_BATCH_MOST_DOWN	3

typedef struct ChatcryptSearchBatch
{
	int64		number;			/* the version of its documents; the caller's to set before it is filled */
	ChatcryptNdjson lines;
	char	   *index;			/* JSON */
	MemoryContext context;
	Datum	   *positions[CHATCRYPT_BATCH_FATES];
	int			count[CHATCRYPT_BATCH_FATES];
	const char *problem;		/* of those put off */
	uint8		down[CHATCRYPT_BATCH_MOST_DOWN][CC_ID_LEN]; /* chats whose key is not to be had */
	int			ndown;
	bool		full;
} ChatcryptSearchBatch;

/* In the current memory context. */
extern ChatcryptSearchBatch *chatcrypt_batch_new(const text *index);

/*
 * Inside an owner scope: writes what there is to say of these messages (an array of
 * positions in the outbox and one of message ids), in their order, until it is full.
 */
extern void chatcrypt_batch_fill(ChatcryptSearchBatch *batch, const ChatcryptArg picked[2]);

/* Positions of one fate, as an argument of a statement. */
extern ChatcryptArg chatcrypt_batch_positions(const ChatcryptSearchBatch *batch,
											  ChatcryptBatchFate fate);

/* The text, or NULL where there is none; warns of what was put off. */
extern text *chatcrypt_batch_end(ChatcryptSearchBatch *batch);
extern void chatcrypt_batch_drop(ChatcryptSearchBatch *batch);

#endif
