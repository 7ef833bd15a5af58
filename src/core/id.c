/*
 * id.c
 *		A bigint as a UUIDv8, and back.
 */
#include "core/id.h"

#define UUID_VERSION_8	0x80
#define UUID_VARIANT	0x80	/* two bits, 10 */

cc_status
cc_id_from_int64(uint64_t space, int64_t number, uint8_t id[CC_ID_LEN])
{
	uint64_t	bits = (uint64_t) number;

	if (space > CC_ID_SPACE_MAX)
		return CC_ERR_TOO_LARGE;
	for (int i = 0; i < 6; i++)
		id[i] = (uint8_t) (space >> (40 - 8 * i));
	for (int i = 8; i < 16; i++)
		id[i] = (uint8_t) (bits >> (56 - 8 * (i - 8)));
	id[6] = UUID_VERSION_8;
	id[7] = (uint8_t) (bits >> 62);
	id[8] = UUID_VARIANT | (id[8] & 0x3f);
	return CC_OK;
}

bool
cc_id_to_int64(const uint8_t id[CC_ID_LEN], uint64_t *space, int64_t *number)
{
	uint64_t	custom_a = 0;
	uint64_t	bits = 0;

	if (id[6] != UUID_VERSION_8 || id[7] > 3 || (id[8] & 0xc0) != UUID_VARIANT)
		return false;
	for (int i = 0; i < 6; i++)
		custom_a = custom_a << 8 | id[i];
	for (int i = 8; i < 16; i++)
		bits = bits << 8 | id[i];

	/* custom_b's two bits take the place of the variant's. */
	bits = (bits & (UINT64_MAX >> 2)) | (uint64_t) id[7] << 62;
	*space = custom_a;
	*number = (int64_t) bits;
	return true;
}
