/*
 * bytes.c
 *		Bounded writers, hex, and the one wipe.  Readers are in the header.
 */
#include <string.h>

#include <openssl/crypto.h>

#include "core/bytes.h"

void
cc_wipe(void *secret, size_t len)
{
	if (len > 0)
		OPENSSL_cleanse(secret, len);
}

bool
cc_equal(const void *a, const void *b, size_t len)
{
	return CRYPTO_memcmp(a, b, len) == 0;
}

cc_writer
cc_writer_init(void *bytes, size_t capacity)
{
	cc_writer	w = {.at = bytes, .left = capacity, .failed = false};

	return w;
}

void
cc_write_bytes(cc_writer *w, const void *bytes, size_t len)
{
	if (w->failed || len > w->left)
	{
		w->failed = true;
		return;
	}
	if (len == 0)
		return;
	memcpy(w->at, bytes, len);
	w->at += len;
	w->left -= len;
}

void
cc_write_u8(cc_writer *w, uint8_t value)
{
	cc_write_bytes(w, &value, 1);
}

void
cc_write_u32(cc_writer *w, uint32_t value)
{
	uint8_t		bytes[4] = {
		(uint8_t) (value >> 24), (uint8_t) (value >> 16), (uint8_t) (value >> 8), (uint8_t) value
	};

	cc_write_bytes(w, bytes, sizeof(bytes));
}

bool
cc_writer_ok(const cc_writer *w)
{
	return !w->failed;
}

void
cc_hex_encode(const uint8_t *bytes, size_t len, char *out)
{
	for (size_t i = 0; i < len; i++)
	{
		unsigned	high = bytes[i] >> 4;
		unsigned	low = bytes[i] & 15;

		/* Arithmetic, not a table: the bytes may be a key, and look-ups leave traces in caches. */
		out[2 * i] = (char) ('0' + high + (((9 - high) >> 8) & 39));
		out[2 * i + 1] = (char) ('0' + low + (((9 - low) >> 8) & 39));
	}
}

/*
 * Returns 0 to 15 for a hex digit, or a value with high bits set.  It decodes master keys, and
 * so uses no table and no branch.
 */
static unsigned
hex_value(unsigned char c)
{
	unsigned	digit = (unsigned) c - '0';
	unsigned	letter = ((unsigned) c | 32) - 'a';
	unsigned	is_digit = 0 - (unsigned) (digit < 10);
	unsigned	is_letter = 0 - (unsigned) (letter < 6);

	return (digit & is_digit) | ((letter + 10) & is_letter) | (~(is_digit | is_letter) & 0x100);
}

cc_status
cc_hex_decode(const char *text, size_t text_len, uint8_t *out, size_t out_len)
{
	unsigned	bad = 0;

	if (text_len % 2 != 0 || text_len / 2 != out_len)
		return CC_ERR_SYNTAX;
	for (size_t i = 0; i < out_len; i++)
	{
		unsigned	high = hex_value((unsigned char) text[2 * i]);
		unsigned	low = hex_value((unsigned char) text[2 * i + 1]);

		bad |= high | low;
		out[i] = (uint8_t) (high << 4 | low);
	}
	if (bad > 15)
	{
		cc_wipe(out, out_len);
		return CC_ERR_SYNTAX;
	}
	return CC_OK;
}
