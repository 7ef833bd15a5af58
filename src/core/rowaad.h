/*
 * rowaad.h
 *		The additional data of a message that lies in a row of chatcrypt.sealed_message:
 *
 *	"row" 00 ‖ i64be created_at ‖ 00                      for a row without a sender
 *	"row" 00 ‖ i64be created_at ‖ 01 ‖ sender as UTF-8    for a row with a sender
 *
 * created_at is in microseconds since 1970.  The sender comes last, and the byte before
 * it tells a missing sender from an empty one, so that two rows have the same additional
 * data only if they have the same sender and the same time.
 *
 * This file also says which additional data the extension reserves for itself.
 */
#ifndef CC_ROWAAD_H
#define CC_ROWAAD_H

#include "core/bytes.h"
#include "core/envelope.h"

#define CC_ROW_AAD_FIXED_LEN	13		/* without the sender */
#define CC_ROW_SENDER_MAX		(CC_AAD_MAX - CC_ROW_AAD_FIXED_LEN)

/*
 * sender is NULL for none.  That it is UTF-8 is not checked here: the caller knows it.  out
 * has CC_ROW_AAD_FIXED_LEN + sender_len bytes.  CC_ERR_TOO_LARGE for a sender of more than
 * CC_ROW_SENDER_MAX bytes.
 */
extern CC_MUST_CHECK cc_status cc_row_aad_write(int64_t created_at, const uint8_t *sender,
												size_t sender_len, uint8_t *out);

/*
 * Does the additional data begin with a prefix that the extension reserves for what it seals
 * by itself: "row" 00, "col" 00 or "file" 00?
 */
extern bool cc_aad_is_reserved(const uint8_t *aad, size_t len);

#endif
