/*
 * fuzz.h
 *		Shared by the fuzz targets: cutting an input into fields, and DEMAND.
 *
 * A target reads its input as fixed fields, keys included, and then the bytes to
 * parse.  Every field is copied into memory of exactly its size, so that the
 * address sanitizer sees a read of one byte too many.  Fields past the end of the
 * input are zero.
 *
 * The first byte says what a target does with the rest: an even one opens it as it
 * stands, an odd one seals what it finds, opens that, and opens it once more with
 * one bit changed.  Without the second, no fuzzer would ever get past a commitment.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/aead.h"

typedef struct fuzz_input
{
	const uint8_t *at;
	size_t		left;
} fuzz_input;

/* Bytes on the heap, exactly len of them; freed by fuzz_free(). */
typedef struct fuzz_bytes
{
	uint8_t    *data;
	size_t		len;
} fuzz_bytes;

extern int	LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define DEMAND(condition) fuzz_demand((condition), #condition, __FILE__, __LINE__)

static inline void
fuzz_demand(bool condition, const char *text, const char *file, int line)
{
	if (condition)
		return;
	fprintf(stderr, "%s:%d: broken property: %s\n", file, line, text);
	abort();
}

static inline fuzz_bytes
fuzz_alloc(size_t len, int fill)
{
	fuzz_bytes	bytes = {malloc(len > 0 ? len : 1), len};

	if (bytes.data == NULL)
		abort();
	memset(bytes.data, fill, len);
	return bytes;
}

/* Room for the plaintext of this many sealed bytes, filled so that a wipe can be seen. */
static inline fuzz_bytes
fuzz_room(size_t sealed_len, size_t overhead)
{
	return fuzz_alloc(sealed_len > overhead ? sealed_len - overhead : 0, 0xaa);
}

static inline void
fuzz_free(fuzz_bytes bytes)
{
	free(bytes.data);
}

static inline void
fuzz_take(fuzz_input *input, void *out, size_t len)
{
	size_t		found = len < input->left ? len : input->left;

	memset(out, 0, len);
	if (found > 0)
		memcpy(out, input->at, found);
	input->at += found;
	input->left -= found;
}

/* A number of 1 to 8 bytes, big-endian. */
static inline uint64_t
fuzz_number(fuzz_input *input, size_t len)
{
	uint8_t		bytes[8];
	uint64_t	number = 0;

	fuzz_take(input, bytes, len);
	for (size_t i = 0; i < len; i++)
		number = number << 8 | bytes[i];
	return number;
}

static inline fuzz_bytes
fuzz_slice(fuzz_input *input, size_t len)
{
	fuzz_bytes	bytes = fuzz_alloc(len < input->left ? len : input->left, 0);

	fuzz_take(input, bytes.data, bytes.len);
	return bytes;
}

static inline fuzz_bytes
fuzz_rest(fuzz_input *input)
{
	return fuzz_slice(input, input->left);
}

/* True where the bytes hold nothing of a plaintext any more. */
static inline bool
fuzz_wiped(fuzz_bytes bytes)
{
	for (size_t i = 0; i < bytes.len; i++)
		if (bytes.data[i] != 0)
			return false;
	return true;
}

static inline bool
fuzz_same(fuzz_bytes a, fuzz_bytes b)
{
	return a.len == b.len && memcmp(a.data, b.data, a.len) == 0;
}

/* Flips one bit, which `where` chooses, and returns the index of its byte. */
static inline size_t
fuzz_flip(fuzz_bytes bytes, uint64_t where)
{
	size_t		at = (size_t) (where / 8 % bytes.len);

	bytes.data[at] ^= (uint8_t) (1 << where % 8);
	return at;
}

/* One context for the whole run; it is never freed, so that it stays reachable. */
static inline cc_aead *
fuzz_aead(void)
{
	static cc_aead *aead;

	if (aead == NULL)
	{
		DEMAND(cc_aead_global_init() == CC_OK);
		aead = cc_aead_new(CC_AEAD_AUTO);
		DEMAND(aead != NULL);
	}
	return aead;
}

#endif
