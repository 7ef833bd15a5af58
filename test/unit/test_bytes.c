/*
 * test_bytes.c
 *		Readers, writers, hex, comparison, status words and ids.
 */
#include "harness.h"

#include "core/id.h"

static void
reader_stays_failed(void)
{
	static const uint8_t bytes[6] = {1, 2, 3, 4, 5, 6};
	uint8_t    *exact = unit_copy(bytes, sizeof(bytes));
	cc_reader	r = cc_reader_init(exact, sizeof(bytes));

	CHECK(cc_read_u8(&r) == 1);
	CHECK(cc_read_u32(&r) == 0x02030405);
	CHECK(cc_reader_ok(&r) && r.left == 1);
	CHECK(cc_read_u32(&r) == 0 && !cc_reader_ok(&r));
	CHECK(cc_read_u8(&r) == 0 && cc_read_bytes(&r, 0) == NULL && r.left == 1);
	free(exact);
}

static void
reader_refuses_lengths_that_wrap(void)
{
	static const uint8_t byte = 7;
	cc_reader	r = cc_reader_init(&byte, 1);

	CHECK(cc_read_bytes(&r, SIZE_MAX) == NULL && !cc_reader_ok(&r));
	r = cc_reader_init(NULL, 0);
	CHECK(cc_read_bytes(&r, 0) == NULL && cc_reader_ok(&r));
	CHECK(cc_read_u8(&r) == 0 && !cc_reader_ok(&r));
}

static void
writer_stays_failed(void)
{
	uint8_t    *exact = unit_alloc(6);
	cc_writer	w = cc_writer_init(exact, 6);

	cc_write_u8(&w, 0xab);
	cc_write_u32(&w, 0x01020304);
	CHECK(cc_writer_ok(&w) && w.left == 1);
	cc_write_u32(&w, 5);
	CHECK(!cc_writer_ok(&w));
	cc_write_u8(&w, 9);
	CHECK(!cc_writer_ok(&w) && w.left == 1);
	CHECK(unit_is_hex(exact, 5, "ab01020304"));
	cc_write_bytes(&w, exact, SIZE_MAX);
	CHECK(!cc_writer_ok(&w));
	free(exact);
}

static void
hex_both_ways_for_every_byte(void)
{
	uint8_t		bytes[256];
	uint8_t		back[256];
	char		text[512];

	for (int i = 0; i < 256; i++)
		bytes[i] = (uint8_t) i;
	cc_hex_encode(bytes, sizeof(bytes), text);
	for (int i = 0; i < 256; i++)
	{
		char		expected[3];

		snprintf(expected, sizeof(expected), "%02x", (unsigned) i);
		CHECK_AT(memcmp(text + 2 * i, expected, 2) == 0, i);
	}
	CHECK(cc_hex_decode(text, sizeof(text), back, sizeof(back)) == CC_OK);
	CHECK(memcmp(bytes, back, sizeof(back)) == 0);
	CHECK(cc_hex_decode("aBCd", 4, back, 2) == CC_OK && back[0] == 0xab && back[1] == 0xcd);
}

static void
hex_refuses_every_other_character(void)
{
	for (int c = 0; c < 256; c++)
		for (int at = 0; at < 4; at++)
		{
			char		text[4] = {'4', '2', '4', '2'};
			uint8_t		out[2] = {0xff, 0xff};
			bool		is_digit = c != 0 && strchr("0123456789abcdefABCDEF", c) != NULL;
			cc_status	status;

			text[at] = (char) c;
			status = cc_hex_decode(text, sizeof(text), out, sizeof(out));
			CHECK_AT((status == CC_OK) == is_digit, c);
			if (!is_digit)
				CHECK_AT(status == CC_ERR_SYNTAX && unit_all_zero(out, sizeof(out)), c);
		}
}

static void
hex_refuses_other_lengths(void)
{
	uint8_t		out[2];

	CHECK(cc_hex_decode("42424", 5, out, 2) == CC_ERR_SYNTAX);
	CHECK(cc_hex_decode("424242", 6, out, 2) == CC_ERR_SYNTAX);
	CHECK(cc_hex_decode("42", 2, out, 2) == CC_ERR_SYNTAX);
	CHECK(cc_hex_decode("", 0, out, 0) == CC_OK);
}

