/*
 * envelope.c
 *		The message envelope: derive, commit, seal, open, inspect.
 */
#include <stdlib.h>
#include <string.h>

#include "core/attachment.h"
#include "core/envelope.h"
#include "core/random.h"
#include "core/secretbox.h"

#define AAD_ON_STACK	512		/* bytes; a longer one is joined on the heap */

#define SALT_AT			CC_HEADER_LEN
#define COMMITMENT_AT	(SALT_AT + CC_SALT_LEN)
#define CIPHERTEXT_AT	(COMMITMENT_AT + CC_COMMITMENT_LEN)

/* The offset of the nonce in the HKDF output that begins with the commitment. */
#define NONCE_IN		CC_COMMITMENT_LEN

/* The secrets of one message.  Whoever declares one wipes it. */
typedef struct message_secrets
{
	uint8_t		key[CC_AEAD_KEY_LEN];
	uint8_t		committed[CC_SHA256_LEN];	/* commitment16 ‖ nonce12, and 4 unused bytes */
} message_secrets;

/* The authenticated data of one message: header and caller's aad in one piece. */
typedef struct joined_aad
{
	const uint8_t *bytes;
	size_t		len;
	uint8_t    *heap;			/* to be freed; NULL for none */
	uint8_t		stack[AAD_ON_STACK];
} joined_aad;

cc_status
cc_message_keys_derive(cc_message_keys *keys, const uint8_t dek[CC_DEK_LEN],
					   const uint8_t chat_id[CC_ID_LEN], uint32_t version)
{
	static const cc_key_use uses[] = {CC_USE_MESSAGE, CC_USE_COMMIT};
	cc_hmac_key *const wanted[] = {&keys->message, &keys->commit};
	cc_status	status = cc_dek_derive_hmac_keys(dek, chat_id, version, uses, wanted, 2);

	if (status != CC_OK)
		cc_wipe(keys, sizeof(*keys));
	return status;
}

static cc_status
derive_secrets(const cc_message_keys *keys, const uint8_t *salt, const uint8_t *message_id,
			   message_secrets *secrets)
{
	uint8_t		info[2 + CC_SALT_LEN + CC_ID_LEN] = {'m', '1'};

	memcpy(info + 2, salt, CC_SALT_LEN);
	memcpy(info + 2 + CC_SALT_LEN, message_id, CC_ID_LEN);
	return cc_hkdf_expand_pair(&keys->message, &keys->commit, info, sizeof(info),
							   secrets->key, secrets->committed);
}

/* Without a caller's aad there is nothing to join: joined then points to the caller's header. */
static cc_status
join_aad(joined_aad *joined, const uint8_t header[CC_HEADER_LEN], const uint8_t *aad,
		 size_t aad_len)
{
	uint8_t    *to = joined->stack;

	joined->heap = NULL;
	joined->bytes = header;
	joined->len = CC_HEADER_LEN + aad_len;
	if (aad_len == 0)
		return CC_OK;
	if (joined->len > sizeof(joined->stack))
	{
		to = joined->heap = malloc(joined->len);
		if (to == NULL)
			return CC_ERR_NO_MEMORY;
	}
	memcpy(to, header, CC_HEADER_LEN);
	memcpy(to + CC_HEADER_LEN, aad, aad_len);
	joined->bytes = to;
	return CC_OK;
}

static cc_status
message_plaintext_len(size_t len, size_t *plaintext_len)
{
	if (len < CC_ENVELOPE_OVERHEAD)
		return CC_ERR_TRUNCATED;
	if (len - CC_ENVELOPE_OVERHEAD > CC_MESSAGE_MAX)
		return CC_ERR_TOO_LARGE;
	*plaintext_len = len - CC_ENVELOPE_OVERHEAD;
	return CC_OK;
}

cc_status
cc_envelope_inspect(const uint8_t *envelope, size_t len, cc_envelope_info *info)
{
	cc_header	header;
	cc_status	status = cc_header_read(envelope, len, &header);
	size_t		ignored;

	if (status != CC_OK)
		return status;
	info->suite = header.suite;
	info->dek_version = header.dek_version;
	info->plaintext_len = 0;
	switch (header.suite)
	{
		case CC_SUITE_ATTACHMENT:
			return cc_part_plaintext_len(len, &ignored);
		case CC_SUITE_CONVERSATION:
			return cc_secretbox_plaintext_len(len, &info->plaintext_len);
		default:
			return message_plaintext_len(len, &info->plaintext_len);
	}
}

cc_status
cc_envelope_expect(const uint8_t *envelope, size_t len, uint8_t suite, uint32_t version,
				   cc_envelope_info *info)
{
	cc_status	status;

	if (len > 0 && envelope[0] != suite)
		return CC_ERR_SUITE;
	status = cc_envelope_inspect(envelope, len, info);
	if (status == CC_OK && info->dek_version != version)
		status = CC_ERR_VERSION;
	return status;
}

