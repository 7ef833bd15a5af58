/*
 * test_rowaad.c
 *		The additional data of a message in a row: its bytes, its limits, and which
 *		additional data is kept for the extension.
 */
#include "harness.h"

#include "core/rowaad.h"

#define SENDER(text) (const uint8_t *) (text), sizeof(text) - 1

/* Is this the additional data of the row?  Written to memory of exactly its size. */
static bool
is_written(int64_t created_at, const uint8_t *sender, size_t len, const char *hex)
{
	uint8_t    *out = unit_alloc(CC_ROW_AAD_FIXED_LEN + len);
	bool		right = cc_row_aad_write(created_at, sender, len, out) == CC_OK &&
		unit_is_hex(out, CC_ROW_AAD_FIXED_LEN + len, hex);

	free(out);
	return right;
}

static void
a_row_with_a_sender_is_what_the_format_says(void)
{
	CHECK(is_written(1714564800000000, SENDER("alice"), "726f7700" "0006176339d93000" "01" "616c696365"));
}

static void
no_sender_differs_from_an_empty_one(void)
{
	CHECK(is_written(1, NULL, 0, "726f7700" "0000000000000001" "00"));
	CHECK(is_written(1, SENDER(""), "726f7700" "0000000000000001" "01"));
}

static void
times_of_every_sign_and_length_are_written_whole(void)
{
	CHECK(is_written(-1, NULL, 0, "726f7700" "ffffffffffffffff" "00"));
	CHECK(is_written(0, NULL, 0, "726f7700" "0000000000000000" "00"));
	CHECK(is_written(INT64_MIN, NULL, 0, "726f7700" "8000000000000000" "00"));
	CHECK(is_written(INT64_MAX, NULL, 0, "726f7700" "7fffffffffffffff" "00"));
	CHECK(is_written(INT64_C(0x0102030405060708), NULL, 0, "726f7700" "0102030405060708" "00"));
}

static void
the_longest_sender_fits_and_one_byte_more_does_not(void)
{
	static uint8_t sender[CC_ROW_SENDER_MAX + 1];
	static uint8_t out[CC_AAD_MAX + 1];

	memset(sender, 'a', sizeof(sender));
	CHECK(cc_row_aad_write(0, sender, CC_ROW_SENDER_MAX, out) == CC_OK);
	CHECK(out[CC_AAD_MAX - 1] == 'a' && out[CC_AAD_MAX] == 0);
	CHECK(cc_row_aad_write(0, sender, CC_ROW_SENDER_MAX + 1, out) == CC_ERR_TOO_LARGE);
}

static void
a_length_without_a_sender_is_refused(void)
{
	uint8_t		out[CC_ROW_AAD_FIXED_LEN + 1];

	CHECK(cc_row_aad_write(0, NULL, 1, out) == CC_ERR_ARGUMENT);
}

static bool
is_reserved(const void *bytes, size_t len)
{
	uint8_t    *copy = unit_copy(bytes, len);
	bool		reserved = cc_aad_is_reserved(copy, len);

	free(copy);
	return reserved;
}

static void
what_begins_as_ours_is_reserved(void)
{
	CHECK(is_reserved("row\0", 4) && is_reserved("row\0more", 8));
	CHECK(is_reserved("col\0", 4) && is_reserved("col\0more", 8));
	CHECK(is_reserved("file\0", 5) && is_reserved("file\0more", 9));
}

static void
what_only_looks_like_ours_is_not(void)
{
	static const char *const others[] = {"", "r", "row", "rows", "row ", "col", "cols", "file", "files", "Row", "notes"};

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		CHECK_AT(!is_reserved(others[i], strlen(others[i])), i);
	CHECK(!is_reserved("ro\0w", 4) && !is_reserved("\0row\0", 5));
	CHECK(!cc_aad_is_reserved(NULL, 0));
}

int
main(void)
{
	RUN(a_row_with_a_sender_is_what_the_format_says);
	RUN(no_sender_differs_from_an_empty_one);
	RUN(times_of_every_sign_and_length_are_written_whole);
	RUN(the_longest_sender_fits_and_one_byte_more_does_not);
	RUN(a_length_without_a_sender_is_refused);
	RUN(what_begins_as_ours_is_reserved);
	RUN(what_only_looks_like_ours_is_not);
	return unit_done();
}
