/*
 * test_secretbox.c
 *		Conversation messages: the answer of NaCl, and everything that must not open.
 */
#include "harness.h"

#include "core/envelope.h"
#include "core/secretbox.h"

#define VERSION		5
#define TEXT		"one two three four"
#define TEXT_LEN	(sizeof(TEXT) - 1)

static const uint8_t dek[CC_DEK_LEN] = "a conversation's key of 32 bytes";
static uint8_t sealed[TEXT_LEN + CC_SECRETBOX_OVERHEAD];

static bool
opens_as(cc_status expected, uint32_t version, const uint8_t *message, size_t len)
{
	size_t		room = len > CC_SECRETBOX_OVERHEAD ? len - CC_SECRETBOX_OVERHEAD : 0;
	uint8_t    *copy = unit_copy(message, len);
	uint8_t    *plaintext = unit_alloc(room);
	cc_status	status;
	bool		good;

	memset(plaintext, 0xee, room);
	status = cc_secretbox_open(dek, version, copy, len, plaintext);
	good = status == expected;
	if (status != CC_OK)
		good = good && unit_all_zero(plaintext, room);
	else
		good = good && memcmp(plaintext, TEXT, TEXT_LEN) == 0;
	free(copy);
	free(plaintext);
	return good;
}

/* The test of the NaCl distribution (tests/secretbox.c), under version 1. */
static void
nacl_answer(void)
{
	static const char *const text =
		"be075fc53c81f2d5cf141316ebeb0c7b5228c52a4c62cbd44b66849b64244ffc"
		"e5ecbaaf33bd751a1ac728d45e6c61296cdc3c01233561f41db66cce314adb31"
		"0e3be8250c46f06dceea3a7fa1348057e2f6556ad6b1318a024a838f21af1fde"
		"048977eb48f59ffd4924ca1c60902e52f0a089bc76897040e082f93776384864"
		"5e0705";
	static const char *const box =
		"f3ffc7703f9400e52a7dfb4b3d3305d98e993b9f48681273c29650ba32fc76ce"
		"48332ea7164d96a4476fb8c531a1186ac0dfc17c98dce87b4da7f011ec48c972"
		"71d2c20f9b928fe2270d6fb863d51738b48eeee314a7cc8ab932164548e526ae"
		"90224368517acfeabd6bb3732bc0e9da99832b61ca01b6de56244a9e88d5f9b3"
		"7973f622a43d14a6599b1f654cb45a74e355a5";
	uint8_t		key[CC_DEK_LEN];
	uint8_t		nonce[CC_SECRETBOX_NONCE_LEN];
	size_t		len;
	uint8_t    *plaintext = unit_hex(text, &len);
	uint8_t    *message = unit_alloc(len + CC_SECRETBOX_OVERHEAD);
	uint8_t    *opened = unit_alloc(len);
	bool		good;

	unit_hex_into("1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389", key,
				  sizeof(key));
	unit_hex_into("69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37", nonce, sizeof(nonce));
	good = cc_secretbox_seal_nonce(key, 1, nonce, plaintext, len, message) == CC_OK &&
		unit_is_hex(message, 5, "0300000001") &&
		memcmp(message + 5, nonce, sizeof(nonce)) == 0 &&
		unit_is_hex(message + 5 + sizeof(nonce), len + 16, box) &&
		cc_secretbox_open(key, 1, message, len + CC_SECRETBOX_OVERHEAD, opened) == CC_OK &&
		memcmp(opened, plaintext, len) == 0;
	free(plaintext);
	free(message);
	free(opened);
	CHECK(good);
}

static void
it_opens(void)
{
	CHECK(opens_as(CC_OK, VERSION, sealed, sizeof(sealed)));
}

static void
every_byte_flipped(void)
{
	uint8_t		message[sizeof(sealed)];

	for (size_t at = 0; at < sizeof(sealed); at++)
		for (int bit = 0; bit < 8; bit++)
		{
			cc_status	expected = CC_ERR_AUTH;

			if (at < CC_HEADER_LEN)
				expected = at == 0 ? CC_ERR_SUITE : CC_ERR_VERSION;
			memcpy(message, sealed, sizeof(sealed));
			message[at] ^= (uint8_t) (1 << bit);
			CHECK_AT(opens_as(expected, VERSION, message, sizeof(message)), at);
		}
}