cc_status
cc_envelope_seal(cc_aead *aead, const cc_message_keys *keys, uint32_t version,
				 const uint8_t message_id[CC_ID_LEN], const uint8_t *aad, size_t aad_len,
				 const uint8_t *plaintext, size_t plaintext_len, uint8_t *envelope)
{
	uint8_t		salt[CC_SALT_LEN];
	cc_status	status = cc_random_bytes(salt, sizeof(salt));

	if (status != CC_OK)
		return status;
	return cc_envelope_seal_salted(aead, keys, version, message_id, salt, aad, aad_len,
								   plaintext, plaintext_len, envelope);
}

cc_status
cc_envelope_seal_salted(cc_aead *aead, const cc_message_keys *keys, uint32_t version,
						const uint8_t message_id[CC_ID_LEN], const uint8_t salt[CC_SALT_LEN],
						const uint8_t *aad, size_t aad_len,
						const uint8_t *plaintext, size_t plaintext_len, uint8_t *envelope)
{
	message_secrets secrets;
	joined_aad	joined;
	cc_status	status;

	if (version == 0)
		return CC_ERR_VERSION;
	if (plaintext_len > CC_MESSAGE_MAX || aad_len > CC_AAD_MAX)
		return CC_ERR_TOO_LARGE;

	cc_header_write(CC_SUITE_MESSAGE, version, envelope);
	status = join_aad(&joined, envelope, aad, aad_len);
	if (status != CC_OK)
		return status;

	status = derive_secrets(keys, salt, message_id, &secrets);
	if (status == CC_OK)
	{
		memcpy(envelope + SALT_AT, salt, CC_SALT_LEN);
		memcpy(envelope + COMMITMENT_AT, secrets.committed, CC_COMMITMENT_LEN);
		status = cc_aead_seal(aead, secrets.key, secrets.committed + NONCE_IN, joined.bytes,
							  joined.len, plaintext, plaintext_len, envelope + CIPHERTEXT_AT,
							  envelope + CIPHERTEXT_AT + plaintext_len);
	}
	cc_wipe(&secrets, sizeof(secrets));
	free(joined.heap);
	return status;
}

/* The caller has checked the suite, version and length of the envelope. */
static cc_status
open_checked(cc_aead *aead, const cc_message_keys *keys, const uint8_t *message_id,
			 const uint8_t *aad, size_t aad_len, const uint8_t *envelope, size_t plaintext_len,
			 uint8_t *plaintext)
{
	message_secrets secrets;
	joined_aad	joined;
	cc_status	status = join_aad(&joined, envelope, aad, aad_len);

	if (status != CC_OK)
		return status;

	/* The commitment is checked first, so that nothing is decrypted under a wrong key. */
	status = derive_secrets(keys, envelope + SALT_AT, message_id, &secrets);
	if (status == CC_OK &&
		!cc_equal(secrets.committed, envelope + COMMITMENT_AT, CC_COMMITMENT_LEN))
		status = CC_ERR_AUTH;
	if (status == CC_OK)
		status = cc_aead_open(aead, secrets.key, secrets.committed + NONCE_IN, joined.bytes,
							  joined.len, envelope + CIPHERTEXT_AT, plaintext_len,
							  envelope + CIPHERTEXT_AT + plaintext_len, plaintext);
	cc_wipe(&secrets, sizeof(secrets));
	free(joined.heap);
	return status;
}

cc_status
cc_envelope_open(cc_aead *aead, const cc_message_keys *keys, uint32_t version,
				 const uint8_t message_id[CC_ID_LEN], const uint8_t *aad, size_t aad_len,
				 const uint8_t *envelope, size_t len, uint8_t *plaintext)
{
	cc_envelope_info info;
	cc_status	status = cc_envelope_expect(envelope, len, CC_SUITE_MESSAGE, version, &info);

	if (status == CC_OK && aad_len > CC_AAD_MAX)
		status = CC_ERR_TOO_LARGE;
	if (status == CC_OK)
		status = open_checked(aead, keys, message_id, aad, aad_len, envelope, info.plaintext_len,
							  plaintext);

	if (status != CC_OK && len > CC_ENVELOPE_OVERHEAD)
		cc_wipe(plaintext, len - CC_ENVELOPE_OVERHEAD);
	return status;
}

bool
cc_envelope_is_committed(const cc_message_keys *keys, uint32_t version,
						 const uint8_t message_id[CC_ID_LEN], const uint8_t *envelope, size_t len)
{
	cc_envelope_info info;
	message_secrets secrets;
	bool		committed;

	if (cc_envelope_expect(envelope, len, CC_SUITE_MESSAGE, version, &info) != CC_OK)
		return false;
	committed = derive_secrets(keys, envelope + SALT_AT, message_id, &secrets) == CC_OK &&
		cc_equal(secrets.committed, envelope + COMMITMENT_AT, CC_COMMITMENT_LEN);
	cc_wipe(&secrets, sizeof(secrets));
	return committed;
}
