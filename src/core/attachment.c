/*
 * attachment.c
 *		One part of an attachment, exactly as c2sp.org/chunked-encryption specifies it:
 *
 * key ‖ base nonce ‖ commitment = HKDF-Expand-SHA512(K(attachment),
 *		"c2sp.org/chunked-encryption@v1+" "AEAD_AES_256_GCM" 00 salt24 context)
 *
 * Chunks hold 16 KiB, and the last one always less, so that a part which is a
 * whole number of chunks ends with an empty one: that is what tells a whole part
 * from a truncated one.  The nonce of chunk n is the base nonce with n, as a
 * big-endian number, XORed into its end.  Chunks have no aad.
 */
#include <string.h>

#include "core/attachment.h"
#include "core/header.h"
#include "core/random.h"

#define SEALED_CHUNK_LEN	(CC_CHUNK_LEN + CC_AEAD_TAG_LEN)
#define CONTEXT_FIXED_LEN	(CC_HEADER_LEN + CC_ID_LEN + 4 + 1)

static const char kdf_label[] = "c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM";

/* The offsets of the header's fields. */
#define SALT_AT				CC_HEADER_LEN
#define COMMITMENT_AT		(SALT_AT + CC_CHUNK_SALT_LEN)

cc_status
cc_part_sealed_len(size_t plaintext_len, size_t *sealed_len)
{
	if (plaintext_len > CC_PART_MAX)
		return CC_ERR_TOO_LARGE;
	*sealed_len = CC_PART_HEADER_LEN + plaintext_len +
		(plaintext_len / CC_CHUNK_LEN + 1) * CC_AEAD_TAG_LEN;
	return CC_OK;
}

cc_status
cc_part_plaintext_len(size_t sealed_len, size_t *plaintext_len)
{
	size_t		body;
	size_t		full_chunks;
	size_t		last_len;

	if (sealed_len < CC_PART_HEADER_LEN)
		return CC_ERR_TRUNCATED;
	body = sealed_len - CC_PART_HEADER_LEN;
	full_chunks = body / SEALED_CHUNK_LEN;
	last_len = body % SEALED_CHUNK_LEN;

	/* The last chunk has a tag and less than 16 KiB: nothing else is a whole part. */
	if (last_len < CC_AEAD_TAG_LEN)
		return CC_ERR_TRUNCATED;
	if (full_chunks > CC_PART_MAX / CC_CHUNK_LEN ||
		full_chunks * CC_CHUNK_LEN + last_len - CC_AEAD_TAG_LEN > CC_PART_MAX)
		return CC_ERR_TOO_LARGE;
	*plaintext_len = full_chunks * CC_CHUNK_LEN + last_len - CC_AEAD_TAG_LEN;
	return CC_OK;
}

/*
 * Fills in the secrets of part, and the commitment.  The HKDF info is info, which holds label
 * and salt, followed by more.
 */
static cc_status
expand_secrets(cc_part *part, uint8_t commitment[CC_CHUNK_COMMITMENT_LEN], const uint8_t *input_key,
			   const uint8_t *info, size_t info_len, const uint8_t *more, size_t more_len)
{
	uint8_t		derived[CC_AEAD_KEY_LEN + CC_AEAD_NONCE_LEN + CC_CHUNK_COMMITMENT_LEN];
	cc_reader	r = cc_reader_init(derived, sizeof(derived));
	cc_status	status = cc_hkdf512_expand(input_key, info, info_len, more, more_len,
										   derived, sizeof(derived));

	if (status == CC_OK)
	{
		memcpy(part->key, cc_read_bytes(&r, sizeof(part->key)), sizeof(part->key));
		memcpy(part->nonce_stem, cc_read_bytes(&r, sizeof(part->nonce_stem)),
			   sizeof(part->nonce_stem));
		memcpy(commitment, cc_read_bytes(&r, CC_CHUNK_COMMITMENT_LEN), CC_CHUNK_COMMITMENT_LEN);
	}
	cc_wipe(derived, sizeof(derived));
	return status;
}

/* The same for the context of a part; header holds the part's first five bytes and its salt. */
static cc_status
derive_secrets(cc_part *part, uint8_t commitment[CC_CHUNK_COMMITMENT_LEN],
			   const uint8_t *attachment_key, const cc_part_id *id, const uint8_t *header)
{
	uint8_t		info[sizeof(kdf_label) + CC_CHUNK_SALT_LEN + CONTEXT_FIXED_LEN];
	cc_writer	w = cc_writer_init(info, sizeof(info));

	cc_write_bytes(&w, kdf_label, sizeof(kdf_label));	/* with its 00 */
	cc_write_bytes(&w, header + SALT_AT, CC_CHUNK_SALT_LEN);
	cc_write_bytes(&w, header, CC_HEADER_LEN);
	cc_write_bytes(&w, id->file_id, CC_ID_LEN);
	cc_write_u32(&w, id->part);
	cc_write_u8(&w, id->last ? 1 : 0);
	if (!cc_writer_ok(&w))
		return CC_ERR_ARGUMENT;
	return expand_secrets(part, commitment, attachment_key, info, sizeof(info), id->aad,
						  id->aad_len);
}

