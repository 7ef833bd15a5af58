/*
 * fuzz_id.c
 *		Ids of bigints, both ways.
 *
 * Input: id16, u64 space, u64 number.
 */
#include "core/id.h"
#include "fuzz.h"

/* The three properties of the id of a bigint, read off its bytes. */
static bool
looks_like_bigint(const uint8_t id[CC_ID_LEN])
{
	bool		version_8 = id[6] == 0x80;		/* and nothing in the upper part of custom_b */
	bool		two_bits = id[7] <= 3;
	bool		variant = id[8] >> 6 == 2;

	return version_8 && two_bits && variant;
}

static void
read_back(const uint8_t id[CC_ID_LEN])
{
	uint8_t		again[CC_ID_LEN];
	uint64_t	space;
	int64_t		number;
	bool		found = cc_id_to_int64(id, &space, &number);

	DEMAND(found == looks_like_bigint(id));
	if (found)
	{
		DEMAND(cc_id_from_int64(space, number, again) == CC_OK);
		DEMAND(memcmp(again, id, CC_ID_LEN) == 0);
	}
}

static void
make_and_read(uint64_t space, int64_t number)
{
	uint8_t		id[CC_ID_LEN];
	uint64_t	found_space;
	int64_t		found_number;
	cc_status	made = cc_id_from_int64(space, number, id);

	DEMAND((made == CC_OK) == (space <= CC_ID_SPACE_MAX));
	if (made == CC_OK)
	{
		DEMAND(cc_id_to_int64(id, &found_space, &found_number));
		DEMAND(found_space == space && found_number == number);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_input	input = {data, size};
	fuzz_bytes	id = fuzz_alloc(CC_ID_LEN, 0);
	uint64_t	space;
	int64_t		number;

	fuzz_take(&input, id.data, id.len);
	space = fuzz_number(&input, 8);
	number = (int64_t) fuzz_number(&input, 8);
	read_back(id.data);
	make_and_read(space, number);
	make_and_read(space & CC_ID_SPACE_MAX, number);
	fuzz_free(id);
	return 0;
}
