/*
 * test_wipingmemory.c
 *		The allocator that is given to libcurl: every block is zeroes when it reaches
 *		free(), which this program sees through the linker's --wrap.
 */
#include "harness.h"

#include "kms/wipingmemory.h"

extern void __real_free(void *memory);
extern void __wrap_free(void *memory);

#define HEADER_MOST 64

static const uint8_t *watched;	/* what the caller has of a block; its header lies before it */
static size_t watched_len;
static int	frees_seen;
static bool was_wiped;

void
__wrap_free(void *memory)
{
	const uint8_t *block = memory;

	if (block != NULL && block < watched && watched - block <= HEADER_MOST)
	{
		frees_seen++;
		was_wiped = unit_all_zero(block, (size_t) (watched - block) + watched_len);
		watched = NULL;
	}
	__real_free(memory);
}

static void
watch(const uint8_t *block, size_t len)
{
	watched = block;
	watched_len = len;
	frees_seen = 0;
	was_wiped = false;
}

static void
free_wipes(void)
{
	for (size_t len = 1; len < 300; len++)
	{
		uint8_t    *block = cc_wiping_malloc(len);

		CHECK_AT(block != NULL, len);
		CHECK_AT((uintptr_t) block % _Alignof(max_align_t) == 0, len);
		memset(block, 0xaa, len);
		watch(block, len);
		cc_wiping_free(block);
		CHECK_AT(frees_seen == 1 && was_wiped, len);
	}
	cc_wiping_free(NULL);
}

static void
realloc_keeps_what_it_can_and_wipes_the_old(void)
{
	uint8_t    *block = cc_wiping_realloc(NULL, 100);
	uint8_t    *larger;
	uint8_t    *smaller;

	CHECK(block != NULL);
	memset(block, 0xbb, 100);
	watch(block, 100);
	larger = cc_wiping_realloc(block, 5000);
	CHECK(larger != NULL && frees_seen == 1 && was_wiped);
	for (int i = 0; i < 100; i++)
		CHECK_AT(larger[i] == 0xbb, i);

	watch(larger, 5000);
	smaller = cc_wiping_realloc(larger, 10);
	CHECK(smaller != NULL && frees_seen == 1 && was_wiped);
	CHECK(smaller[9] == 0xbb);
	cc_wiping_free(smaller);
}

static void
sizes_that_cannot_be_are_refused(void)
{
	volatile size_t half = SIZE_MAX / 2;
	volatile size_t all = SIZE_MAX;

	CHECK(cc_wiping_malloc(all) == NULL);
	CHECK(cc_wiping_malloc(all - 8) == NULL);
	CHECK(cc_wiping_calloc(half, 3) == NULL);
	CHECK(cc_wiping_calloc(3, half) == NULL);
}

static void
calloc_is_zeroes_and_strdup_a_copy(void)
{
	uint8_t    *block = cc_wiping_calloc(7, 13);
	char	   *text = cc_wiping_strdup("a token");

	CHECK(block != NULL && unit_all_zero(block, 7 * 13));
	CHECK(text != NULL && strcmp(text, "a token") == 0);
	cc_wiping_free(block);
	watch((uint8_t *) text, strlen("a token") + 1);
	cc_wiping_free(text);
	CHECK(frees_seen == 1 && was_wiped);
}

int
main(void)
{
	RUN(free_wipes);
	RUN(realloc_keeps_what_it_can_and_wipes_the_old);
	RUN(sizes_that_cannot_be_are_refused);
	RUN(calloc_is_zeroes_and_strdup_a_copy);
	return unit_done();
}
