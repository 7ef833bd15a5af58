/*
 * base64.c
 *		Base64, through libsodium: see base64.h.
 */
#include <sodium.h>

#include "core/base64.h"

#define VARIANT sodium_base64_VARIANT_ORIGINAL

void
cc_base64_encode(const uint8_t *bytes, size_t len, char *text)
{
	sodium_bin2base64(text, CC_BASE64_TEXT_LEN(len) + 1, bytes, len, VARIANT);
}

/* This check is needed because libsodium 1.0.18 takes some bytes beyond ASCII for letters. */
static bool
is_ascii(const char *text, size_t len)
{
	uint8_t		all = 0;

	for (size_t i = 0; i < len; i++)
		all |= (uint8_t) text[i];
	return all < 0x80;
}

cc_status
cc_base64_decode(const char *text, size_t text_len, uint8_t *out, size_t capacity, size_t *out_len)
{
	if (!is_ascii(text, text_len) ||
		sodium_base642bin(out, capacity, text, text_len, NULL, out_len, NULL, VARIANT) != 0)
		return CC_ERR_SYNTAX;
	return CC_OK;
}
