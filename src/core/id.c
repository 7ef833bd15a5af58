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

static uint64_t
load(const uint8_t bytes[8])
{
	return (uint64_t) bytes[0] << 56 | (uint64_t) bytes[1] << 48 | (uint64_t) bytes[2] << 40 |
		(uint64_t) bytes[3] << 32 | (uint64_t) bytes[4] << 24 | (uint64_t) bytes[5] << 16 |
		(uint64_t) bytes[6] << 8 | bytes[7];
}

/* Called for each row that the view messages shows. */
bool
cc_id_to_int64(const uint8_t id[CC_ID_LEN], uint64_t *space, int64_t *number)
{
	uint64_t	high = load(id);
	uint64_t	low = load(id + 8);

	/* Only two bits of custom_b are used; they take the place of the two variant bits. */
	if ((high & 0xfffc) != (uint64_t) UUID_VERSION_8 << 8 || low >> 62 != UUID_VARIANT >> 6)
		return false;
	*space = high >> 16;
	*number = (int64_t) (high << 62 | (low & (UINT64_MAX >> 2)));
	return true;
}
