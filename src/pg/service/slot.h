/*
 * slot.h
 *		What a request slot carries: what is asked of the KMS, and the answer.
 */
#ifndef CHATCRYPT_SLOT_H
#define CHATCRYPT_SLOT_H

#include "pg/service/kmsjob.h"

#define CHATCRYPT_SLOTS		1024
#define CHATCRYPT_NO_SLOT	(-1)

/* Left to sessions that hold none, so that one that warms thousands of keys keeps none out. */
#define CHATCRYPT_RESERVED_SLOTS	128

/* What is asked.  Does not change while the slot is not free. */
typedef struct ChatcryptSlotRequest
{
	cc_kms_op	op;
	bool		refresh;		/* nobody waits for it */
	bool		fresh;			/* ask the KMS, whatever is remembered of it */
	bool		uncached;		/* an unwrapped key does not go into the key cache */
	bool		check_only;		/* nor to the session that asked */
	bool		unpinned;		/* id.kcv is not set: the key is not compared with it, nor cached */
	uint64		epoch;			/* into the key cache only while this is its epoch */
	ChatcryptKeyId id;
	char		kms_key[CC_KMS_URI_MAX];
} ChatcryptSlotRequest;

typedef struct ChatcryptSlotAnswer
{
	cc_kms_outcome outcome;
	bool		wrong_key;
	bool		breaker_open;
	int			held_s;			/* the KMS will be asked again after so many seconds; 0 for no hold */
	uint64		wrapped_by;
} ChatcryptSlotAnswer;

#endif
