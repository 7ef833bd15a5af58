/*
 * blind.c
 *		Keyed search tokens.
 */
#include <string.h>

#include "core/blind.h"

cc_status
cc_blind_token(const cc_hmac_key *search_key, cc_blind_kind kind, const char *token, size_t len,
			   int bits, uint8_t out[CC_BLIND_LEN])
{
	uint8_t		input[1 + CC_BLIND_TOKEN_MAX];
	uint8_t		mac[CC_SHA256_LEN];

	if (kind != CC_BLIND_WORD && kind != CC_BLIND_PREFIX && kind != CC_BLIND_TRIGRAM)
		return CC_ERR_ARGUMENT;
	if (bits < 1 || bits > 8 * CC_BLIND_LEN)
		return CC_ERR_ARGUMENT;
	if (len > CC_BLIND_TOKEN_MAX)
		return CC_ERR_TOO_LARGE;

	input[0] = (uint8_t) kind;
	if (len > 0)
		memcpy(input + 1, token, len);
	cc_hmac(search_key, input, 1 + len, mac);

	memset(out, 0, CC_BLIND_LEN);
	memcpy(out, mac, (size_t) (bits + 7) / 8);
	if (bits % 8 != 0)
		out[bits / 8] &= (uint8_t) (0xff << (8 - bits % 8));
	cc_wipe(input, 1 + len);	/* a word of somebody's message */
	cc_wipe(mac, sizeof(mac));	/* its full length says more than the token does */
	return CC_OK;
}
