/*
 * test_envelope.c
 *		Message envelopes that must not open: every byte flipped, every length cut
 *		or grown, other keys, ids, versions and aads; each with the right status.
 */
#include "harness.h"

#include "core/attachment.h"
#include "core/envelope.h"
#include "core/random.h"
#include "core/secretbox.h"

#define TEXT		"attack at dawn, says the poem, and nobody comes"
#define TEXT_LEN	(sizeof(TEXT) - 1)
#define VERSION		7

static cc_aead *aead;
static cc_message_keys keys;
static const uint8_t dek[CC_DEK_LEN] = "an unguessable key of 32 bytes..";
static const uint8_t chat_id[CC_ID_LEN] = "the chat's id...";
static const uint8_t message_id[CC_ID_LEN] = "a message's id..";
static uint8_t sealed[TEXT_LEN + CC_ENVELOPE_OVERHEAD];

/* Opens a copy of exactly len bytes: does this give the status and, if it fails, zeroes? */
static bool
opens_as(cc_status expected, const uint8_t *envelope, size_t len)
{
	size_t		room = len > CC_ENVELOPE_OVERHEAD ? len - CC_ENVELOPE_OVERHEAD : 0;
	uint8_t    *copy = unit_copy(envelope, len);
	uint8_t    *plaintext = unit_alloc(room);
	cc_status	status;
	bool		good;

	memset(plaintext, 0xee, room);
	status = cc_envelope_open(aead, &keys, VERSION, message_id, NULL, 0, copy, len, plaintext);
	good = status == expected;
	if (status != CC_OK)
		good = good && unit_all_zero(plaintext, room);
	else
		good = good && room == TEXT_LEN && memcmp(plaintext, TEXT, TEXT_LEN) == 0;
	free(copy);
	free(plaintext);
	return good;
}

static void
it_opens(void)
{
	CHECK(opens_as(CC_OK, sealed, sizeof(sealed)));
}

static void
every_byte_flipped(void)
{
	uint8_t		envelope[sizeof(sealed)];

	for (size_t at = 0; at < sizeof(sealed); at++)
		for (int bit = 0; bit < 8; bit++)
		{
			cc_status	expected = CC_ERR_AUTH;

			if (at < CC_HEADER_LEN)
				expected = at == 0 ? CC_ERR_SUITE : CC_ERR_VERSION;
			memcpy(envelope, sealed, sizeof(sealed));
			envelope[at] ^= (uint8_t) (1 << bit);
			CHECK_AT(opens_as(expected, envelope, sizeof(envelope)), at);
		}
}

static void
every_value_of_every_byte(void)
{
	uint8_t		envelope[sizeof(sealed)];

	for (size_t at = 0; at < CC_ENVELOPE_OVERHEAD; at++)
		for (int value = 0; value < 256; value++)
		{
			memcpy(envelope, sealed, sizeof(sealed));
			if (envelope[at] == value)
				continue;
			envelope[at] = (uint8_t) value;
			CHECK_AT(!opens_as(CC_OK, envelope, sizeof(envelope)), at);
		}
}

static void
every_length_cut(void)
{
	for (size_t len = 0; len < sizeof(sealed); len++)
		CHECK_AT(opens_as(len < CC_ENVELOPE_OVERHEAD ? CC_ERR_TRUNCATED : CC_ERR_AUTH, sealed, len),
				 len);
}

static void
every_length_grown(void)
{
	uint8_t		envelope[sizeof(sealed) + 64];

	for (size_t more = 1; more <= 64; more++)
	{
		memset(envelope, 0, sizeof(envelope));
		memcpy(envelope, sealed, sizeof(sealed));
		CHECK_AT(opens_as(CC_ERR_AUTH, envelope, sizeof(sealed) + more), more);
	}
}

static void
bytes_removed_from_or_put_in_the_middle(void)
{
	uint8_t		envelope[sizeof(sealed) + 1];

	for (size_t at = CC_HEADER_LEN; at < sizeof(sealed); at++)
	{
		memcpy(envelope, sealed, at);
		memcpy(envelope + at, sealed + at + 1, sizeof(sealed) - at - 1);
		CHECK_AT(opens_as(CC_ERR_AUTH, envelope, sizeof(sealed) - 1), at);

		envelope[at] = 0;
		memcpy(envelope + at + 1, sealed + at, sizeof(sealed) - at);
		CHECK_AT(opens_as(CC_ERR_AUTH, envelope, sizeof(sealed) + 1), at);
	}
}

