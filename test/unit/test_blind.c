/*
 * test_blind.c
 *		Search tokens: what they bind, their bits, and their limits.
 */
#include "harness.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "core/blind.h"

static const uint8_t secret[CC_DEK_LEN] = "the search key of one chat, K(s)";
static cc_hmac_key key;

static bool
is_hmac(cc_blind_kind kind, const char *token, size_t len)
{
	uint8_t    *input = unit_alloc(len + 1);
	uint8_t    *exact = unit_copy(token, len);
	uint8_t		mac[CC_SHA256_LEN];
	uint8_t		out[CC_BLIND_LEN];
	bool		same;

	input[0] = (uint8_t) kind;
	if (len > 0)
		memcpy(input + 1, token, len);
	HMAC(EVP_sha256(), secret, sizeof(secret), input, len + 1, mac, NULL);
	same = cc_blind_token(&key, kind, (const char *) exact, len, 64, out) == CC_OK &&
		memcmp(mac, out, sizeof(out)) == 0;
	free(input);
	free(exact);
	return same;
}

static void
tokens_are_hmacs(void)
{
	char		token[CC_BLIND_TOKEN_MAX];

	unit_fill((uint8_t *) token, sizeof(token));
	for (size_t len = 0; len <= 130; len++)
	{
		CHECK_AT(is_hmac(CC_BLIND_WORD, token, len), len);
		CHECK_AT(is_hmac(CC_BLIND_PREFIX, token, len), len);
		CHECK_AT(is_hmac(CC_BLIND_TRIGRAM, token, len), len);
	}
	CHECK(is_hmac(CC_BLIND_WORD, token, sizeof(token)));
}

static void
bits_keep_the_first_and_clear_the_rest(void)
{
	uint8_t		whole[CC_BLIND_LEN];
	uint8_t		cut[CC_BLIND_LEN];

	/* A token with most of its bits set, or a mask that clears too little, would not be noticed. */
	CHECK(cc_blind_token(&key, CC_BLIND_WORD, "hello", 5, 64, whole) == CC_OK);
	for (int bits = 1; bits <= 64; bits++)
	{
		memset(cut, 0xee, sizeof(cut));
		CHECK(cc_blind_token(&key, CC_BLIND_WORD, "hello", 5, bits, cut) == CC_OK);
		for (int bit = 0; bit < 64; bit++)
		{
			int			expected = bit < bits ? whole[bit / 8] >> (7 - bit % 8) & 1 : 0;

			CHECK_AT((cut[bit / 8] >> (7 - bit % 8) & 1) == expected, bits);
		}
	}
}

static void
limits(void)
{
	char		token[CC_BLIND_TOKEN_MAX + 1] = {0};
	uint8_t		out[CC_BLIND_LEN];

	CHECK(cc_blind_token(&key, CC_BLIND_WORD, token, sizeof(token), 64, out) == CC_ERR_TOO_LARGE);
	CHECK(cc_blind_token(&key, CC_BLIND_WORD, token, SIZE_MAX, 64, out) == CC_ERR_TOO_LARGE);
	CHECK(cc_blind_token(&key, CC_BLIND_WORD, token, 1, 0, out) == CC_ERR_ARGUMENT);
	CHECK(cc_blind_token(&key, CC_BLIND_WORD, token, 1, -1, out) == CC_ERR_ARGUMENT);
	CHECK(cc_blind_token(&key, CC_BLIND_WORD, token, 1, 65, out) == CC_ERR_ARGUMENT);
	for (int kind = 0; kind < 256; kind++)
	{
		bool		known = kind == 'w' || kind == 'p' || kind == 't';

		CHECK_AT(cc_blind_token(&key, (cc_blind_kind) kind, token, 1, 64, out)
				 == (known ? CC_OK : CC_ERR_ARGUMENT), kind);
	}
}

int
main(void)
{
	cc_hmac_key_init(&key, secret, sizeof(secret));
	RUN(tokens_are_hmacs);
	RUN(bits_keep_the_first_and_clear_the_rest);
	RUN(limits);
	return unit_done();
}