static void
set_lengths(cc_part *part, size_t plaintext_len)
{
	part->plaintext_len = (uint32_t) plaintext_len;
	part->chunks = (uint32_t) (plaintext_len / CC_CHUNK_LEN) + 1;
}

static void
chunk_nonce(const cc_part *part, uint32_t n, uint8_t nonce[CC_AEAD_NONCE_LEN])
{
	memcpy(nonce, part->nonce_stem, CC_AEAD_NONCE_LEN);
	for (int i = 0; i < 4; i++)
		nonce[CC_AEAD_NONCE_LEN - 1 - i] ^= (uint8_t) (n >> (8 * i));
}

cc_status
cc_part_chunk_range(const cc_part *part, uint32_t n, size_t *sealed_offset, size_t *sealed_len,
					size_t *plaintext_len)
{
	if (n >= part->chunks)
		return CC_ERR_ARGUMENT;
	*plaintext_len = n + 1 < part->chunks ? CC_CHUNK_LEN : part->plaintext_len % CC_CHUNK_LEN;
	*sealed_len = *plaintext_len + CC_AEAD_TAG_LEN;
	*sealed_offset = CC_PART_HEADER_LEN + (size_t) n * SEALED_CHUNK_LEN;
	return CC_OK;
}

cc_status
cc_part_seal(cc_aead *aead, const uint8_t attachment_key[CC_DEK_LEN], uint32_t version,
			 const cc_part_id *id, const uint8_t *plaintext, size_t plaintext_len, uint8_t *out)
{
	uint8_t		salt[CC_CHUNK_SALT_LEN];
	cc_status	status = cc_random_bytes(salt, sizeof(salt));

	if (status != CC_OK)
		return status;
	return cc_part_seal_salted(aead, attachment_key, version, id, salt, plaintext, plaintext_len,
							   out);
}

static cc_status
seal_chunk(cc_aead *aead, const cc_part *part, uint32_t n, const uint8_t *plaintext, uint8_t *out)
{
	uint8_t		nonce[CC_AEAD_NONCE_LEN];
	size_t		offset;
	size_t		sealed_len;
	size_t		len;
	cc_status	status = cc_part_chunk_range(part, n, &offset, &sealed_len, &len);

	if (status != CC_OK)
		return status;
	if (len > 0)
		plaintext += (size_t) n * CC_CHUNK_LEN;
	chunk_nonce(part, n, nonce);
	return cc_aead_seal(aead, part->key, nonce, NULL, 0, plaintext, len,
						out + offset, out + offset + len);
}

cc_status
cc_part_seal_salted(cc_aead *aead, const uint8_t attachment_key[CC_DEK_LEN], uint32_t version,
					const cc_part_id *id, const uint8_t salt[CC_CHUNK_SALT_LEN],
					const uint8_t *plaintext, size_t plaintext_len, uint8_t *out)
{
	cc_part		part;
	cc_status	status;

	if (version == 0)
		return CC_ERR_VERSION;
	if (plaintext_len > CC_PART_MAX || id->aad_len > CC_AAD_MAX)
		return CC_ERR_TOO_LARGE;

	cc_header_write(CC_SUITE_ATTACHMENT, version, out);
	memcpy(out + SALT_AT, salt, CC_CHUNK_SALT_LEN);
	status = derive_secrets(&part, out + COMMITMENT_AT, attachment_key, id, out);
	set_lengths(&part, plaintext_len);
	for (uint32_t n = 0; status == CC_OK && n < part.chunks; n++)
		status = seal_chunk(aead, &part, n, plaintext, out);
	cc_part_close(&part);
	return status;
}

/* Checks suite, version and lengths, before anything is derived. */
static cc_status
check_header(uint32_t version, const cc_part_id *id, const uint8_t *header, size_t sealed_len,
			 size_t *plaintext_len)
{
	uint32_t	sealed_version;
	cc_status	status = cc_header_read_of(CC_SUITE_ATTACHMENT, header, sealed_len, &sealed_version);

	if (status != CC_OK)
		return status;
	if (sealed_version != version)
		return CC_ERR_VERSION;
	if (id->aad_len > CC_AAD_MAX)
		return CC_ERR_TOO_LARGE;
	return cc_part_plaintext_len(sealed_len, plaintext_len);
}