/* Inputs of 0 to 48 bytes, with every first byte: nothing is read past their end. */
static void
too_short_for_any_envelope(void)
{
	for (int suite = 0; suite < 256; suite++)
		for (size_t len = 0; len < CC_ENVELOPE_OVERHEAD; len++)
		{
			uint8_t		bytes[CC_ENVELOPE_OVERHEAD] = {(uint8_t) suite, 0, 0, 0, VERSION};
			cc_status	expected = CC_ERR_TRUNCATED;

			/* Another format is reported as such, however long it is. */
			if (len > 0 && suite != CC_SUITE_MESSAGE)
				expected = CC_ERR_SUITE;
			CHECK_AT(opens_as(expected, bytes, len), len);
		}
}

static void
other_suites(void)
{
	uint8_t		envelope[CC_PART_HEADER_LEN + CC_AEAD_TAG_LEN] = {0, 0, 0, 0, VERSION};

	for (int suite = 0; suite < 256; suite++)
	{
		envelope[0] = (uint8_t) suite;
		if (suite != CC_SUITE_MESSAGE)
			CHECK_AT(opens_as(CC_ERR_SUITE, envelope, sizeof(envelope)), suite);
	}
}

static void
version_0_and_others(void)
{
	uint8_t		envelope[sizeof(sealed)];
	uint8_t		out[TEXT_LEN];
	cc_message_keys others;

	memcpy(envelope, sealed, sizeof(sealed));
	envelope[4] = 0;
	CHECK(opens_as(CC_ERR_VERSION, envelope, sizeof(envelope)));
	CHECK(cc_envelope_open(aead, &keys, 0, message_id, NULL, 0, envelope, sizeof(envelope), out)
		  == CC_ERR_VERSION);
	CHECK(cc_envelope_seal(aead, &keys, 0, message_id, NULL, 0, NULL, 0, envelope)
		  == CC_ERR_VERSION);
	CHECK(cc_message_keys_derive(&others, dek, chat_id, 0) == CC_ERR_VERSION);
	CHECK(unit_all_zero((uint8_t *) &others, sizeof(others)));

	/* Keys of one version and an envelope of another, whatever the caller says. */
	CHECK(cc_envelope_open(aead, &keys, VERSION + 1, message_id, NULL, 0, sealed, sizeof(sealed),
						   out)
		  == CC_ERR_VERSION);
	memcpy(envelope, sealed, sizeof(sealed));
	envelope[4] = VERSION + 1;
	CHECK(cc_envelope_open(aead, &keys, VERSION + 1, message_id, NULL, 0, envelope,
						   sizeof(envelope), out)
		  == CC_ERR_AUTH);
}

static void
other_keys_ids_and_aads(void)
{
	uint8_t		bytes[CC_DEK_LEN];
	uint8_t		out[TEXT_LEN];
	cc_message_keys others;

	for (int bit = 0; bit < 256; bit++)
	{
		memcpy(bytes, dek, sizeof(bytes));
		bytes[bit / 8] ^= (uint8_t) (1 << (bit % 8));
		CHECK(cc_message_keys_derive(&others, bytes, chat_id, VERSION) == CC_OK);
		CHECK_AT(cc_envelope_open(aead, &others, VERSION, message_id, NULL, 0, sealed,
								  sizeof(sealed), out)
				 == CC_ERR_AUTH, bit);
	}
	for (int bit = 0; bit < 128; bit++)
	{
		memcpy(bytes, chat_id, CC_ID_LEN);
		bytes[bit / 8] ^= (uint8_t) (1 << (bit % 8));
		CHECK(cc_message_keys_derive(&others, dek, bytes, VERSION) == CC_OK);
		CHECK_AT(cc_envelope_open(aead, &others, VERSION, message_id, NULL, 0, sealed,
								  sizeof(sealed), out)
				 == CC_ERR_AUTH, bit);
		memcpy(bytes, message_id, CC_ID_LEN);
		bytes[bit / 8] ^= (uint8_t) (1 << (bit % 8));
		CHECK_AT(cc_envelope_open(aead, &keys, VERSION, bytes, NULL, 0, sealed, sizeof(sealed), out)
				 == CC_ERR_AUTH, bit);
	}
	CHECK(cc_envelope_open(aead, &keys, VERSION, message_id, bytes, 1, sealed, sizeof(sealed), out)
		  == CC_ERR_AUTH);
	CHECK(cc_message_keys_derive(&others, dek, chat_id, VERSION + 1) == CC_OK);
	CHECK(cc_envelope_open(aead, &others, VERSION, message_id, NULL, 0, sealed, sizeof(sealed), out)
		  == CC_ERR_AUTH);
}

