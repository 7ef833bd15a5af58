/*
 * test_localwrap.c
 *		Wrapping under a local master key, and everything that must not unwrap.
 */
#include "harness.h"

#include "core/kdf.h"
#include "core/localwrap.h"

#define VERSION 4

static cc_aead *aead;
static const uint8_t master[32] = "the master key, which has 32 too";
static const uint8_t dek[CC_DEK_LEN] = "an unguessable key of 32 bytes..";
static const uint8_t context[CC_CONTEXT_LEN] = "what the DEK is for, as a digest";
static uint8_t wrapped[CC_LOCALWRAP_LEN];

static bool
opens_as(cc_status expected, const uint8_t *with_master, uint32_t version,
		 const uint8_t *with_context, const uint8_t *bytes, size_t len)
{
	uint8_t    *copy = unit_copy(bytes, len);
	uint8_t		out[CC_DEK_LEN];
	cc_status	status;

	memset(out, 0xee, sizeof(out));
	status = cc_localwrap_open(aead, with_master, version, with_context, copy, len, out);
	free(copy);
	if (status != CC_OK)
		return status == expected && unit_all_zero(out, sizeof(out));
	return expected == CC_OK && memcmp(out, dek, sizeof(out)) == 0;
}

static void
it_opens(void)
{
	uint32_t	version;

	CHECK(opens_as(CC_OK, master, VERSION, context, wrapped, sizeof(wrapped)));
	CHECK(cc_localwrap_version(wrapped, sizeof(wrapped), &version) == CC_OK && version == VERSION);
}

/* The format, assembled from its parts. */
static void
it_is_what_the_format_says(void)
{
	uint8_t		info[18 + CC_CONTEXT_LEN];
	uint8_t		secrets[44];
	uint8_t		expected[CC_LOCALWRAP_LEN] = {1, 0, 0, 0, VERSION};
	uint8_t		prk[CC_SHA256_LEN];
	cc_hmac_key key;

	memcpy(info, "chatcrypt/v1/local", 18);
	memcpy(info + 18, context, sizeof(context));
	memcpy(expected + 5, wrapped + 5, CC_LOCALWRAP_SALT_LEN);
	cc_hkdf_extract(wrapped + 5, CC_LOCALWRAP_SALT_LEN, master, sizeof(master), prk);
	cc_hmac_key_init(&key, prk, sizeof(prk));
	CHECK(cc_hkdf_expand(&key, info, sizeof(info), secrets, sizeof(secrets)) == CC_OK);
	CHECK(cc_aead_seal(aead, secrets, secrets + 32, NULL, 0, dek, sizeof(dek), expected + 21,
					   expected + 53) == CC_OK);
	CHECK(memcmp(wrapped, expected, sizeof(expected)) == 0);
}

static void
every_bit_flipped(void)
{
	uint8_t		bytes[CC_LOCALWRAP_LEN];

	for (size_t bit = 0; bit < 8 * sizeof(bytes); bit++)
	{
		size_t		at = bit / 8;
		cc_status	expected = at == 0 ? CC_ERR_SUITE : at < 5 ? CC_ERR_VERSION : CC_ERR_AUTH;

		memcpy(bytes, wrapped, sizeof(bytes));
		bytes[at] ^= (uint8_t) (1 << (bit % 8));
		CHECK_AT(opens_as(expected, master, VERSION, context, bytes, sizeof(bytes)), bit);
	}
}

static void
every_length_cut_and_grown(void)
{
	uint8_t		bytes[CC_LOCALWRAP_LEN + 20] = {0};

	memcpy(bytes, wrapped, sizeof(wrapped));
	for (size_t len = 0; len <= sizeof(bytes); len++)
	{
		cc_status	expected = len < CC_LOCALWRAP_LEN ? CC_ERR_TRUNCATED : CC_ERR_TRAILING;
		uint32_t	version;

		if (len == CC_LOCALWRAP_LEN)
			continue;
		CHECK_AT(opens_as(expected, master, VERSION, context, bytes, len), len);
		CHECK_AT(cc_localwrap_version(bytes, len, &version) == expected, len);
	}
}

static void
other_masters_contexts_and_versions(void)
{
	uint8_t		other[32];
	uint8_t		bytes[CC_LOCALWRAP_LEN];

	for (int bit = 0; bit < 256; bit++)
	{
		memcpy(other, master, sizeof(other));
		other[bit / 8] ^= (uint8_t) (1 << (bit % 8));
		CHECK_AT(opens_as(CC_ERR_AUTH, other, VERSION, context, wrapped, sizeof(wrapped)), bit);
		memcpy(other, context, sizeof(other));
		other[bit / 8] ^= (uint8_t) (1 << (bit % 8));
		CHECK_AT(opens_as(CC_ERR_AUTH, master, VERSION, other, wrapped, sizeof(wrapped)), bit);
	}
	CHECK(opens_as(CC_ERR_VERSION, master, VERSION + 1, context, wrapped, sizeof(wrapped)));
	CHECK(opens_as(CC_ERR_VERSION, master, 0, context, wrapped, sizeof(wrapped)));
	memcpy(bytes, wrapped, sizeof(bytes));
	bytes[4] = 0;
	CHECK(opens_as(CC_ERR_VERSION, master, 0, context, bytes, sizeof(bytes)));
	CHECK(cc_localwrap_seal(aead, master, 0, context, dek, bytes) == CC_ERR_VERSION);
}

static void
salts_differ(void)
{
	uint8_t		again[CC_LOCALWRAP_LEN];

	CHECK(cc_localwrap_seal(aead, master, VERSION, context, dek, again) == CC_OK);
	CHECK(memcmp(again + 5, wrapped + 5, CC_LOCALWRAP_SALT_LEN) != 0);
}

int
main(void)
{
	aead = cc_aead_new(CC_AEAD_AUTO);
	if (aead == NULL || cc_localwrap_seal(aead, master, VERSION, context, dek, wrapped) != CC_OK)
		return 1;
	RUN(it_opens);
	RUN(it_is_what_the_format_says);
	RUN(every_bit_flipped);
	RUN(every_length_cut_and_grown);
	RUN(other_masters_contexts_and_versions);
	RUN(salts_differ);
	cc_aead_free(aead);
	return unit_done();
}
