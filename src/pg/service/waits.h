/*
 * waits.h
 *		What sessions saw of the KMS: how often and how long they waited, and how it
 *		ended.  One wait is one run of requests, however many keys it asks for; what
 *		kms_check() tries out is not counted.  Counters since the server started.
 */
#ifndef CHATCRYPT_WAITS_H
#define CHATCRYPT_WAITS_H

#include "pg/base/histogram.h"

typedef enum ChatcryptWaitEnd
{
	CHATCRYPT_WAIT_ANSWERED,
	CHATCRYPT_WAIT_TIMEOUT,		/* no answer in time */
	CHATCRYPT_WAIT_REFUSED,		/* at once: the KMS was not asked */
	CHATCRYPT_WAIT_CANCELED,
	CHATCRYPT_WAIT_FAILED		/* the KMS said no, or could not be used */
} ChatcryptWaitEnd;

#define CHATCRYPT_WAIT_ENDS		(CHATCRYPT_WAIT_FAILED + 1)

typedef struct ChatcryptWaits
{
	uint64		ends[CHATCRYPT_WAIT_ENDS];
	ChatcryptHistogram histogram;	/* of no more waits than there are ends */
} ChatcryptWaits;

extern void chatcrypt_waits_request(void);
extern void chatcrypt_waits_startup(void);
extern void chatcrypt_waits_note(ChatcryptWaitEnd end, int64 us);
extern void chatcrypt_waits_read(ChatcryptWaits *waits);

#endif
