/*
 * kdf.c
 *		SHA-256 from kept states, HMAC and HKDF over it, and the key schedule.
 *
 * This file uses OpenSSL's deprecated low-level SHA functions, and is the only
 * one that may.  The supported EVP interface has no way to start a digest from a
 * state and copies heap objects instead, at ten times the price of the two
 * compressions that a short HMAC is; the low-level functions are the same
 * assembly (SHA-NI where the CPU has it) on a plain struct that we wipe ourselves.
 */
#define OPENSSL_SUPPRESS_DEPRECATED

#include <string.h>

#include <openssl/sha.h>

#include "core/kdf.h"

#define SHA256_BLOCK_LEN	64
#define SHA512_BLOCK_LEN	128
#define INFO_MAX			256
#define PURPOSE_MAX			32

static const uint32_t sha256_start[8] = {
	0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
	0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19
};

static void
put_u32(uint8_t *out, uint32_t value)
{
	out[0] = (uint8_t) (value >> 24);
	out[1] = (uint8_t) (value >> 16);
	out[2] = (uint8_t) (value >> 8);
	out[3] = (uint8_t) value;
}

/* Of the context only h is ever used: the compression function reads no more. */
static void
start_from(SHA256_CTX *sha, const uint32_t state[8])
{
	for (int i = 0; i < 8; i++)
		sha->h[i] = state[i];
}

/* Ends a hash of which `before` bytes, whole blocks, are absorbed already; wipes the state. */
static void
finish(SHA256_CTX *sha, uint64_t before, const uint8_t *data, size_t len, uint8_t digest[CC_SHA256_LEN])
{
	uint64_t	bits = (before + len) * 8;
	uint8_t		block[SHA256_BLOCK_LEN];

	for (; len >= SHA256_BLOCK_LEN; len -= SHA256_BLOCK_LEN, data += SHA256_BLOCK_LEN)
		SHA256_Transform(sha, data);

	memset(block, 0, sizeof(block));
	if (len > 0)
		memcpy(block, data, len);
	block[len] = 0x80;
	if (len >= SHA256_BLOCK_LEN - 8)
	{
		SHA256_Transform(sha, block);
		memset(block, 0, sizeof(block));
	}
	put_u32(block + 56, (uint32_t) (bits >> 32));
	put_u32(block + 60, (uint32_t) bits);
	SHA256_Transform(sha, block);

	for (int i = 0; i < 8; i++)
		put_u32(digest + 4 * i, sha->h[i]);
	cc_wipe(block, sizeof(block));
	cc_wipe(sha->h, sizeof(sha->h));
}

void
cc_sha256(const void *data, size_t len, uint8_t digest[CC_SHA256_LEN])
{
	SHA256_CTX	sha;

	start_from(&sha, sha256_start);
	finish(&sha, 0, data, len, digest);
}

void
cc_hmac_key_init(cc_hmac_key *key, const void *secret, size_t len)
{
	SHA256_CTX	sha;
	uint8_t		block[SHA256_BLOCK_LEN];

	memset(block, 0, sizeof(block));
	if (len > sizeof(block))
		cc_sha256(secret, len, block);
	else if (len > 0)
		memcpy(block, secret, len);

	for (size_t i = 0; i < sizeof(block); i++)
		block[i] ^= 0x36;
	start_from(&sha, sha256_start);
	SHA256_Transform(&sha, block);
	for (int i = 0; i < 8; i++)
		key->inner[i] = sha.h[i];

	for (size_t i = 0; i < sizeof(block); i++)
		block[i] ^= 0x36 ^ 0x5c;
	start_from(&sha, sha256_start);
	SHA256_Transform(&sha, block);
	for (int i = 0; i < 8; i++)
		key->outer[i] = sha.h[i];

	cc_wipe(block, sizeof(block));
	cc_wipe(sha.h, sizeof(sha.h));
}

void
cc_hmac(const cc_hmac_key *key, const void *data, size_t len, uint8_t mac[CC_SHA256_LEN])
{
	SHA256_CTX	sha;
	uint8_t		inner[CC_SHA256_LEN];

	start_from(&sha, key->inner);
	finish(&sha, SHA256_BLOCK_LEN, data, len, inner);
	start_from(&sha, key->outer);
	finish(&sha, SHA256_BLOCK_LEN, inner, sizeof(inner), mac);
	cc_wipe(inner, sizeof(inner));
}

void
cc_hkdf_extract(const void *salt, size_t salt_len, const void *ikm, size_t ikm_len,
				uint8_t prk[CC_SHA256_LEN])
{
	cc_hmac_key key;

	/* HMAC pads its key with zeroes: no salt and 32 zero bytes are one key. */
	cc_hmac_key_init(&key, salt, salt_len);
	cc_hmac(&key, ikm, ikm_len, prk);
	cc_wipe(&key, sizeof(key));
}

cc_status
cc_hkdf_expand(const cc_hmac_key *prk, const void *info, size_t info_len, void *out, size_t out_len)
{
	uint8_t		input[CC_SHA256_LEN + INFO_MAX + 1];	/* T(n-1), info, n */
	uint8_t		block[CC_SHA256_LEN];
	uint8_t    *at = out;
	size_t		chained = 0;

	if (info_len > INFO_MAX || out_len > 255 * CC_SHA256_LEN)
		return CC_ERR_TOO_LARGE;

	for (uint8_t n = 1; out_len > 0; n++)
	{
		size_t		part = out_len < sizeof(block) ? out_len : sizeof(block);

		if (info_len > 0)
			memcpy(input + chained, info, info_len);
		input[chained + info_len] = n;
		cc_hmac(prk, input, chained + info_len + 1, block);
		memcpy(at, block, part);
		at += part;
		out_len -= part;

		chained = sizeof(block);
		if (out_len > 0)
			memcpy(input, block, sizeof(block));
	}
	cc_wipe(block, sizeof(block));
	cc_wipe(input, CC_SHA256_LEN);
	return CC_OK;
}

