/*
 * bytes.h
 *		Bounded readers and writers, big-endian numbers, and the one wipe.
 *
 * A reader or writer that runs out of room stays failed: check once, at the end,
 * with cc_reader_ok() or cc_writer_ok().  Neither owns its bytes.
 */
#ifndef CC_BYTES_H
#define CC_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

#define CC_ID_LEN		16		/* chat, message and file ids are uuids */
#define CC_DEK_LEN		32
#define CC_KCV_LEN		32
#define CC_CONTEXT_LEN	32

typedef struct cc_reader
{
	const uint8_t *at;
	size_t		left;
	bool		failed;
} cc_reader;

typedef struct cc_writer
{
	uint8_t    *at;
	size_t		left;
	bool		failed;
} cc_writer;

/* Overwrites secrets; the compiler may not remove it.  The only wipe in the tree. */
extern void cc_wipe(void *secret, size_t len);

/* Compares in constant time. */
extern bool cc_equal(const void *a, const void *b, size_t len);

/* Readers are inline: the header of every envelope goes through them, twice. */
static inline cc_reader
cc_reader_init(const void *bytes, size_t len)
{
	cc_reader	r = {.at = bytes, .left = len, .failed = false};

	return r;
}

/* Returns NULL where fewer than len bytes are left; otherwise a pointer into the reader's bytes. */
static inline const uint8_t *
cc_read_bytes(cc_reader *r, size_t len)
{
	const uint8_t *bytes = r->at;

	if (r->failed || len > r->left)
	{
		r->failed = true;
		return NULL;
	}
	if (len > 0)
		r->at += len;
	r->left -= len;
	return bytes;
}

static inline uint8_t
cc_read_u8(cc_reader *r)
{
	const uint8_t *b = cc_read_bytes(r, 1);

	return b == NULL ? 0 : b[0];
}

static inline uint32_t
cc_read_u32(cc_reader *r)
{
	const uint8_t *b = cc_read_bytes(r, 4);

	if (b == NULL)
		return 0;
	return (uint32_t) b[0] << 24 | (uint32_t) b[1] << 16 | (uint32_t) b[2] << 8 | b[3];
}

static inline bool
cc_reader_ok(const cc_reader *r)
{
	return !r->failed;
}

extern cc_writer cc_writer_init(void *bytes, size_t capacity);
extern void cc_write_u8(cc_writer *w, uint8_t value);
extern void cc_write_u32(cc_writer *w, uint32_t value);
extern void cc_write_bytes(cc_writer *w, const void *bytes, size_t len);
extern bool cc_writer_ok(const cc_writer *w);

/* Encoding writes lower-case hex (2 * len characters, no terminator); decoding is strict. */
extern void cc_hex_encode(const uint8_t *bytes, size_t len, char *out);
extern CC_MUST_CHECK cc_status cc_hex_decode(const char *text, size_t text_len, uint8_t *out,
											 size_t out_len);

#endif
