/*
 * id.h
 *		How a bigint becomes one of the 16-byte ids of the formats: a UUIDv8 whose
 *		custom_a (48 bits) is its id space, custom_b (12 bits) the two top bits of
 *		the number, custom_c (62 bits) the rest.  42 in space 0 is
 *		00000000-0000-8000-8000-00000000002a.
 */
#ifndef CC_ID_H
#define CC_ID_H

#include "core/bytes.h"

#define CC_ID_SPACE_MAX UINT64_C(0xffffffffffff)	/* custom_a has 48 bits */

extern CC_MUST_CHECK cc_status cc_id_from_int64(uint64_t space, int64_t number,
												uint8_t id[CC_ID_LEN]);

/* False for an id that is not such a UUIDv8. */
extern bool cc_id_to_int64(const uint8_t id[CC_ID_LEN], uint64_t *space, int64_t *number);

#endif
