/*
 * test_random.c
 *		The buffer of random bytes: no byte is given twice, not across fork either,
 *		and nothing is left behind of bytes that were handed out or forgotten.
 */
#include "harness.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/random.h"

#define DRAW	16				/* long enough that equal draws are no accident */
#define DRAWS	600				/* more than the buffer ever holds */

static int
compare_draws(const void *a, const void *b)
{
	return memcmp(a, b, DRAW);
}

static bool
all_differ(uint8_t (*draws)[DRAW], size_t n)
{
	qsort(draws, n, DRAW, compare_draws);
	for (size_t i = 1; i < n; i++)
		if (memcmp(draws[i - 1], draws[i], DRAW) == 0)
			return false;
	return true;
}

static bool
draw_many(uint8_t (*draws)[DRAW], size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (cc_random_bytes(draws[i], DRAW) != CC_OK)
			return false;
	return true;
}

static void
draws_differ(void)
{
	static uint8_t draws[DRAWS][DRAW];

	CHECK(draw_many(draws, DRAWS));
	CHECK(all_differ(draws, DRAWS));
}

static void
draws_differ_across_forgetting(void)
{
	static uint8_t draws[DRAWS][DRAW];

	for (size_t i = 0; i < DRAWS; i++)
	{
		CHECK(cc_random_bytes(draws[i], DRAW) == CC_OK);
		if (i % 3 == 0)
			cc_random_forget();
	}
	CHECK(all_differ(draws, DRAWS));
}

static void
every_length(void)
{
	for (size_t len = 0; len <= 200; len++)
	{
		uint8_t    *bytes = unit_alloc(len + 1);
		bool		changed = false;

		bytes[len] = 0xee;

		/* Every byte is written: one that stays the same over 40 draws is not random. */
		for (size_t at = 0; at < len; at++)
		{
			changed = false;
			for (int round = 0; round < 40 && !changed; round++)
			{
				bytes[at] = 0xee;
				CHECK(cc_random_bytes(bytes, len) == CC_OK);
				changed = bytes[at] != 0xee;
			}
			CHECK_AT(changed, len);
		}
		CHECK(cc_random_bytes(bytes, len) == CC_OK);
		CHECK_AT(bytes[len] == 0xee, len);
		free(bytes);
	}
}

/* About half of the bits are ones: this tests the plumbing, not the quality. */
static void
bytes_are_not_constant(void)
{
	uint8_t		bytes[64];
	long		ones = 0;

	for (int round = 0; round < 1000; round++)
	{
		CHECK(cc_random_bytes(bytes, sizeof(bytes)) == CC_OK);
		for (size_t i = 0; i < sizeof(bytes); i++)
			ones += __builtin_popcount(bytes[i]);
	}
	CHECK(ones > 512000 * 49 / 100 && ones < 512000 * 51 / 100);
}

