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

#include <arpa/inet.h>			/* htonl */
#include <string.h>

#include <openssl/sha.h>

#include "core/kdf.h"

#define SHA256_BLOCK_LEN	64
#define SHA512_BLOCK_LEN	128
#define LAST_BLOCK_MAX		(SHA256_BLOCK_LEN - 9)	/* what fits in one block with the padding */
#define INFO_MAX			256
#define USE_INFO_MAX		64
#define PURPOSE_MAX			32

/* The stack of OpenSSL's deepest compression (its frame is aligned to 2 kB) and its callers. */
#define STACK_BELOW			4096

static const uint32_t sha256_start[8] = {
	0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
	0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19
};

/* Writes whole words through htonl: for single bytes gcc emits 100 vector instructions (15 ns). */
static void
put_u32(uint8_t *out, uint32_t value)
{
	uint32_t	big_endian = htonl(value);

	memcpy(out, &big_endian, sizeof(big_endian));
}

/*
 * We use only h, and data as the room for a padded block; the compression function
 * reads only h.  One wipe of the whole context then clears everything.
 */
static void
start_from(SHA256_CTX *sha, const uint32_t state[8])
{
	memcpy(sha->h, state, sizeof(sha->h));
}

/*
 * Wipes the stack below the caller.  On CPUs without SHA-NI OpenSSL leaves the
 * expanded block in its frame, and the block of a key is the key itself, so this is
 * called after a block that holds a key.  Blocks of messages do not justify the cost.
 */
static __attribute__((noinline)) void
wipe_stack_below(void)
{
	uint8_t		frames[STACK_BELOW];

	cc_wipe(frames, sizeof(frames));
}

static void
put_state(const SHA256_CTX *sha, uint8_t digest[CC_SHA256_LEN])
{
	for (int i = 0; i < 8; i++)
		put_u32(digest + 4 * i, sha->h[i]);
}

/* Pads a block that holds the last len bytes, at most 55, of a message of total bytes. */
static void
pad_block(uint8_t block[SHA256_BLOCK_LEN], size_t len, uint64_t total)
{
	block[len] = 0x80;
	memset(block + len + 1, 0, SHA256_BLOCK_LEN - 8 - len - 1);
	put_u32(block + 56, (uint32_t) (total >> 29));
	put_u32(block + 60, (uint32_t) (total << 3));
}

/* Ends a hash that has absorbed `before` bytes, in whole blocks.  The caller wipes sha. */
static void
finish(SHA256_CTX *sha, uint64_t before, const uint8_t *bytes, size_t len,
	   uint8_t digest[CC_SHA256_LEN])
{
	uint8_t    *block = (uint8_t *) sha->data;
	uint64_t	total = before + len;

	for (; len >= SHA256_BLOCK_LEN; len -= SHA256_BLOCK_LEN, bytes += SHA256_BLOCK_LEN)
		SHA256_Transform(sha, bytes);

	if (len > 0)
		memmove(block, bytes, len);
	if (len > LAST_BLOCK_MAX)
	{
		block[len] = 0x80;
		memset(block + len + 1, 0, SHA256_BLOCK_LEN - len - 1);
		SHA256_Transform(sha, block);
		pad_block(block, 0, total);
		block[0] = 0;			/* the 0x80 was in the block before */
	}
	else
		pad_block(block, len, total);
	SHA256_Transform(sha, block);
	put_state(sha, digest);
}

void
cc_sha256(const void *data, size_t len, uint8_t digest[CC_SHA256_LEN])
{
	SHA256_CTX	sha;

	start_from(&sha, sha256_start);
	finish(&sha, 0, data, len, digest);
	cc_wipe(&sha, sizeof(sha));
}

/* Computes the state after one block of the key under a pad. */
static void
absorb_key(SHA256_CTX *sha, const uint8_t key_block[SHA256_BLOCK_LEN], uint8_t pad,
		   uint32_t state[8])
{
	uint8_t    *block = (uint8_t *) sha->data;

	for (int i = 0; i < SHA256_BLOCK_LEN; i++)
		block[i] = key_block[i] ^ pad;
	start_from(sha, sha256_start);
	SHA256_Transform(sha, block);
	memcpy(state, sha->h, sizeof(sha->h));
}

