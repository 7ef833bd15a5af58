/*
 * aead.c
 *		AES-256-GCM through libsodium or OpenSSL.  No other file calls an AEAD.
 */
#include <limits.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <sodium.h>

#include "core/aead.h"

/*
 * Up to this many bytes libsodium is the faster one: it has no set-up to speak
 * of, but handles fewer blocks at a time.  Measured by `make bench-core` with
 * libsodium 1.0.18 and OpenSSL 3.0.19 on an AMD EPYC with VAES, re-keyed opens:
 * 256 bytes 221 ns against 388, 640 bytes 449 against 471, 768 bytes 526 against
 * 492, 2,048 bytes 1,288 against 778.
 */
#define SODIUM_MAX		704

/* The longest input that both interfaces take: EVP counts in int. */
#define LEN_MAX			((size_t) INT_MAX - CC_AEAD_TAG_LEN)

struct cc_aead
{
	crypto_aead_aes256gcm_state sodium; /* first, because it needs 16-byte alignment */
	EVP_CIPHER_CTX *evp;		/* NULL where only libsodium may be used */
	size_t		sodium_max;		/* longest input for libsodium */
	bool		has_sodium;
	bool		sodium_keyed;	/* holds an expanded key */
	bool		evp_keyed;
};

/* Fetched once: a fetch costs more than an encryption.  Lives as long as the process. */
static _Atomic(EVP_CIPHER *) aes_256_gcm;

cc_status
cc_aead_global_init(void)
{
	EVP_CIPHER *fetched;
	EVP_CIPHER *expected = NULL;

	if (sodium_init() < 0)
		return CC_ERR_CRYPTO;
	if (atomic_load(&aes_256_gcm) != NULL)
		return CC_OK;
	fetched = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
	if (fetched == NULL)
		return CC_ERR_CRYPTO;
	if (!atomic_compare_exchange_strong(&aes_256_gcm, &expected, fetched))
		EVP_CIPHER_free(fetched);	/* another thread was first */
	return CC_OK;
}

bool
cc_aead_has_sodium(void)
{
	return cc_aead_global_init() == CC_OK && crypto_aead_aes256gcm_is_available() == 1;
}

cc_aead *
cc_aead_new(cc_aead_backend backend)
{
	cc_aead    *ctx;
	bool		has_sodium = cc_aead_has_sodium();

	if (cc_aead_global_init() != CC_OK || (backend == CC_AEAD_SODIUM && !has_sodium))
		return NULL;

	/* Whole cache lines, so that no other allocation shares one with a key. */
	ctx = aligned_alloc(64, (sizeof(cc_aead) + 63) / 64 * 64);
	if (ctx == NULL)
		return NULL;
	memset(ctx, 0, sizeof(*ctx));
	ctx->has_sodium = has_sodium && backend != CC_AEAD_OPENSSL;
	ctx->sodium_max = backend == CC_AEAD_SODIUM ? LEN_MAX : SODIUM_MAX;
	if (backend != CC_AEAD_SODIUM)
	{
		ctx->evp = EVP_CIPHER_CTX_new();
		if (ctx->evp == NULL)
		{
			free(ctx);
			return NULL;
		}
	}
	return ctx;
}

void
cc_aead_forget(cc_aead *ctx)
{
	if (ctx->sodium_keyed)
		cc_wipe(&ctx->sodium, sizeof(ctx->sodium));
	ctx->sodium_keyed = false;

	/* Setting another key would leave the last keystream block; a reset clears all. */
	if (ctx->evp_keyed)
		EVP_CIPHER_CTX_reset(ctx->evp);
	ctx->evp_keyed = false;
}

void
cc_aead_free(cc_aead *ctx)
{
	if (ctx == NULL)
		return;
	cc_aead_forget(ctx);
	EVP_CIPHER_CTX_free(ctx->evp);
	cc_wipe(ctx, sizeof(*ctx));
	free(ctx);
}

/* Keys the EVP context for one message.  Only the first message has to set the cipher. */
static cc_status
evp_start(cc_aead *ctx, const uint8_t *key, const uint8_t *nonce,
		  const uint8_t *aad, size_t aad_len, int encrypt)
{
	EVP_CIPHER *cipher = ctx->evp_keyed ? NULL : atomic_load(&aes_256_gcm);
	int			unused;

	ctx->evp_keyed = true;		/* even a failure may leave it half set */
	if (EVP_CipherInit_ex2(ctx->evp, cipher, key, nonce, encrypt, NULL) != 1)
		return CC_ERR_CRYPTO;
	if (aad_len > 0 && EVP_CipherUpdate(ctx->evp, NULL, &unused, aad, (int) aad_len) != 1)
		return CC_ERR_CRYPTO;
	return CC_OK;
}

