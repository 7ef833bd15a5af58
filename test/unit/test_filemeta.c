/*
 * test_filemeta.c
 *		The metadata of a file: layout, limits, numbers that do not go together, and
 *		bytes that are cut, changed or too many.
 */
#include "harness.h"

#include "core/filemeta.h"

static const cc_filemeta whole = {
	.complete = true, .part_size = 1024, .parts = 3, .size = 2048 + 7,
	.name = (const uint8_t *) "a.txt", .name_len = 5,
	.content_type = (const uint8_t *) "text/plain", .content_type_len = 10
};

static const char layout[] = "01" "01" "00000400" "00000003" "0000000000000807" "0005" "612e747874"
	"000a" "746578742f706c61696e";

/* What the encoded metadata decodes to. */
static cc_status
write_and_read(const cc_filemeta *meta, cc_filemeta *again)
{
	static uint8_t bytes[CC_FILE_NAME_MAX + CC_FILE_TYPE_MAX + 64];
	cc_status	status = cc_filemeta_write(meta, bytes);

	return status == CC_OK ? cc_filemeta_read(bytes, cc_filemeta_len(meta), again) : status;
}

static void
it_is_what_the_format_says(void)
{
	uint8_t		bytes[64];

	CHECK(cc_filemeta_len(&whole) == sizeof(layout) / 2);
	CHECK(cc_filemeta_write(&whole, bytes) == CC_OK);
	CHECK(unit_is_hex(bytes, cc_filemeta_len(&whole), layout));
}

static void
it_comes_back(void)
{
	cc_filemeta again;

	CHECK(write_and_read(&whole, &again) == CC_OK);
	CHECK(again.complete && again.part_size == 1024 && again.parts == 3 && again.size == 2055);
	CHECK(again.name_len == 5 && memcmp(again.name, "a.txt", 5) == 0);
	CHECK(again.content_type_len == 10 && memcmp(again.content_type, "text/plain", 10) == 0);
}

static void
an_upload_comes_back(void)
{
	cc_filemeta upload = {.part_size = CC_FILE_PART_SIZE_MAX};
	cc_filemeta again;

	CHECK(write_and_read(&upload, &again) == CC_OK);
	CHECK(!again.complete && again.part_size == CC_FILE_PART_SIZE_MAX && again.name_len == 0);
}

static void
parts_have_lengths(void)
{
	CHECK(cc_filemeta_part_len(&whole, 0) == 1024);
	CHECK(cc_filemeta_part_len(&whole, 1) == 1024);
	CHECK(cc_filemeta_part_len(&whole, 2) == 7);
}

static void
the_largest_file(void)
{
	cc_filemeta large = {
		.complete = true, .part_size = CC_FILE_PART_SIZE_MAX, .parts = CC_FILE_PARTS_MAX,
		.size = (uint64_t) CC_FILE_PART_SIZE_MAX * CC_FILE_PARTS_MAX
	};
	cc_filemeta again;

	CHECK(write_and_read(&large, &again) == CC_OK);
	CHECK(again.size == large.size);
	CHECK(cc_filemeta_part_len(&again, CC_FILE_PARTS_MAX - 1) == CC_FILE_PART_SIZE_MAX);
	large.parts++;
	large.size++;
	CHECK(write_and_read(&large, &again) == CC_ERR_ARGUMENT);
}

static void
names_have_limits(void)
{
	static uint8_t text[CC_FILE_NAME_MAX + 1];
	cc_filemeta meta = whole;
	cc_filemeta again;

	meta.name = meta.content_type = text;
	meta.name_len = CC_FILE_NAME_MAX;
	meta.content_type_len = CC_FILE_TYPE_MAX;
	CHECK(write_and_read(&meta, &again) == CC_OK);
	meta.name_len++;
	CHECK(write_and_read(&meta, &again) == CC_ERR_TOO_LARGE);
	meta.name_len--;
	meta.content_type_len++;
	CHECK(write_and_read(&meta, &again) == CC_ERR_TOO_LARGE);
}

static void
numbers_go_together(void)
{
	static const struct
	{
		bool		complete;
		uint32_t	part_size;
		uint32_t	parts;
		uint64_t	size;
		bool		right;
	}			cases[] = {
		{true, 1024, 1, 0, true},
		{true, 1024, 1, 1024, true},
		{true, 1024, 2, 1024, true},	/* the last one is empty */
		{true, 1024, 1, 1025, false},
		{true, 1024, 2, 1023, false},
		{true, 1024, 0, 0, false},
		{true, 1023, 1, 0, false},
		{true, CC_FILE_PART_SIZE_MAX + 1, 1, 0, false},
		{true, 1024, 1, UINT64_MAX, false},
		{false, 1024, 0, 0, true},
		{false, 1024, 1, 0, false},
		{false, 1024, 0, 1, false}
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		cc_filemeta meta = {
			.complete = cases[i].complete, .part_size = cases[i].part_size,
			.parts = cases[i].parts, .size = cases[i].size
		};
		cc_filemeta again;

		CHECK_AT(write_and_read(&meta, &again) == (cases[i].right ? CC_OK : CC_ERR_ARGUMENT), i);
	}
}

/* Decodes from memory of exactly len bytes. */
static cc_status
read_copy(const uint8_t *bytes, size_t len)
{
	uint8_t    *copy = unit_copy(bytes, len);
	cc_filemeta meta;
	cc_status	status = cc_filemeta_read(copy, len, &meta);

	free(copy);
	return status;
}

static void
every_length_cut_and_grown(void)
{
	uint8_t		bytes[64] = {0};
	size_t		len = cc_filemeta_len(&whole);

	CHECK(cc_filemeta_write(&whole, bytes) == CC_OK);
	for (size_t cut = 0; cut < len; cut++)
		CHECK_AT(read_copy(bytes, cut) == CC_ERR_TRUNCATED, cut);
	CHECK(read_copy(bytes, len) == CC_OK);
	CHECK(read_copy(bytes, len + 1) == CC_ERR_TRAILING);
}

static void
other_layouts(void)
{
	uint8_t		bytes[64];

	CHECK(cc_filemeta_write(&whole, bytes) == CC_OK);
	for (size_t at = 0; at < 2; at++)
		for (int bit = 0; bit < 8; bit++)
		{
			bytes[at] ^= (uint8_t) (1 << bit);
			CHECK_AT(read_copy(bytes, cc_filemeta_len(&whole)) == CC_ERR_SYNTAX, at * 8 + (size_t) bit);
			bytes[at] ^= (uint8_t) (1 << bit);
		}
}

int
main(void)
{
	RUN(it_is_what_the_format_says);
	RUN(it_comes_back);
	RUN(an_upload_comes_back);
	RUN(parts_have_lengths);
	RUN(the_largest_file);
	RUN(names_have_limits);
	RUN(numbers_go_together);
	RUN(every_length_cut_and_grown);
	RUN(other_layouts);
	return unit_done();
}
