/*
 * localwrap.c
 *		Wraps a DEK under a master key of our own.
 */
#include <string.h>

#include "core/kdf.h"
#include "core/localwrap.h"
#include "core/random.h"

#define WRAP_FORMAT		0x01
#define SALT_AT			5
#define CIPHERTEXT_AT	(SALT_AT + CC_LOCALWRAP_SALT_LEN)
#define TAG_AT			(CIPHERTEXT_AT + CC_DEK_LEN)

/* key32 ‖ nonce12: both come from one output of the KDF, since a salt is used only once. */
typedef struct wrap_secrets
{
	uint8_t		key[CC_AEAD_KEY_LEN];
	uint8_t		nonce[CC_AEAD_NONCE_LEN];
} wrap_secrets;

/* The caller wipes secrets. */
static cc_status
derive_secrets(const uint8_t *master, const uint8_t *salt, const uint8_t *context,
			   wrap_secrets *secrets)
{
	static const char label[] = "chatcrypt/v1/local";
	uint8_t		info[sizeof(label) - 1 + CC_CONTEXT_LEN];
	uint8_t		prk[CC_SHA256_LEN];
	cc_hmac_key prk_key;
	cc_status	status;

	memcpy(info, label, sizeof(label) - 1);
	memcpy(info + sizeof(label) - 1, context, CC_CONTEXT_LEN);
	cc_hkdf_extract(salt, CC_LOCALWRAP_SALT_LEN, master, 32, prk);
	cc_hmac_key_init(&prk_key, prk, sizeof(prk));
	status = cc_hkdf_expand(&prk_key, info, sizeof(info), secrets, sizeof(*secrets));
	cc_wipe(prk, sizeof(prk));
	cc_wipe(&prk_key, sizeof(prk_key));
	return status;
}

cc_status
cc_localwrap_seal(cc_aead *aead, const uint8_t master[32], uint32_t version,
				  const uint8_t context[CC_CONTEXT_LEN], const uint8_t dek[CC_DEK_LEN],
				  uint8_t wrapped[CC_LOCALWRAP_LEN])
{
	uint8_t		salt[CC_LOCALWRAP_SALT_LEN];
	cc_status	status = cc_random_bytes(salt, sizeof(salt));

	if (status != CC_OK)
		return status;
	return cc_localwrap_seal_salted(aead, master, version, context, salt, dek, wrapped);
}

cc_status
cc_localwrap_seal_salted(cc_aead *aead, const uint8_t master[32], uint32_t version,
						 const uint8_t context[CC_CONTEXT_LEN],
						 const uint8_t salt[CC_LOCALWRAP_SALT_LEN],
						 const uint8_t dek[CC_DEK_LEN], uint8_t wrapped[CC_LOCALWRAP_LEN])
{
	cc_writer	w = cc_writer_init(wrapped, CIPHERTEXT_AT);
	wrap_secrets secrets;
	cc_status	status;

	if (version == 0)
		return CC_ERR_VERSION;
	cc_write_u8(&w, WRAP_FORMAT);
	cc_write_u32(&w, version);
	cc_write_bytes(&w, salt, CC_LOCALWRAP_SALT_LEN);

	status = derive_secrets(master, salt, context, &secrets);
	if (status == CC_OK)
		status = cc_aead_seal(aead, secrets.key, secrets.nonce, NULL, 0, dek, CC_DEK_LEN,
							  wrapped + CIPHERTEXT_AT, wrapped + TAG_AT);
	cc_wipe(&secrets, sizeof(secrets));
	return status;
}

cc_status
cc_localwrap_version(const uint8_t *wrapped, size_t len, uint32_t *version)
{
	cc_reader	r = cc_reader_init(wrapped, len);
	uint8_t		format = cc_read_u8(&r);
	uint32_t	found;

	if (!cc_reader_ok(&r))
		return CC_ERR_TRUNCATED;
	if (format != WRAP_FORMAT)
		return CC_ERR_SUITE;
	found = cc_read_u32(&r);
	if (!cc_reader_ok(&r))
		return CC_ERR_TRUNCATED;
	if (found == 0)
		return CC_ERR_VERSION;
	if (len != CC_LOCALWRAP_LEN)
		return len < CC_LOCALWRAP_LEN ? CC_ERR_TRUNCATED : CC_ERR_TRAILING;
	*version = found;
	return CC_OK;
}

cc_status
cc_localwrap_open(cc_aead *aead, const uint8_t master[32], uint32_t version,
				  const uint8_t context[CC_CONTEXT_LEN], const uint8_t *wrapped, size_t len,
				  uint8_t dek[CC_DEK_LEN])
{
	wrap_secrets secrets;
	uint32_t	found;
	cc_status	status = cc_localwrap_version(wrapped, len, &found);

	if (status == CC_OK && found != version)
		status = CC_ERR_VERSION;
	if (status == CC_OK)
	{
		status = derive_secrets(master, wrapped + SALT_AT, context, &secrets);
		if (status == CC_OK)
			status = cc_aead_open(aead, secrets.key, secrets.nonce, NULL, 0,
								  wrapped + CIPHERTEXT_AT, CC_DEK_LEN, wrapped + TAG_AT, dek);
		cc_wipe(&secrets, sizeof(secrets));
	}
	if (status != CC_OK)
		cc_wipe(dek, CC_DEK_LEN);
	return status;
}