/*
 * Ends the opening of a header: compares the commitment that was derived with the one that was
 * found in the header.  The derived one is wiped, because it is the right one for that salt
 * even where the header is not.
 */
static cc_status
check_commitment(cc_status status, cc_part *part, uint8_t commitment[CC_CHUNK_COMMITMENT_LEN],
				 const uint8_t *found, size_t plaintext_len)
{
	if (status == CC_OK && !cc_equal(commitment, found, CC_CHUNK_COMMITMENT_LEN))
		status = CC_ERR_AUTH;
	if (status == CC_OK)
		set_lengths(part, plaintext_len);
	else
		cc_part_close(part);
	cc_wipe(commitment, CC_CHUNK_COMMITMENT_LEN);
	return status;
}

cc_status
cc_part_open(cc_part *part, const uint8_t attachment_key[CC_DEK_LEN], uint32_t version,
			 const cc_part_id *id, const uint8_t header[CC_PART_HEADER_LEN], size_t sealed_len)
{
	uint8_t		commitment[CC_CHUNK_COMMITMENT_LEN];
	size_t		plaintext_len;
	cc_status	status = check_header(version, id, header, sealed_len, &plaintext_len);

	if (status == CC_OK)
		status = derive_secrets(part, commitment, attachment_key, id, header);
	return check_commitment(status, part, commitment, header + COMMITMENT_AT, plaintext_len);
}

cc_status
cc_part_open_chunk(cc_aead *aead, const cc_part *part, uint32_t n, const uint8_t *sealed,
				   uint8_t *plaintext)
{
	uint8_t		nonce[CC_AEAD_NONCE_LEN];
	size_t		offset;
	size_t		sealed_len;
	size_t		len;
	cc_status	status = cc_part_chunk_range(part, n, &offset, &sealed_len, &len);

	if (status != CC_OK)
		return status;
	chunk_nonce(part, n, nonce);
	return cc_aead_open(aead, part->key, nonce, NULL, 0, sealed, len, sealed + len, plaintext);
}

/* Opens all chunks of a part, if status says that its header was opened; closes the part. */
static cc_status
open_chunks(cc_status status, cc_aead *aead, cc_part *part, const uint8_t *chunks,
			size_t sealed_len, uint8_t *plaintext)
{
	size_t		room;

	for (uint32_t n = 0; status == CC_OK && n < part->chunks; n++)
		status = cc_part_open_chunk(aead, part, n, chunks + (size_t) n * SEALED_CHUNK_LEN,
									plaintext + (size_t) n * CC_CHUNK_LEN);

	if (status != CC_OK && cc_part_plaintext_len(sealed_len, &room) == CC_OK)
		cc_wipe(plaintext, room);
	cc_part_close(part);
	return status;
}

cc_status
cc_part_open_all(cc_aead *aead, const uint8_t attachment_key[CC_DEK_LEN], uint32_t version,
				 const cc_part_id *id, const uint8_t *sealed, size_t sealed_len, uint8_t *plaintext)
{
	cc_part		part;
	cc_status	status = cc_part_open(&part, attachment_key, version, id, sealed, sealed_len);

	return open_chunks(status, aead, &part, sealed + CC_PART_HEADER_LEN, sealed_len, plaintext);
}

cc_status
cc_chunked_open_all(cc_aead *aead, const uint8_t input_key[CC_DEK_LEN], const uint8_t *context,
					size_t context_len, const uint8_t *message, size_t len, uint8_t *plaintext)
{
	uint8_t		info[sizeof(kdf_label) + CC_CHUNK_SALT_LEN];
	uint8_t		commitment[CC_CHUNK_COMMITMENT_LEN];
	cc_part		part;
	size_t		plaintext_len;
	cc_status	status = cc_part_plaintext_len(CC_HEADER_LEN + len, &plaintext_len);

	if (status != CC_OK)
		return status;
	memcpy(info, kdf_label, sizeof(kdf_label));
	memcpy(info + sizeof(kdf_label), message, CC_CHUNK_SALT_LEN);
	status = expand_secrets(&part, commitment, input_key, info, sizeof(info), context, context_len);
	status = check_commitment(status, &part, commitment, message + CC_CHUNK_SALT_LEN,
							  plaintext_len);
	return open_chunks(status, aead, &part, message + CC_CHUNK_SALT_LEN + CC_CHUNK_COMMITMENT_LEN,
					   CC_HEADER_LEN + len, plaintext);
}

void
cc_part_close(cc_part *part)
{
	cc_wipe(part, sizeof(*part));
}
