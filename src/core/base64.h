/*
 * base64.h
 *		Base64 in and out: the standard alphabet (RFC 4648, section 4), padded, in one line.
 *
 * Strict: no blank, no line break, no missing padding and no bit that is not of a
 * byte, so that bytes have one text and a text has one meaning.  The time that it
 * takes does not depend on what the bytes are.
 */
#ifndef CC_BASE64_H
#define CC_BASE64_H

#include "core/bytes.h"

/* Characters for so many bytes, and the most bytes that so many characters can be. */
#define CC_BASE64_TEXT_LEN(len)		(((size_t) (len) + 2) / 3 * 4)
#define CC_BASE64_BYTES_MAX(len)	((size_t) (len) / 4 * 3)

/* text has room for CC_BASE64_TEXT_LEN(len) + 1 bytes; it ends with a zero. */
extern void cc_base64_encode(const uint8_t *bytes, size_t len, char *text);

/*
 * out has room for capacity bytes, which may be more than there are.  CC_ERR_SYNTAX for
 * what is no base64, or has no room.
 */
extern CC_MUST_CHECK cc_status cc_base64_decode(const char *text, size_t text_len,
												uint8_t *out, size_t capacity, size_t *out_len);

#endif