static void
equal_sees_every_bit(void)
{
	uint8_t		a[32];
	uint8_t		b[32];

	unit_fill(a, sizeof(a));
	memcpy(b, a, sizeof(b));
	CHECK(cc_equal(a, b, sizeof(a)));
	for (int bit = 0; bit < 256; bit++)
	{
		b[bit / 8] ^= (uint8_t) (1 << (bit % 8));
		CHECK_AT(!cc_equal(a, b, sizeof(a)), bit);
		b[bit / 8] ^= (uint8_t) (1 << (bit % 8));
	}
	CHECK(cc_equal(a, b, 0));
}

static void
wipe_takes_exactly_its_bytes(void)
{
	uint8_t		bytes[40];

	for (size_t len = 0; len <= 38; len++)
	{
		memset(bytes, 0xee, sizeof(bytes));
		cc_wipe(bytes + 1, len);
		CHECK_AT(bytes[0] == 0xee && bytes[1 + len] == 0xee && unit_all_zero(bytes + 1, len), len);
	}
}

static void
every_status_has_its_words(void)
{
	const char *unknown = cc_status_text((cc_status) 1000);

	for (int a = CC_OK; a <= CC_ERR_FILE; a++)
	{
		CHECK_AT(strcmp(cc_status_text((cc_status) a), unknown) != 0, a);
		for (int b = CC_OK; b < a; b++)
			CHECK_AT(strcmp(cc_status_text((cc_status) a), cc_status_text((cc_status) b)) != 0, a);
	}
}

static void
ids_of_every_space_come_back(void)
{
	static const uint64_t spaces[] = {0, 1, 255, 0x123456789abc, CC_ID_SPACE_MAX};

	for (size_t s = 0; s < sizeof(spaces) / sizeof(spaces[0]); s++)
		for (int bit = -1; bit < 64; bit++)
		{
			int64_t		number = bit < 0 ? 0 : (int64_t) (UINT64_C(1) << bit);
			uint8_t		id[CC_ID_LEN];
			uint64_t	space;
			int64_t		back;

			CHECK(cc_id_from_int64(spaces[s], number, id) == CC_OK);
			CHECK_AT(cc_id_to_int64(id, &space, &back) && space == spaces[s] && back == number,
					 bit);
		}
}

static void
ids_put_their_space_first(void)
{
	uint8_t		id[CC_ID_LEN];

	CHECK(cc_id_from_int64(0x123456789abc, 42, id) == CC_OK);
	CHECK(unit_is_hex(id, sizeof(id), "12345678-9abc-8000-8000-00000000002a"));
	CHECK(cc_id_from_int64(CC_ID_SPACE_MAX + 1, 42, id) == CC_ERR_TOO_LARGE);
	CHECK(cc_id_from_int64(UINT64_MAX, 42, id) == CC_ERR_TOO_LARGE);
}

static void
ids_that_are_not_numbers(void)
{
	static const char *const others[] = {
		"00000000-0000-4000-8000-00000000002a",	/* version 4 */
		"00000000-0000-8004-8000-00000000002a",	/* more than two bits in custom_b */
		"00000000-0000-8100-8000-00000000002a",
		"00000000-0000-8000-0000-00000000002a",	/* other variants */
		"00000000-0000-8000-4000-00000000002a",
		"00000000-0000-8000-c000-00000000002a",
		"00000000-0000-0000-0000-000000000000"
	};

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
	{
		uint8_t		id[CC_ID_LEN];
		uint64_t	space;
		int64_t		number;

		unit_hex_into(others[i], id, sizeof(id));
		CHECK_AT(!cc_id_to_int64(id, &space, &number), i);
	}
}

int
main(void)
{
	RUN(reader_stays_failed);
	RUN(reader_refuses_lengths_that_wrap);
	RUN(writer_stays_failed);
	RUN(hex_both_ways_for_every_byte);
	RUN(hex_refuses_every_other_character);
	RUN(hex_refuses_other_lengths);
	RUN(equal_sees_every_bit);
	RUN(wipe_takes_exactly_its_bytes);
	RUN(every_status_has_its_words);
	RUN(ids_of_every_space_come_back);
	RUN(ids_put_their_space_first);
	RUN(ids_that_are_not_numbers);
	return unit_done();
}