/*
 * What the commitment is for: an envelope whose commitment is another key's is
 * refused although its ciphertext opens under this one, and nothing is decrypted.
 */
static void
the_commitment_is_checked_by_itself(void)
{
	uint8_t		envelope[sizeof(sealed)];
	uint8_t		out[TEXT_LEN];

	memcpy(envelope, sealed, sizeof(sealed));
	for (int at = 0; at < CC_COMMITMENT_LEN; at++)
		envelope[CC_HEADER_LEN + CC_SALT_LEN + at] = (uint8_t) at;
	memset(out, 0xee, sizeof(out));
	CHECK(cc_envelope_open(aead, &keys, VERSION, message_id, NULL, 0, envelope, sizeof(envelope),
						   out)
		  == CC_ERR_AUTH);
	CHECK(unit_all_zero(out, sizeof(out)));
}

static bool
seals_and_opens(size_t len, size_t aad_len)
{
	uint8_t    *plaintext = unit_alloc(len);
	uint8_t    *aad = unit_alloc(aad_len);
	uint8_t    *envelope = unit_alloc(len + CC_ENVELOPE_OVERHEAD);
	uint8_t    *opened = unit_alloc(len);
	bool		good;

	unit_fill(plaintext, len);
	unit_fill(aad, aad_len);
	good = cc_envelope_seal(aead, &keys, VERSION, message_id, aad, aad_len, plaintext, len,
							envelope) == CC_OK &&
		cc_envelope_open(aead, &keys, VERSION, message_id, aad, aad_len, envelope,
						 len + CC_ENVELOPE_OVERHEAD, opened) == CC_OK &&
		memcmp(opened, plaintext, len) == 0;

	/* Another aad of the same length, and one that is a byte shorter, do not open it. */
	if (good && aad_len > 0)
	{
		aad[aad_len - 1] ^= 1;
		good = cc_envelope_open(aead, &keys, VERSION, message_id, aad, aad_len, envelope,
								len + CC_ENVELOPE_OVERHEAD, opened) == CC_ERR_AUTH &&
			cc_envelope_open(aead, &keys, VERSION, message_id, aad, aad_len - 1, envelope,
							 len + CC_ENVELOPE_OVERHEAD, opened) == CC_ERR_AUTH;
	}
	free(plaintext);
	free(aad);
	free(envelope);
	free(opened);
	return good;
}

/* Reports key and message also for an envelope that is damaged behind its commitment. */
static void
the_commitment_tells_by_itself(void)
{
	uint8_t		envelope[sizeof(sealed)];
	uint8_t		id[CC_ID_LEN];
	cc_message_keys others;

	CHECK(cc_envelope_is_committed(&keys, VERSION, message_id, sealed, sizeof(sealed)));
	for (size_t at = 0; at < sizeof(sealed); at++)
		for (int bit = 0; bit < 8; bit++)
		{
			memcpy(envelope, sealed, sizeof(sealed));
			envelope[at] ^= (uint8_t) (1 << bit);
			CHECK_AT(cc_envelope_is_committed(&keys, VERSION, message_id, envelope, sizeof(envelope)) ==
					 (at >= CC_HEADER_LEN + CC_SALT_LEN + CC_COMMITMENT_LEN), at);
		}
	for (size_t len = 0; len < CC_ENVELOPE_OVERHEAD; len++)
		CHECK_AT(!cc_envelope_is_committed(&keys, VERSION, message_id, sealed, len), len);
	CHECK(!cc_envelope_is_committed(&keys, VERSION + 1, message_id, sealed, sizeof(sealed)));
	CHECK(!cc_envelope_is_committed(&keys, 0, message_id, sealed, sizeof(sealed)));
	for (int bit = 0; bit < 128; bit++)
	{
		memcpy(id, message_id, CC_ID_LEN);
		id[bit / 8] ^= (uint8_t) (1 << (bit % 8));
		CHECK_AT(!cc_envelope_is_committed(&keys, VERSION, id, sealed, sizeof(sealed)), bit);
		memcpy(id, chat_id, CC_ID_LEN);
		id[bit / 8] ^= (uint8_t) (1 << (bit % 8));
		CHECK(cc_message_keys_derive(&others, dek, id, VERSION) == CC_OK);
		CHECK_AT(!cc_envelope_is_committed(&others, VERSION, message_id, sealed, sizeof(sealed)), bit);
	}
	CHECK(cc_message_keys_derive(&others, dek, chat_id, VERSION + 1) == CC_OK);
	CHECK(!cc_envelope_is_committed(&others, VERSION, message_id, sealed, sizeof(sealed)));
}

