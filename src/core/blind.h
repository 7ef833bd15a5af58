/*
 * blind.h
 *		Keyed search tokens: the first 8 bytes of HMAC-SHA256(K(search), kind ‖ UTF-8 token),
 *		cut to their first `bits`.
 */
#ifndef CC_BLIND_H
#define CC_BLIND_H

#include "core/kdf.h"

#define CC_BLIND_LEN		8
#define CC_BLIND_TOKEN_MAX	1024

typedef enum cc_blind_kind
{
	CC_BLIND_WORD = 'w',
	CC_BLIND_PREFIX = 'p',
	CC_BLIND_TRIGRAM = 't'
} cc_blind_kind;

/* bits is 1 to 64; search_key is the kept HMAC key of K(search). */
extern CC_MUST_CHECK cc_status cc_blind_token(const cc_hmac_key *search_key, cc_blind_kind kind,
											  const char *token, size_t len, int bits,
											  uint8_t out[CC_BLIND_LEN]);

#endif
