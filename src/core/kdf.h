/*
 * kdf.h
 *		HKDF-SHA256 whose HMAC states are kept, and the key schedule on top of it.
 *
 * PRK    = HKDF-Extract(salt "chatcrypt/v1", DEK)
 * K(use) = HKDF-Expand(PRK, "chatcrypt/v1/" use 00 chat_id u32 version, 32)
 *
 * An HMAC key is kept as the two SHA-256 states that follow its inner and its
 * outer padded block, so that a short HMAC costs two compressions and no set-up.
 * The states are as secret as the key they come from: their owner wipes them.
 * Nothing here allocates or keeps anything between calls.
 */
#ifndef CC_KDF_H
#define CC_KDF_H

#include "core/bytes.h"

#define CC_SHA256_LEN 32

typedef struct cc_hmac_key
{
	uint32_t	inner[8];
	uint32_t	outer[8];
} cc_hmac_key;

extern void cc_hmac_key_init(cc_hmac_key *key, const void *secret, size_t len);
extern void cc_hmac(const cc_hmac_key *key, const void *data, size_t len,
					uint8_t mac[CC_SHA256_LEN]);

extern void cc_sha256(const void *data, size_t len, uint8_t digest[CC_SHA256_LEN]);

/* HKDF-Extract of RFC 5869; an empty salt counts as 32 zero bytes.  The caller wipes prk. */
extern void cc_hkdf_extract(const void *salt, size_t salt_len, const void *ikm, size_t ikm_len,
							uint8_t prk[CC_SHA256_LEN]);

/* At most 255 * 32 bytes of output and 256 bytes of info.  The caller wipes out. */
extern CC_MUST_CHECK cc_status cc_hkdf_expand(const cc_hmac_key *prk, const void *info,
											  size_t info_len, void *out, size_t out_len);

/*
 * Derives 32 bytes under each of two keys from one info of at most 54 bytes, which is
 * what a message needs: the same as two calls of cc_hkdf_expand(), at 3/4 of the price,
 * since the padded block is made once and the CPU overlaps the two.  The caller
 * wipes both outputs.
 */
#define CC_EXPAND_PAIR_INFO_MAX 54
extern CC_MUST_CHECK cc_status cc_hkdf_expand_pair(const cc_hmac_key *prk_a,
												   const cc_hmac_key *prk_b, const void *info,
												   size_t info_len, uint8_t out_a[CC_SHA256_LEN],
												   uint8_t out_b[CC_SHA256_LEN]);

/*
 * HKDF-Expand with SHA-512, which attachments use.  The info is given in two
 * pieces, which need not be adjacent.  The caller wipes out.
 */
extern CC_MUST_CHECK cc_status cc_hkdf512_expand(const uint8_t prk[CC_DEK_LEN],
												 const void *info, size_t info_len,
												 const void *more_info, size_t more_info_len,
												 void *out, size_t out_len);

/* The uses of a DEK. */
typedef enum cc_key_use
{
	CC_USE_MESSAGE,
	CC_USE_COMMIT,
	CC_USE_ATTACHMENT,
	CC_USE_SEARCH,
	CC_USE_KCV
} cc_key_use;

/* Derives K(use) of one DEK.  The caller wipes out. */
extern CC_MUST_CHECK cc_status cc_dek_derive(const uint8_t dek[CC_DEK_LEN],
											 const uint8_t chat_id[CC_ID_LEN], uint32_t version,
											 cc_key_use use, uint8_t out[CC_DEK_LEN]);

/*
 * Derives K(use) for several uses, each as an HMAC key: the same as calling cc_dek_derive()
 * and cc_hmac_key_init() for each, at half the price.  The caller wipes the keys, also where
 * this fails.
 */
extern CC_MUST_CHECK cc_status cc_dek_derive_hmac_keys(const uint8_t dek[CC_DEK_LEN],
													   const uint8_t chat_id[CC_ID_LEN],
													   uint32_t version, const cc_key_use *uses,
													   cc_hmac_key *const *keys, size_t count);

/* The key check value, which is public and pins the DEK of a version. */
extern CC_MUST_CHECK cc_status cc_dek_kcv(const uint8_t dek[CC_DEK_LEN],
										  const uint8_t chat_id[CC_ID_LEN], uint32_t version,
										  uint8_t kcv[CC_KCV_LEN]);

/*
 * The 32 bytes that tell a KMS which DEK it wraps:
 * SHA-256("chatcrypt/v1/wrap" 00 deployment_id chat_id purpose 00 u32 version).
 */
extern CC_MUST_CHECK cc_status cc_wrap_context(const uint8_t deployment_id[CC_ID_LEN],
											   const uint8_t chat_id[CC_ID_LEN],
											   const char *purpose, uint32_t version,
											   uint8_t context[CC_CONTEXT_LEN]);

#endif