static void
lengths_of_text_and_aad(void)
{
	for (size_t len = 0; len <= 100; len++)
		CHECK_AT(seals_and_opens(len, 0), len);
	for (size_t aad_len = 1; aad_len <= 600; aad_len++)
		CHECK_AT(seals_and_opens(3, aad_len), aad_len);
	CHECK(seals_and_opens(100000, CC_AAD_MAX));
	CHECK(!seals_and_opens(1, CC_AAD_MAX + 1));
}

static void
limits_are_checked_before_bytes_are_touched(void)
{
	uint8_t		out[CC_ENVELOPE_OVERHEAD] = {CC_SUITE_MESSAGE, 0, 0, 0, VERSION};
	cc_envelope_info info;

	/* Neither buffer has these lengths. */
	CHECK(cc_envelope_seal(aead, &keys, VERSION, message_id, NULL, 0, out,
						   (size_t) CC_MESSAGE_MAX + 1, out)
		  == CC_ERR_TOO_LARGE);
	CHECK(cc_envelope_seal(aead, &keys, VERSION, message_id, NULL, 0, out, SIZE_MAX, out)
		  == CC_ERR_TOO_LARGE);
	CHECK(cc_envelope_seal(aead, &keys, VERSION, message_id, out, SIZE_MAX, out, 1, out)
		  == CC_ERR_TOO_LARGE);
	CHECK(cc_envelope_seal(aead, &keys, VERSION, message_id, out, SIZE_MAX - 4, out, 1, out)
		  == CC_ERR_TOO_LARGE);
	CHECK(cc_envelope_inspect(out, (size_t) CC_MESSAGE_MAX + CC_ENVELOPE_OVERHEAD, &info) == CC_OK);
	CHECK(cc_envelope_inspect(out, (size_t) CC_MESSAGE_MAX + CC_ENVELOPE_OVERHEAD + 1, &info)
		  == CC_ERR_TOO_LARGE);
	CHECK(cc_envelope_inspect(out, SIZE_MAX, &info) == CC_ERR_TOO_LARGE);
	CHECK(cc_envelope_open(aead, &keys, VERSION, message_id, out, SIZE_MAX, out, sizeof(out), out)
		  == CC_ERR_TOO_LARGE);
}

static void
salts_differ(void)
{
	uint8_t		envelopes[50][CC_ENVELOPE_OVERHEAD];

	for (int i = 0; i < 50; i++)
	{
		CHECK(cc_envelope_seal(aead, &keys, VERSION, message_id, NULL, 0, NULL, 0, envelopes[i])
			  == CC_OK);
		for (int other = 0; other < i; other++)
			CHECK_AT(memcmp(envelopes[i] + CC_HEADER_LEN, envelopes[other] + CC_HEADER_LEN,
							CC_SALT_LEN) != 0, i);
	}
}

