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

#define AAD_ON_STACK	512		/* a longer one is joined on the heap */

#define SALT_AT			CC_HEADER_LEN
#define COMMITMENT_AT	(SALT_AT + CC_SALT_LEN)
#define CIPHERTEXT_AT	(COMMITMENT_AT + CC_COMMITMENT_LEN)

/* Where the nonce lies in the output that begins with the commitment. */
#define NONCE_IN		CC_COMMITMENT_LEN

/* The secrets of one message.  Whoever declares one wipes it. */
typedef struct message_secrets
{
	uint8_t		key[CC_AEAD_KEY_LEN];
	uint8_t		committed[CC_SHA256_LEN];	/* commitment16 ‖ nonce12, and 4 bytes of no use */
} message_secrets;

/* The authenticated data of one message: header and caller's aad in one piece. */
typedef struct joined_aad
{
	const uint8_t *bytes;
	size_t		len;
	uint8_t    *heap;			/* to free, or NULL */
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

/* header stays the caller's and is pointed to where there is nothing to join. */
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
plaintext_len_of(uint8_t suite, size_t len, size_t *plaintext_len)
{
	size_t		overhead = suite == CC_SUITE_MESSAGE ? CC_ENVELOPE_OVERHEAD : CC_SECRETBOX_OVERHEAD;

	if (len < overhead)
		return CC_ERR_TRUNCATED;
	if (len - overhead > CC_MESSAGE_MAX)
		return CC_ERR_TOO_LARGE;
	*plaintext_len = len - overhead;
	return CC_OK;
}

static inline cc_status
read_header(const uint8_t *bytes, size_t len, cc_envelope_info *info)
{
	cc_reader	r = cc_reader_init(bytes, len);
	uint8_t		suite = cc_read_u8(&r);
	uint32_t	version;

	if (!cc_reader_ok(&r))
		return CC_ERR_TRUNCATED;
	if (suite < CC_SUITE_MESSAGE || suite > CC_SUITE_CONVERSATION)
		return CC_ERR_SUITE;
	version = cc_read_u32(&r);
	if (!cc_reader_ok(&r))
		return CC_ERR_TRUNCATED;
	if (version == 0)
		return CC_ERR_VERSION;

	info->suite = suite;
	info->dek_version = version;
	info->plaintext_len = 0;
	return CC_OK;
}

cc_status
cc_envelope_read_header(const uint8_t *bytes, size_t len, cc_envelope_info *info)
{
	return read_header(bytes, len, info);
}

void
cc_envelope_write_header(uint8_t suite, uint32_t version, uint8_t header[CC_HEADER_LEN])
{
	cc_writer	w = cc_writer_init(header, CC_HEADER_LEN);

	cc_write_u8(&w, suite);
	cc_write_u32(&w, version);
}

cc_status
cc_envelope_inspect(const uint8_t *envelope, size_t len, cc_envelope_info *info)
{
	cc_status	status = read_header(envelope, len, info);
	size_t		ignored;

	if (status != CC_OK)
		return status;
	if (info->suite == CC_SUITE_ATTACHMENT)
		return cc_part_plaintext_len(len, &ignored);
	return plaintext_len_of(info->suite, len, &info->plaintext_len);
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
	cc_writer	w = cc_writer_init(envelope, CIPHERTEXT_AT);
	message_secrets secrets;
	joined_aad	joined;
	cc_status	status;

	if (version == 0)
		return CC_ERR_VERSION;
	if (plaintext_len > CC_MESSAGE_MAX || aad_len > CC_AAD_MAX)
		return CC_ERR_TOO_LARGE;

	cc_write_u8(&w, CC_SUITE_MESSAGE);
	cc_write_u32(&w, version);
	status = join_aad(&joined, envelope, aad, aad_len);
	if (status != CC_OK)
		return status;

	status = derive_secrets(keys, salt, message_id, &secrets);
	if (status == CC_OK)
	{
		cc_write_bytes(&w, salt, CC_SALT_LEN);
		cc_write_bytes(&w, secrets.committed, CC_COMMITMENT_LEN);
		status = cc_aead_seal(aead, secrets.key, secrets.committed + NONCE_IN, joined.bytes,
							  joined.len, plaintext, plaintext_len, envelope + CIPHERTEXT_AT,
							  envelope + CIPHERTEXT_AT + plaintext_len);
	}
	cc_wipe(&secrets, sizeof(secrets));
	free(joined.heap);
	return status;
}

/* The envelope's shape is known to be right. */
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

	/* The commitment first: nothing is decrypted under a key that is not the message's. */
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
