/*
 * slot.h
 *		What a request slot carries: the request to the KMS, and the answer.
 */
#ifndef CHATCRYPT_SLOT_H
#define CHATCRYPT_SLOT_H

#include "pg/service/kmsjob.h"

#define CHATCRYPT_SLOTS		1024
#define CHATCRYPT_NO_SLOT	(-1)

/*
 * Slots that are left to sessions which hold none, so that a session that warms thousands of
 * keys does not keep others out.
 */
#define CHATCRYPT_RESERVED_SLOTS	128

/*
 * The request.  It does not change until the slot is freed, except that the worker clears
 * refresh when it is done.
 */
typedef struct ChatcryptSlotRequest
{
	cc_kms_op	op;
	bool		refresh;		/* a refresh, which no session waits for */
	bool		fresh;			/* ask the KMS, even if an earlier failure is remembered */
	bool		uncached;		/* do not put an unwrapped key into the key cache */
	bool		check_only;		/* do not return an unwrapped key to the session */
	bool		unpinned;		/* id.kcv is not set: neither check nor cache the key */
	uint64		epoch;			/* cache the key only while the key cache has this epoch */
	ChatcryptKeyId id;
	char		kms_key[CC_KMS_URI_MAX];
} ChatcryptSlotRequest;

typedef struct ChatcryptSlotAnswer
{
	cc_kms_outcome outcome;
	bool		wrong_key;
	bool		breaker_open;
	int			held_s;			/* seconds until the KMS may be asked again; 0 for no hold */
	uint64		wrapped_by;
} ChatcryptSlotAnswer;

#endif