/* Children that fork with a full buffer, and from each other, never return the same bytes. */
static void
no_process_repeats_another(void)
{
	enum {CHILDREN = 8, EACH = 100};
	size_t		size = sizeof(uint8_t[DRAW]) * EACH * (CHILDREN + 1);
	uint8_t		(*shared)[DRAW] = mmap(NULL, size, PROT_READ | PROT_WRITE,
									   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint8_t		warm[DRAW];
	bool		good;

	CHECK(shared != MAP_FAILED);

	/* Most of the buffer must be left when the children start. */
	for (int i = 0; i < 300; i++)
		CHECK(cc_random_bytes(warm, sizeof(warm)) == CC_OK);
	for (int child = 0; child < CHILDREN; child++)
	{
		pid_t		pid = fork();
		int			status;

		CHECK(pid >= 0);
		if (pid == 0)
		{
			/* Every other one is a grandchild, whose parent drew as well. */
			if (child % 2 == 1)
			{
				pid_t		grandchild;

				good = cc_random_bytes(warm, sizeof(warm)) == CC_OK;
				grandchild = fork();
				if (grandchild != 0)
				{
					good = good && waitpid(grandchild, &status, 0) == grandchild && status == 0;
					_exit(good ? 0 : 1);
				}
			}
			_exit(draw_many(shared + child * EACH, EACH) ? 0 : 1);
		}
		CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	}
	CHECK(draw_many(shared + CHILDREN * EACH, EACH));
	good = all_differ(shared, EACH * (CHILDREN + 1));
	munmap(shared, size);
	CHECK(good);
}

/*
 * The buffer: the one mapping that the kernel says it wipes on fork ("wf") and
 * keeps out of core dumps ("dd").  NULL where there is none.
 */
static const uint8_t *
find_buffer(size_t *len)
{
	FILE	   *smaps = fopen("/proc/self/smaps", "r");
	char		line[512];
	unsigned long start = 0;
	unsigned long end = 0;
	const uint8_t *found = NULL;

	if (smaps == NULL)
		abort();
	while (fgets(line, sizeof(line), smaps) != NULL)
	{
		unsigned long a;
		unsigned long b;

		if (sscanf(line, "%lx-%lx ", &a, &b) == 2)
		{
			start = a;
			end = b;
		}
		else if (strncmp(line, "VmFlags:", 8) == 0 && strstr(line, " wf") != NULL &&
				 strstr(line, " dd") != NULL)
		{
			found = (const uint8_t *) start;
			*len = end - start;
		}
	}
	fclose(smaps);
	return found;
}

static bool
holds(const uint8_t *buffer, size_t len, const uint8_t *needle)
{
	for (size_t at = 0; at + DRAW <= len; at++)
		if (memcmp(buffer + at, needle, DRAW) == 0)
			return true;
	return false;
}

static void
what_was_handed_out_is_not_kept(void)
{
	size_t		len;
	const uint8_t *buffer = find_buffer(&len);
	uint8_t    *before;
	uint8_t		drawn[DRAW];

	CHECK(buffer != NULL);
	before = unit_alloc(len);
	for (int round = 0; round < DRAWS; round++)
	{
		bool		was_there;

		memcpy(before, buffer, len);
		CHECK(cc_random_bytes(drawn, sizeof(drawn)) == CC_OK);
		was_there = holds(before, len, drawn);

		/* Unless a draw refilled the buffer, a miss here would mean a search in the wrong place. */
		if (round > 100 && round < 110)
			CHECK_AT(was_there, round);
		CHECK_AT(!holds(buffer, len, drawn), round);
	}
	free(before);
}

static void
forgetting_leaves_zeroes(void)
{
	size_t		len;
	const uint8_t *buffer = find_buffer(&len);
	uint8_t		drawn[DRAW];

	CHECK(buffer != NULL);
	CHECK(cc_random_bytes(drawn, sizeof(drawn)) == CC_OK);
	CHECK(!unit_all_zero(buffer, len));
	cc_random_forget();
	CHECK(unit_all_zero(buffer, len));
	cc_random_forget();
}

static void
a_child_starts_with_zeroes(void)
{
	size_t		len;
	const uint8_t *buffer = find_buffer(&len);
	uint8_t		drawn[DRAW];
	int			status;
	pid_t		pid;

	CHECK(buffer != NULL);
	CHECK(cc_random_bytes(drawn, sizeof(drawn)) == CC_OK);
	CHECK(!unit_all_zero(buffer, len));
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0)
		_exit(unit_all_zero(buffer, len) ? 0 : 1);
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	CHECK(!unit_all_zero(buffer, len));
}

int
main(void)
{
	RUN(draws_differ);
	RUN(draws_differ_across_forgetting);
	RUN(every_length);
	RUN(bytes_are_not_constant);
	RUN(no_process_repeats_another);
	RUN(what_was_handed_out_is_not_kept);
	RUN(forgetting_leaves_zeroes);
	RUN(a_child_starts_with_zeroes);
	return unit_done();
}
