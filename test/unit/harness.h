/*
 * harness.h
 *		A small test harness: prints TAP, counts, and returns an exit status.
 *
 * A test is a function; the first CHECK that fails ends it, and the next test
 * runs.  A sweep over thousands of inputs is one test.
 */
#ifndef CC_UNIT_HARNESS_H
#define CC_UNIT_HARNESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"

static int	unit_tests;
static int	unit_failures;
static char unit_problem[512];

/* Records a failed condition and returns from the test (a void function). */
#define CHECK(condition) \
	do { \
		if (!(condition)) \
		{ \
			snprintf(unit_problem, sizeof(unit_problem), "%s:%d: %s", __FILE__, __LINE__, \
					 #condition); \
			return; \
		} \
	} while (0)

/* The same, with the number of the round of a sweep. */
#define CHECK_AT(condition, number) \
	do { \
		if (!(condition)) \
		{ \
			snprintf(unit_problem, sizeof(unit_problem), "%s:%d: %s (at %lld)", \
					 __FILE__, __LINE__, #condition, (long long) (number)); \
			return; \
		} \
	} while (0)

#define RUN(test) unit_run(#test, test)

static inline void
unit_run(const char *name, void (*test) (void))
{
	unit_problem[0] = '\0';
	test();
	unit_tests++;
	if (unit_problem[0] == '\0')
		printf("ok %d - %s\n", unit_tests, name);
	else
	{
		unit_failures++;
		printf("not ok %d - %s\n# %s\n", unit_tests, name, unit_problem);
	}
	fflush(stdout);
}

/* Ends main(). */
static inline int
unit_done(void)
{
	printf("1..%d\n", unit_tests);
	return unit_failures == 0 ? 0 : 1;
}

/* Heap memory of exactly this size, so that ASAN and valgrind see an access one byte past it. */
static inline uint8_t *
unit_alloc(size_t len)
{
	uint8_t    *bytes = malloc(len > 0 ? len : 1);

	if (bytes == NULL)
		abort();
	return bytes;
}

static inline uint8_t *
unit_copy(const void *from, size_t len)
{
	uint8_t    *bytes = unit_alloc(len);

	if (len > 0)
		memcpy(bytes, from, len);
	return bytes;
}

/* Decodes hex, or a uuid with its dashes; the caller frees. */
static inline uint8_t *
unit_hex(const char *text, size_t *len)
{
	char	   *plain = malloc(strlen(text) + 1);
	size_t		n = 0;
	uint8_t    *bytes;

	if (plain == NULL)
		abort();
	for (; *text != '\0'; text++)
		if (*text != '-' && *text != ' ')
			plain[n++] = *text;
	bytes = unit_alloc(n / 2);
	if (cc_hex_decode(plain, n, bytes, n / 2) != CC_OK)
	{
		printf("Bail out! bad hex in a test\n");
		abort();
	}
	free(plain);
	if (len != NULL)
		*len = n / 2;
	return bytes;
}

/* The same, into an array of the caller. */
static inline void
unit_hex_into(const char *text, uint8_t *out, size_t out_len)
{
	size_t		len;
	uint8_t    *bytes = unit_hex(text, &len);

	if (len != out_len)
		abort();
	memcpy(out, bytes, len);
	free(bytes);
}

static inline bool
unit_is_hex(const uint8_t *bytes, size_t len, const char *text)
{
	size_t		expected_len;
	uint8_t    *expected = unit_hex(text, &expected_len);
	bool		same = len == expected_len && memcmp(bytes, expected, len) == 0;

	free(expected);
	return same;
}

static inline bool
unit_all_zero(const uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (bytes[i] != 0)
			return false;
	return true;
}

/* Numbers that are the same in every run: xorshift, not for keys. */
static uint64_t unit_seed = UINT64_C(0x9e3779b97f4a7c15);

static inline uint64_t
unit_number(uint64_t below)
{
	unit_seed ^= unit_seed << 13;
	unit_seed ^= unit_seed >> 7;
	unit_seed ^= unit_seed << 17;
	return unit_seed % below;
}

static inline void
unit_fill(uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		bytes[i] = (uint8_t) unit_number(256);
}

#endif