/* Absorbs the key's padded block. */
static void
start_hmac512(SHA512_CTX *sha, const uint8_t key[CC_DEK_LEN], uint8_t pad)
{
	uint8_t		block[SHA512_BLOCK_LEN];

	memset(block, pad, sizeof(block));
	for (int i = 0; i < CC_DEK_LEN; i++)
		block[i] ^= key[i];
	SHA512_Init(sha);
	SHA512_Update(sha, block, sizeof(block));
	cc_wipe(block, sizeof(block));
}

cc_status
cc_hkdf512_expand(const uint8_t prk[CC_DEK_LEN], const void *info, size_t info_len,
				  const void *more_info, size_t more_info_len, void *out, size_t out_len)
{
	SHA512_CTX	sha;
	uint8_t		block[SHA512_DIGEST_LENGTH];
	uint8_t    *at = out;

	if (out_len > 255 * sizeof(block))
		return CC_ERR_TOO_LARGE;

	for (uint8_t n = 1; out_len > 0; n++)
	{
		size_t		part = out_len < sizeof(block) ? out_len : sizeof(block);

		start_hmac512(&sha, prk, 0x36);
		if (n > 1)
			SHA512_Update(&sha, block, sizeof(block));
		SHA512_Update(&sha, info, info_len);
		SHA512_Update(&sha, more_info, more_info_len);
		SHA512_Update(&sha, &n, 1);
		SHA512_Final(block, &sha);

		start_hmac512(&sha, prk, 0x5c);
		SHA512_Update(&sha, block, sizeof(block));
		SHA512_Final(block, &sha);

		memcpy(at, block, part);
		at += part;
		out_len -= part;
	}
	cc_wipe(block, sizeof(block));
	cc_wipe(&sha, sizeof(sha));
	return CC_OK;
}

cc_status
cc_dek_derive(const uint8_t dek[CC_DEK_LEN], const uint8_t chat_id[CC_ID_LEN], uint32_t version,
			  cc_key_use use, uint8_t out[CC_DEK_LEN])
{
	static const char salt[] = "chatcrypt/v1";
	static const char prefix[] = "chatcrypt/v1/";
	static const char *const use_names[] = {
		[CC_USE_MESSAGE] = "message",
		[CC_USE_COMMIT] = "commit",
		[CC_USE_ATTACHMENT] = "attachment",
		[CC_USE_SEARCH] = "search",
		[CC_USE_KCV] = "kcv"
	};
	uint8_t		info[64];
	uint8_t		prk[CC_SHA256_LEN];
	cc_hmac_key prk_key;
	cc_writer	w = cc_writer_init(info, sizeof(info));
	cc_status	status;

	if (version == 0)
		return CC_ERR_VERSION;
	if ((size_t) use >= sizeof(use_names) / sizeof(use_names[0]))
		return CC_ERR_ARGUMENT;

	cc_write_bytes(&w, prefix, strlen(prefix));
	cc_write_bytes(&w, use_names[use], strlen(use_names[use]) + 1);	/* with the 00 */
	cc_write_bytes(&w, chat_id, CC_ID_LEN);
	cc_write_u32(&w, version);
	if (!cc_writer_ok(&w))
		return CC_ERR_ARGUMENT;

	cc_hkdf_extract(salt, strlen(salt), dek, CC_DEK_LEN, prk);
	cc_hmac_key_init(&prk_key, prk, sizeof(prk));
	status = cc_hkdf_expand(&prk_key, info, sizeof(info) - w.left, out, CC_DEK_LEN);
	cc_wipe(prk, sizeof(prk));
	cc_wipe(&prk_key, sizeof(prk_key));
	return status;
}

cc_status
cc_dek_kcv(const uint8_t dek[CC_DEK_LEN], const uint8_t chat_id[CC_ID_LEN], uint32_t version,
		   uint8_t kcv[CC_KCV_LEN])
{
	return cc_dek_derive(dek, chat_id, version, CC_USE_KCV, kcv);
}

cc_status
cc_wrap_context(const uint8_t deployment_id[CC_ID_LEN], const uint8_t chat_id[CC_ID_LEN],
				const char *purpose, uint32_t version, uint8_t context[CC_CONTEXT_LEN])
{
	static const char label[] = "chatcrypt/v1/wrap";
	uint8_t		input[sizeof(label) + 2 * CC_ID_LEN + PURPOSE_MAX + 1 + 4];
	size_t		purpose_len = strnlen(purpose, PURPOSE_MAX + 1);
	cc_writer	w = cc_writer_init(input, sizeof(input));

	if (version == 0)
		return CC_ERR_VERSION;
	if (purpose_len == 0 || purpose_len > PURPOSE_MAX)
		return CC_ERR_ARGUMENT;

	cc_write_bytes(&w, label, sizeof(label));	/* with the 00 */
	cc_write_bytes(&w, deployment_id, CC_ID_LEN);
	cc_write_bytes(&w, chat_id, CC_ID_LEN);
	cc_write_bytes(&w, purpose, purpose_len + 1);
	cc_write_u32(&w, version);
	if (!cc_writer_ok(&w))
		return CC_ERR_ARGUMENT;
	cc_sha256(input, sizeof(input) - w.left, context);
	return CC_OK;
}