static void
inspect_tells_of_every_format(void)
{
	static const struct
	{
		uint8_t		bytes[5];
		size_t		len;
		cc_status	status;
		size_t		plaintext_len;
	}			cases[] = {
		{{1, 0, 0, 0, 1}, 0, CC_ERR_TRUNCATED, 0},
		{{1, 0, 0, 0, 1}, 1, CC_ERR_TRUNCATED, 0},
		{{1, 0, 0, 0, 1}, 4, CC_ERR_TRUNCATED, 0},
		{{1, 0, 0, 0, 1}, 48, CC_ERR_TRUNCATED, 0},
		{{1, 0, 0, 0, 1}, 49, CC_OK, 0},
		{{1, 255, 255, 255, 255}, 50, CC_OK, 1},
		{{1, 0, 0, 0, 0}, 49, CC_ERR_VERSION, 0},
		{{0, 0, 0, 0, 1}, 49, CC_ERR_SUITE, 0},
		{{4, 0, 0, 0, 1}, 49, CC_ERR_SUITE, 0},
		{{4, 0, 0, 0, 1}, 1, CC_ERR_SUITE, 0},
		{{2, 0, 0, 0, 1}, 76, CC_ERR_TRUNCATED, 0},
		{{2, 0, 0, 0, 1}, 77, CC_OK, 0},
		{{2, 0, 0, 0, 1}, 78, CC_OK, 0},
		{{2, 0, 0, 0, 0}, 78, CC_ERR_VERSION, 0},
		{{2, 0, 0, 0, 1}, 61 + 16400 + 15, CC_ERR_TRUNCATED, 0},
		{{3, 0, 0, 0, 1}, 44, CC_ERR_TRUNCATED, 0},
		{{3, 0, 0, 0, 1}, 45, CC_OK, 0},
		{{3, 0, 0, 0, 9}, 145, CC_OK, 100},
		{{3, 0, 0, 0, 0}, 145, CC_ERR_VERSION, 0}
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		uint8_t    *bytes = unit_alloc(cases[i].len);
		cc_envelope_info info;
		cc_status	status;

		memcpy(bytes, cases[i].bytes, cases[i].len < 5 ? cases[i].len : 5);
		status = cc_envelope_inspect(bytes, cases[i].len, &info);
		free(bytes);
		CHECK_AT(status == cases[i].status, i);
		if (status != CC_OK)
			continue;
		CHECK_AT(info.suite == cases[i].bytes[0] && info.plaintext_len == cases[i].plaintext_len,
				 i);
		CHECK_AT((info.dek_version & 0xff) == cases[i].bytes[4], i);
	}
}

static void
a_header_is_read_as_it_was_written(void)
{
	static const uint32_t versions[] = {1, 0x01020304, UINT32_MAX};
	uint8_t		header[CC_HEADER_LEN];
	cc_header	read;

	for (uint8_t suite = CC_SUITE_MESSAGE; suite <= CC_SUITE_CONVERSATION; suite++)
		for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++)
		{
			cc_header_write(suite, versions[i], header);
			CHECK_AT(cc_header_read(header, sizeof(header), &read) == CC_OK, i);
			CHECK_AT(read.suite == suite && read.dek_version == versions[i], i);
		}
	cc_header_write(CC_SUITE_MESSAGE, VERSION, header);
	CHECK(memcmp(header, sealed, sizeof(header)) == 0);
	CHECK(cc_header_read(header, sizeof(header) - 1, &read) == CC_ERR_TRUNCATED);
	cc_header_write(CC_SUITE_MESSAGE, 0, header);
	CHECK(cc_header_read(header, sizeof(header), &read) == CC_ERR_VERSION);
	cc_header_write(CC_SUITE_CONVERSATION + 1, 1, header);
	CHECK(cc_header_read(header, sizeof(header), &read) == CC_ERR_SUITE);
}

int
main(void)
{
	aead = cc_aead_new(CC_AEAD_AUTO);
	if (aead == NULL || cc_message_keys_derive(&keys, dek, chat_id, VERSION) != CC_OK ||
		cc_envelope_seal(aead, &keys, VERSION, message_id, NULL, 0, (const uint8_t *) TEXT,
						 TEXT_LEN, sealed) != CC_OK)
		return 1;
	RUN(it_opens);
	RUN(every_byte_flipped);
	RUN(every_value_of_every_byte);
	RUN(every_length_cut);
	RUN(every_length_grown);
	RUN(bytes_removed_from_or_put_in_the_middle);
	RUN(too_short_for_any_envelope);
	RUN(other_suites);
	RUN(version_0_and_others);
	RUN(other_keys_ids_and_aads);
	RUN(the_commitment_is_checked_by_itself);
	RUN(the_commitment_tells_by_itself);
	RUN(lengths_of_text_and_aad);
	RUN(limits_are_checked_before_bytes_are_touched);
	RUN(salts_differ);
	RUN(inspect_tells_of_every_format);
	RUN(a_header_is_read_as_it_was_written);
	cc_aead_free(aead);
	return unit_done();
}