/* Leaves the key in the stack below it: the caller wipes that. */
static void
key_init(cc_hmac_key *key, const void *secret, size_t len)
{
	SHA256_CTX	sha;
	uint8_t		key_block[SHA256_BLOCK_LEN] = {0};

	if (len > sizeof(key_block))
		cc_sha256(secret, len, key_block);
	else if (len > 0)
		memcpy(key_block, secret, len);
	absorb_key(&sha, key_block, 0x36, key->inner);
	absorb_key(&sha, key_block, 0x5c, key->outer);
	cc_wipe(key_block, sizeof(key_block));
	cc_wipe(&sha, sizeof(sha));
}

void
cc_hmac_key_init(cc_hmac_key *key, const void *secret, size_t len)
{
	key_init(key, secret, len);
	wipe_stack_below();
}

void
cc_hmac(const cc_hmac_key *key, const void *data, size_t len, uint8_t mac[CC_SHA256_LEN])
{
	SHA256_CTX	sha;
	uint8_t    *inner = (uint8_t *) sha.data;	/* where the outer hash needs it anyway */

	start_from(&sha, key->inner);
	finish(&sha, SHA256_BLOCK_LEN, data, len, inner);
	start_from(&sha, key->outer);
	finish(&sha, SHA256_BLOCK_LEN, inner, CC_SHA256_LEN, mac);
	cc_wipe(&sha, sizeof(sha));
}

static void
extract(const void *salt, size_t salt_len, const void *ikm, size_t ikm_len,
		uint8_t prk[CC_SHA256_LEN])
{
	cc_hmac_key key;

	/* HMAC pads its key with zeroes, so that an empty salt and 32 zero bytes are the same key. */
	key_init(&key, salt, salt_len);
	cc_hmac(&key, ikm, ikm_len, prk);
	cc_wipe(&key, sizeof(key));
}

void
cc_hkdf_extract(const void *salt, size_t salt_len, const void *ikm, size_t ikm_len,
				uint8_t prk[CC_SHA256_LEN])
{
	extract(salt, salt_len, ikm, ikm_len, prk);
	wipe_stack_below();
}

cc_status
cc_hkdf_expand(const cc_hmac_key *prk, const void *info, size_t info_len, void *out, size_t out_len)
{
	uint8_t		input[CC_SHA256_LEN + INFO_MAX + 1];	/* T(n-1), info, n */
	uint8_t		last[CC_SHA256_LEN];
	uint8_t    *at = out;
	size_t		chained = 0;

	if (info_len > INFO_MAX || out_len > 255 * CC_SHA256_LEN)
		return CC_ERR_TOO_LARGE;

	for (uint8_t n = 1; out_len > 0; n++)
	{
		if (info_len > 0)
			memcpy(input + chained, info, info_len);
		input[chained + info_len] = n;
		if (out_len < CC_SHA256_LEN)
		{
			cc_hmac(prk, input, chained + info_len + 1, last);
			memcpy(at, last, out_len);
			cc_wipe(last, sizeof(last));
			break;
		}
		cc_hmac(prk, input, chained + info_len + 1, at);
		chained = CC_SHA256_LEN;
		memcpy(input, at, CC_SHA256_LEN);
		at += CC_SHA256_LEN;
		out_len -= CC_SHA256_LEN;
	}
	if (chained > 0)
		cc_wipe(input, CC_SHA256_LEN);
	return CC_OK;
}

cc_status
cc_hkdf_expand_pair(const cc_hmac_key *prk_a, const cc_hmac_key *prk_b, const void *info,
					size_t info_len, uint8_t out_a[CC_SHA256_LEN], uint8_t out_b[CC_SHA256_LEN])
{
	SHA256_CTX	a;				/* data holds the inner block of both, which is no secret */
	SHA256_CTX	b;				/* data holds the outer block, first of a and then of b */
	uint8_t    *inner_block = (uint8_t *) a.data;
	uint8_t    *outer_block = (uint8_t *) b.data;

	if (info_len > CC_EXPAND_PAIR_INFO_MAX)
		return CC_ERR_TOO_LARGE;

	memcpy(inner_block, info, info_len);
	inner_block[info_len] = 1;
	pad_block(inner_block, info_len + 1, SHA256_BLOCK_LEN + info_len + 1);
	pad_block(outer_block, CC_SHA256_LEN, SHA256_BLOCK_LEN + CC_SHA256_LEN);

	start_from(&a, prk_a->inner);
	SHA256_Transform(&a, inner_block);
	start_from(&b, prk_b->inner);
	SHA256_Transform(&b, inner_block);

	put_state(&a, outer_block);
	start_from(&a, prk_a->outer);
	SHA256_Transform(&a, outer_block);
	put_state(&b, outer_block);
	start_from(&b, prk_b->outer);
	SHA256_Transform(&b, outer_block);

	put_state(&a, out_a);
	put_state(&b, out_b);
	cc_wipe(a.h, sizeof(a.h));
	cc_wipe(&b, sizeof(b));
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
	wipe_stack_below();
	return CC_OK;
}

