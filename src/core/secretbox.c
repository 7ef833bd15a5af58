/*
 * secretbox.c
 *		The conversation message, through libsodium.
 */
#include <string.h>

#include <sodium.h>

#include "core/header.h"
#include "core/random.h"
#include "core/secretbox.h"

_Static_assert(CC_SECRETBOX_NONCE_AT == CC_HEADER_LEN, "the nonce follows the header");

static void
write_beginning(uint32_t version, const uint8_t nonce[CC_SECRETBOX_NONCE_LEN], uint8_t *out)
{
	cc_header_write(CC_SUITE_CONVERSATION, version, out);
	memcpy(out + CC_SECRETBOX_NONCE_AT, nonce, CC_SECRETBOX_NONCE_LEN);
}

cc_status
cc_secretbox_seal(const uint8_t dek[CC_DEK_LEN], uint32_t version, const uint8_t *plaintext,
				  size_t len, uint8_t *out)
{
	uint8_t		nonce[CC_SECRETBOX_NONCE_LEN];
	cc_status	status = cc_random_bytes(nonce, sizeof(nonce));

	if (status != CC_OK)
		return status;
	return cc_secretbox_seal_nonce(dek, version, nonce, plaintext, len, out);
}

cc_status
cc_secretbox_seal_nonce(const uint8_t dek[CC_DEK_LEN], uint32_t version,
						const uint8_t nonce[CC_SECRETBOX_NONCE_LEN],
						const uint8_t *plaintext, size_t len, uint8_t *out)
{
	if (version == 0)
		return CC_ERR_VERSION;
	if (len > CC_MESSAGE_MAX)
		return CC_ERR_TOO_LARGE;
	write_beginning(version, nonce, out);
	if (crypto_secretbox_easy(out + CC_SECRETBOX_BOX_AT, plaintext, len, nonce, dek) != 0)
		return CC_ERR_CRYPTO;
	return CC_OK;
}

cc_status
cc_secretbox_assemble(uint32_t version, const uint8_t nonce[CC_SECRETBOX_NONCE_LEN],
					  const uint8_t *box, size_t box_len, uint8_t *out)
{
	if (version == 0)
		return CC_ERR_VERSION;
	if (box_len < CC_SECRETBOX_MAC_LEN)
		return CC_ERR_TRUNCATED;
	if (box_len - CC_SECRETBOX_MAC_LEN > CC_MESSAGE_MAX)
		return CC_ERR_TOO_LARGE;
	write_beginning(version, nonce, out);
	if (box != out + CC_SECRETBOX_BOX_AT)
		memcpy(out + CC_SECRETBOX_BOX_AT, box, box_len);
	return CC_OK;
}

cc_status
cc_secretbox_plaintext_len(size_t len, size_t *plaintext_len)
{
	if (len < CC_SECRETBOX_OVERHEAD)
		return CC_ERR_TRUNCATED;
	if (len - CC_SECRETBOX_OVERHEAD > CC_MESSAGE_MAX)
		return CC_ERR_TOO_LARGE;
	*plaintext_len = len - CC_SECRETBOX_OVERHEAD;
	return CC_OK;
}

/* Checks suite, length and version, in this order. */
static cc_status
check_beginning(uint32_t version, const uint8_t *message, size_t len)
{
	uint32_t	sealed_version;
	size_t		ignored;
	cc_status	status = cc_header_read_of(CC_SUITE_CONVERSATION, message, len, &sealed_version);

	if (status == CC_OK)
		status = cc_secretbox_plaintext_len(len, &ignored);
	if (status == CC_OK && sealed_version != version)
		status = CC_ERR_VERSION;
	return status;
}

cc_status
cc_secretbox_open(const uint8_t dek[CC_DEK_LEN], uint32_t version, const uint8_t *message,
				  size_t len, uint8_t *plaintext)
{
	cc_status	status = check_beginning(version, message, len);

	if (status == CC_OK &&
		crypto_secretbox_open_easy(plaintext, message + CC_SECRETBOX_BOX_AT,
								   len - CC_SECRETBOX_BOX_AT, message + CC_SECRETBOX_NONCE_AT,
								   dek) != 0)
		status = CC_ERR_AUTH;

	if (status != CC_OK && len > CC_SECRETBOX_OVERHEAD)
		cc_wipe(plaintext, len - CC_SECRETBOX_OVERHEAD);
	return status;
}
