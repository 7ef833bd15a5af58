/*
 * aead.h
 *		AES-256-GCM, re-keyed for every message.  The only file that calls an AEAD.
 *
 * Short messages go to libsodium where the CPU has AES and PCLMUL, because
 * OpenSSL's provider layer costs more than the cipher; long ones and other CPUs
 * go to OpenSSL EVP.  Both give the same bytes.  A context holds the expanded
 * key of its last message: its owner calls cc_aead_forget() when a transaction
 * ends and cc_aead_free() at the end.
 */
#ifndef CC_AEAD_H
#define CC_AEAD_H

#include "core/bytes.h"

#define CC_AEAD_KEY_LEN		32
#define CC_AEAD_NONCE_LEN	12
#define CC_AEAD_TAG_LEN		16

typedef struct cc_aead cc_aead;

typedef enum cc_aead_backend
{
	CC_AEAD_AUTO,				/* whichever is faster for the length */
	CC_AEAD_OPENSSL,
	CC_AEAD_SODIUM
} cc_aead_backend;

/* Initializes the libraries once; call it before fork to spare each child 100 us. */
extern CC_MUST_CHECK cc_status cc_aead_global_init(void);
extern bool cc_aead_has_sodium(void);

/* Returns NULL where memory or the library fails.  The caller frees the context. */
extern cc_aead *cc_aead_new(cc_aead_backend backend);
extern void cc_aead_forget(cc_aead *ctx);
extern void cc_aead_free(cc_aead *ctx);

/* out has len bytes, tag CC_AEAD_TAG_LEN; in and out may be the same but not overlap otherwise. */
extern CC_MUST_CHECK cc_status cc_aead_seal(cc_aead *ctx, const uint8_t key[CC_AEAD_KEY_LEN],
											const uint8_t nonce[CC_AEAD_NONCE_LEN],
											const uint8_t *aad, size_t aad_len,
											const uint8_t *in, size_t len,
											uint8_t *out, uint8_t tag[CC_AEAD_TAG_LEN]);

/* On CC_ERR_AUTH out is wiped. */
extern CC_MUST_CHECK cc_status cc_aead_open(cc_aead *ctx, const uint8_t key[CC_AEAD_KEY_LEN],
											const uint8_t nonce[CC_AEAD_NONCE_LEN],
											const uint8_t *aad, size_t aad_len,
											const uint8_t *in, size_t len,
											const uint8_t tag[CC_AEAD_TAG_LEN], uint8_t *out);

#endif