static void
every_length_cut_and_grown(void)
{
	uint8_t		message[sizeof(sealed) + 32] = {0};

	memcpy(message, sealed, sizeof(sealed));
	for (size_t len = 0; len <= sizeof(message); len++)
	{
		cc_status	expected = len < CC_SECRETBOX_OVERHEAD ? CC_ERR_TRUNCATED : CC_ERR_AUTH;

		if (len != sizeof(sealed))
			CHECK_AT(opens_as(expected, VERSION, message, len), len);
	}
}

static void
versions(void)
{
	uint8_t		message[sizeof(sealed)];

	memcpy(message, sealed, sizeof(sealed));
	CHECK(opens_as(CC_ERR_VERSION, VERSION + 1, message, sizeof(message)));
	CHECK(opens_as(CC_ERR_VERSION, 0, message, sizeof(message)));
	message[4] = 0;
	CHECK(opens_as(CC_ERR_VERSION, 0, message, sizeof(message)));
	CHECK(cc_secretbox_seal(dek, 0, NULL, 0, message) == CC_ERR_VERSION);
}

static void
lengths(void)
{
	uint8_t		out[CC_SECRETBOX_OVERHEAD];

	for (size_t len = 0; len < 200; len++)
	{
		uint8_t    *plaintext = unit_alloc(len);
		uint8_t    *message = unit_alloc(len + CC_SECRETBOX_OVERHEAD);
		uint8_t    *opened = unit_alloc(len);
		bool		good;

		unit_fill(plaintext, len);
		good = cc_secretbox_seal(dek, VERSION, plaintext, len, message) == CC_OK &&
			cc_secretbox_open(dek, VERSION, message, len + CC_SECRETBOX_OVERHEAD,
							  opened) == CC_OK &&
			memcmp(opened, plaintext, len) == 0;
		free(plaintext);
		free(message);
		free(opened);
		CHECK_AT(good, len);
	}
	CHECK(cc_secretbox_seal(dek, VERSION, out, (size_t) CC_MESSAGE_MAX + 1, out)
		  == CC_ERR_TOO_LARGE);
	CHECK(cc_secretbox_seal(dek, VERSION, out, SIZE_MAX, out) == CC_ERR_TOO_LARGE);
}

static void
other_keys(void)
{
	uint8_t		other[CC_DEK_LEN];
	uint8_t		out[TEXT_LEN];

	for (int bit = 0; bit < 256; bit++)
	{
		memcpy(other, dek, sizeof(other));
		other[bit / 8] ^= (uint8_t) (1 << (bit % 8));
		CHECK_AT(cc_secretbox_open(other, VERSION, sealed, sizeof(sealed), out) == CC_ERR_AUTH,
				 bit);
	}
}

/* Assembled from its parts, apart and in place, it is the same message again. */
static void
assembled_of_its_parts(void)
{
	const uint8_t *nonce = sealed + CC_SECRETBOX_NONCE_AT;
	const size_t box_len = sizeof(sealed) - CC_SECRETBOX_BOX_AT;
	uint8_t    *box = unit_copy(sealed + CC_SECRETBOX_BOX_AT, box_len);
	uint8_t    *out = unit_alloc(sizeof(sealed));

	CHECK(cc_secretbox_assemble(VERSION, nonce, box, box_len, out) == CC_OK &&
		  memcmp(out, sealed, sizeof(sealed)) == 0);
	memset(out, 0, CC_SECRETBOX_BOX_AT);
	CHECK(cc_secretbox_assemble(VERSION, nonce, out + CC_SECRETBOX_BOX_AT, box_len, out) == CC_OK &&
		  memcmp(out, sealed, sizeof(sealed)) == 0);
	CHECK(cc_secretbox_assemble(0, nonce, box, box_len, out) == CC_ERR_VERSION);
	CHECK(cc_secretbox_assemble(VERSION, nonce, box, CC_SECRETBOX_MAC_LEN - 1, out) == CC_ERR_TRUNCATED);
	CHECK(cc_secretbox_assemble(VERSION, nonce, box, CC_SECRETBOX_MAC_LEN, out) == CC_OK);
	CHECK(cc_secretbox_assemble(VERSION, nonce, box, SIZE_MAX, out) == CC_ERR_TOO_LARGE);
	free(box);
	free(out);
}

int
main(void)
{
	if (cc_secretbox_seal(dek, VERSION, (const uint8_t *) TEXT, TEXT_LEN, sealed) != CC_OK)
		return 1;
	RUN(nacl_answer);
	RUN(it_opens);
	RUN(every_byte_flipped);
	RUN(every_length_cut_and_grown);
	RUN(versions);
	RUN(lengths);
	RUN(other_keys);
	RUN(assembled_of_its_parts);
	return unit_done();
}