/* Writes the info of K(use).  Returns its length, or 0 for a use that does not exist. */
static size_t
use_info(uint8_t info[USE_INFO_MAX], const uint8_t chat_id[CC_ID_LEN], uint32_t version,
		 cc_key_use use)
{
	static const char prefix[] = "chatcrypt/v1/";
	static const char *const use_names[] = {
		[CC_USE_MESSAGE] = "message",
		[CC_USE_COMMIT] = "commit",
		[CC_USE_ATTACHMENT] = "attachment",
		[CC_USE_SEARCH] = "search",
		[CC_USE_KCV] = "kcv"
	};
	cc_writer	w = cc_writer_init(info, USE_INFO_MAX);

	if ((size_t) use >= sizeof(use_names) / sizeof(use_names[0]))
		return 0;
	cc_write_bytes(&w, prefix, strlen(prefix));
	cc_write_bytes(&w, use_names[use], strlen(use_names[use]) + 1);	/* with its 00 */
	cc_write_bytes(&w, chat_id, CC_ID_LEN);
	cc_write_u32(&w, version);
	return cc_writer_ok(&w) ? USE_INFO_MAX - w.left : 0;
}

/* Makes an HMAC key of a DEK's PRK.  Leaves it in the stack below it: the caller wipes that. */
static void
prk_init(cc_hmac_key *prk_key, const uint8_t dek[CC_DEK_LEN])
{
	static const char salt[] = "chatcrypt/v1";
	uint8_t		prk[CC_SHA256_LEN];

	extract(salt, strlen(salt), dek, CC_DEK_LEN, prk);
	key_init(prk_key, prk, sizeof(prk));
	cc_wipe(prk, sizeof(prk));
}

cc_status
cc_dek_derive(const uint8_t dek[CC_DEK_LEN], const uint8_t chat_id[CC_ID_LEN], uint32_t version,
			  cc_key_use use, uint8_t out[CC_DEK_LEN])
{
	uint8_t		info[USE_INFO_MAX];
	size_t		info_len = use_info(info, chat_id, version, use);
	cc_hmac_key prk_key;
	cc_status	status;

	if (version == 0)
		return CC_ERR_VERSION;
	if (info_len == 0)
		return CC_ERR_ARGUMENT;

	prk_init(&prk_key, dek);
	status = cc_hkdf_expand(&prk_key, info, info_len, out, CC_DEK_LEN);
	cc_wipe(&prk_key, sizeof(prk_key));
	wipe_stack_below();
	return status;
}

cc_status
cc_dek_derive_hmac_keys(const uint8_t dek[CC_DEK_LEN], const uint8_t chat_id[CC_ID_LEN],
						uint32_t version, const cc_key_use *uses, cc_hmac_key *const *keys,
						size_t count)
{
	uint8_t		info[USE_INFO_MAX];
	uint8_t		key[CC_DEK_LEN];
	cc_hmac_key prk_key;
	cc_status	status = CC_OK;

	if (version == 0)
		return CC_ERR_VERSION;

	prk_init(&prk_key, dek);
	for (size_t i = 0; i < count && status == CC_OK; i++)
	{
		size_t		info_len = use_info(info, chat_id, version, uses[i]);

		status = info_len == 0 ? CC_ERR_ARGUMENT :
			cc_hkdf_expand(&prk_key, info, info_len, key, sizeof(key));
		if (status == CC_OK)
			key_init(keys[i], key, sizeof(key));
	}
	cc_wipe(key, sizeof(key));
	cc_wipe(&prk_key, sizeof(prk_key));
	wipe_stack_below();
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

	cc_write_bytes(&w, label, sizeof(label));	/* with its 00 */
	cc_write_bytes(&w, deployment_id, CC_ID_LEN);
	cc_write_bytes(&w, chat_id, CC_ID_LEN);
	cc_write_bytes(&w, purpose, purpose_len + 1);
	cc_write_u32(&w, version);
	if (!cc_writer_ok(&w))
		return CC_ERR_ARGUMENT;
	cc_sha256(input, sizeof(input) - w.left, context);
	return CC_OK;
}
