/*
 * waits.h
 *		How sessions waited for the KMS: how often, how long, and how the waits ended.
 *		One wait is one chatcrypt_requests_run(), however many keys it asks for; those of
 *		kms_check() are not counted.  The counters start from 0 when the server starts.
 */
#ifndef CHATCRYPT_WAITS_H
#define CHATCRYPT_WAITS_H

#include "pg/base/histogram.h"

typedef enum ChatcryptWaitEnd
{
	CHATCRYPT_WAIT_ANSWERED,
	CHATCRYPT_WAIT_TIMEOUT,		/* no answer in time */
	CHATCRYPT_WAIT_REFUSED,		/* refused at once, without asking the KMS */
	CHATCRYPT_WAIT_CANCELED,
	CHATCRYPT_WAIT_FAILED		/* the KMS refused, or could not be used */
} ChatcryptWaitEnd;

#define CHATCRYPT_WAIT_ENDS		(CHATCRYPT_WAIT_FAILED + 1)

typedef struct ChatcryptWaits
{
	uint64		ends[CHATCRYPT_WAIT_ENDS];
	ChatcryptHistogram histogram;	/* never counts more waits than ends do */
} ChatcryptWaits;

extern void chatcrypt_waits_request(void);
extern void chatcrypt_waits_startup(void);
extern void chatcrypt_waits_note(ChatcryptWaitEnd end, int64 us);
extern void chatcrypt_waits_read(ChatcryptWaits *waits);

#endif