static cc_status
evp_seal(cc_aead *ctx, const uint8_t *key, const uint8_t *nonce, const uint8_t *aad, size_t aad_len,
		 const uint8_t *in, size_t len, uint8_t *out, uint8_t *tag)
{
	cc_status	status = evp_start(ctx, key, nonce, aad, aad_len, 1);
	uint8_t		rest[EVP_MAX_BLOCK_LENGTH];
	int			written;

	if (status != CC_OK)
		return status;
	if (len > 0 && EVP_CipherUpdate(ctx->evp, out, &written, in, (int) len) != 1)
		return CC_ERR_CRYPTO;
	if (EVP_CipherFinal_ex(ctx->evp, rest, &written) != 1 ||
		EVP_CIPHER_CTX_ctrl(ctx->evp, EVP_CTRL_AEAD_GET_TAG, CC_AEAD_TAG_LEN, tag) != 1)
		return CC_ERR_CRYPTO;
	return CC_OK;
}

static cc_status
evp_open(cc_aead *ctx, const uint8_t *key, const uint8_t *nonce, const uint8_t *aad, size_t aad_len,
		 const uint8_t *in, size_t len, const uint8_t *tag, uint8_t *out)
{
	cc_status	status = evp_start(ctx, key, nonce, aad, aad_len, 0);
	uint8_t		expected[CC_AEAD_TAG_LEN];
	uint8_t		rest[EVP_MAX_BLOCK_LENGTH];
	int			written;

	if (status != CC_OK)
		return status;

	/* A copy, since the interface takes the tag without const. */
	memcpy(expected, tag, sizeof(expected));
	if (len > 0 && EVP_CipherUpdate(ctx->evp, out, &written, in, (int) len) != 1)
		return CC_ERR_CRYPTO;
	if (EVP_CIPHER_CTX_ctrl(ctx->evp, EVP_CTRL_AEAD_SET_TAG, CC_AEAD_TAG_LEN, expected) != 1)
		return CC_ERR_CRYPTO;
	return EVP_CipherFinal_ex(ctx->evp, rest, &written) == 1 ? CC_OK : CC_ERR_AUTH;
}

/*
 * How much of the stack libsodium's decryption may use.  As Debian 13 builds it,
 * decryption leaves the first half of the key there; encryption leaves nothing.
 */
#define SODIUM_FRAMES	1024

static bool
use_sodium(const cc_aead *ctx, size_t len)
{
	return ctx->has_sodium && len <= ctx->sodium_max;
}

cc_status
cc_aead_seal(cc_aead *ctx, const uint8_t key[CC_AEAD_KEY_LEN],
			 const uint8_t nonce[CC_AEAD_NONCE_LEN], const uint8_t *aad, size_t aad_len,
			 const uint8_t *in, size_t len, uint8_t *out, uint8_t tag[CC_AEAD_TAG_LEN])
{
	if (len > LEN_MAX || aad_len > LEN_MAX)
		return CC_ERR_TOO_LARGE;
	if (!use_sodium(ctx, len))
		return evp_seal(ctx, key, nonce, aad, aad_len, in, len, out, tag);

	ctx->sodium_keyed = true;
	crypto_aead_aes256gcm_beforenm(&ctx->sodium, key);
	crypto_aead_aes256gcm_encrypt_detached_afternm(out, tag, NULL, in, len, aad, aad_len,
												   NULL, nonce, &ctx->sodium);
	return CC_OK;
}

cc_status
cc_aead_open(cc_aead *ctx, const uint8_t key[CC_AEAD_KEY_LEN],
			 const uint8_t nonce[CC_AEAD_NONCE_LEN], const uint8_t *aad, size_t aad_len,
			 const uint8_t *in, size_t len, const uint8_t tag[CC_AEAD_TAG_LEN], uint8_t *out)
{
	cc_status	status;

	if (len > LEN_MAX || aad_len > LEN_MAX)
		return CC_ERR_TOO_LARGE;
	if (use_sodium(ctx, len))
	{
		ctx->sodium_keyed = true;
		crypto_aead_aes256gcm_beforenm(&ctx->sodium, key);
		if (crypto_aead_aes256gcm_decrypt_detached_afternm(out, NULL, in, len, tag, aad, aad_len,
														   nonce, &ctx->sodium) == 0)
			status = CC_OK;
		else
			status = CC_ERR_AUTH;
		sodium_stackzero(SODIUM_FRAMES);
	}
	else
		status = evp_open(ctx, key, nonce, aad, aad_len, in, len, tag, out);

	if (status != CC_OK)
		cc_wipe(out, len);
	return status;
}
