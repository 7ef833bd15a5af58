/*
 * rowaad.c
 *		The additional data of a message in a row: see rowaad.h.
 */
#include "core/rowaad.h"

#include <string.h>

#define NO_SENDER	0
#define A_SENDER	1

static const char row_use[] = "row";	/* with its 00, as in each of these */
static const char column_use[] = "col";
static const char file_use[] = "file";

cc_status
cc_row_aad_write(int64_t created_at, const uint8_t *sender, size_t sender_len, uint8_t *out)
{
	cc_writer	w;

	if (sender == NULL && sender_len > 0)
		return CC_ERR_ARGUMENT;
	if (sender_len > CC_ROW_SENDER_MAX)
		return CC_ERR_TOO_LARGE;
	w = cc_writer_init(out, CC_ROW_AAD_FIXED_LEN + sender_len);
	cc_write_bytes(&w, row_use, sizeof(row_use));
	cc_write_u32(&w, (uint32_t) ((uint64_t) created_at >> 32));
	cc_write_u32(&w, (uint32_t) (uint64_t) created_at);
	cc_write_u8(&w, sender == NULL ? NO_SENDER : A_SENDER);
	if (sender_len > 0)
		cc_write_bytes(&w, sender, sender_len);
	return cc_writer_ok(&w) ? CC_OK : CC_ERR_ARGUMENT;
}

static bool
begins_with(const uint8_t *aad, size_t len, const char *use, size_t use_len)
{
	return len >= use_len && memcmp(aad, use, use_len) == 0;
}

bool
cc_aad_is_reserved(const uint8_t *aad, size_t len)
{
	return begins_with(aad, len, row_use, sizeof(row_use)) ||
		begins_with(aad, len, column_use, sizeof(column_use)) ||
		begins_with(aad, len, file_use, sizeof(file_use));
}
