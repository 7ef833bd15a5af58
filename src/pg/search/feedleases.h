/*
 * feedleases.h
 *		Leases of the outbox of the external search index: rows that belong to a batch until
 *		it is acknowledged or the lease ends.  ack_search_feed() and nack_search_feed() are
 *		here; feeddrain.c makes the batches.
 */
#ifndef CHATCRYPT_FEEDLEASES_H
#define CHATCRYPT_FEEDLEASES_H

#include "utils/timestamp.h"

#include "pg/search/feedbatch.h"

/* Checks that the caller may use the feed.  function is the name that an error shows. */
extern void chatcrypt_feedleases_require(const char *function);

/* Both inside an owner scope. */

/* Leases the rows that are in the batch, until this time. */
extern void chatcrypt_feedleases_begin(const ChatcryptFeedBatch *batch, TimestampTz until);

/* Has the rows that the batch put off wait before they are tried again. */
extern void chatcrypt_feedleases_put_off(const ChatcryptFeedBatch *batch);

#endif
