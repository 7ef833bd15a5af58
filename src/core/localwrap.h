/*
 * localwrap.h
 *		Wraps a DEK under a master key of our own, for the provider `local`:
 *		01 ‖ u32 master version ‖ salt16 ‖ AES-256-GCM(DEK) ‖ tag16, where
 *		key32 ‖ nonce12 = HKDF-SHA256(master, salt16, "chatcrypt/v1/local" context32).
 */
#ifndef CC_LOCALWRAP_H
#define CC_LOCALWRAP_H

#include "core/aead.h"

#define CC_LOCALWRAP_SALT_LEN	16
#define CC_LOCALWRAP_LEN		(5 + CC_LOCALWRAP_SALT_LEN + CC_DEK_LEN + CC_AEAD_TAG_LEN)

extern CC_MUST_CHECK cc_status cc_localwrap_seal(cc_aead *aead, const uint8_t master[32],
												 uint32_t version,
												 const uint8_t context[CC_CONTEXT_LEN],
												 const uint8_t dek[CC_DEK_LEN],
												 uint8_t wrapped[CC_LOCALWRAP_LEN]);
extern CC_MUST_CHECK cc_status cc_localwrap_seal_salted(cc_aead *aead, const uint8_t master[32],
														uint32_t version,
														const uint8_t context[CC_CONTEXT_LEN],
														const uint8_t salt[CC_LOCALWRAP_SALT_LEN],
														const uint8_t dek[CC_DEK_LEN],
														uint8_t wrapped[CC_LOCALWRAP_LEN]);

/* Reads which version of the master key a wrapped DEK needs. */
extern CC_MUST_CHECK cc_status cc_localwrap_version(const uint8_t *wrapped, size_t len,
													uint32_t *version);

/* The caller wipes dek; it is wiped here on failure. */
extern CC_MUST_CHECK cc_status cc_localwrap_open(cc_aead *aead, const uint8_t master[32],
												 uint32_t version,
												 const uint8_t context[CC_CONTEXT_LEN],
												 const uint8_t *wrapped, size_t len,
												 uint8_t dek[CC_DEK_LEN]);

#endif
