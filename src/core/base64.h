/*
 * base64.h
 *		Base64 in and out: the standard alphabet (RFC 4648, section 4), padded, in one line.
 *
 * Decoding is strict: no blank, no line break, no missing padding and no stray bit at the end
 * is accepted, so that exactly one text stands for any bytes.  The time that either
 * function takes does not depend on the values of the bytes.
 */
#ifndef CC_BASE64_H
#define CC_BASE64_H

#include "core/bytes.h"

/* The characters that len bytes take, and the most bytes that a text of len characters holds. */
#define CC_BASE64_TEXT_LEN(len)		(((size_t) (len) + 2) / 3 * 4)
#define CC_BASE64_BYTES_MAX(len)	((size_t) (len) / 4 * 3)

/* text has room for CC_BASE64_TEXT_LEN(len) + 1 bytes; it ends with a zero byte. */
extern void cc_base64_encode(const uint8_t *bytes, size_t len, char *text);

/*
 * out has room for capacity bytes, which may be more than the text holds.  Returns
 * CC_ERR_SYNTAX for a text that is not base64, or that does not fit.
 */
extern CC_MUST_CHECK cc_status cc_base64_decode(const char *text, size_t text_len,
												uint8_t *out, size_t capacity, size_t *out_len);

#endif
