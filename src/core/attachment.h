/*
 * attachment.h
 *		One part of an attachment: 02 ‖ u32 dek_version ‖ C2SP chunked-encryption
 *		(HKDF-Expand-SHA512, AEAD_AES_256_GCM, 16 KiB chunks), input key K(attachment),
 *		context = first five bytes ‖ file_id16 ‖ u32 part ‖ u8 last ‖ caller's aad.
 *
 * A part is sealed in one call and opened whole or chunk by chunk.  Nothing here
 * allocates more than a chunk.
 */
#ifndef CC_ATTACHMENT_H
#define CC_ATTACHMENT_H

#include "core/aead.h"
#include "core/kdf.h"

#define CC_CHUNK_LEN				16384
#define CC_CHUNK_SALT_LEN			24
#define CC_CHUNK_COMMITMENT_LEN		32
#define CC_PART_HEADER_LEN			(5 + CC_CHUNK_SALT_LEN + CC_CHUNK_COMMITMENT_LEN)
#define CC_PART_MAX					(UINT32_C(1) << 29)		/* plaintext bytes of one part */

/* Names a part of a file; bound into the key of every chunk.  Points to the caller's bytes. */
typedef struct cc_part_id
{
	const uint8_t *file_id;			/* CC_ID_LEN bytes */
	uint32_t	part;
	bool		last;
	const uint8_t *aad;
	size_t		aad_len;
} cc_part_id;

/* An opened part: the payload key and nonce stem.  Secret; cc_part_close() wipes it. */
typedef struct cc_part
{
	uint8_t		key[CC_AEAD_KEY_LEN];
	uint8_t		nonce_stem[CC_AEAD_NONCE_LEN];
	uint32_t	plaintext_len;
	uint32_t	chunks;				/* at least 1: an empty part has one empty chunk */
} cc_part;

/*
 * The length of the sealed form of plaintext_len bytes, and the reverse; CC_ERR_* where no
 * part can have that length.
 */
extern CC_MUST_CHECK cc_status cc_part_sealed_len(size_t plaintext_len, size_t *sealed_len);
extern CC_MUST_CHECK cc_status cc_part_plaintext_len(size_t sealed_len, size_t *plaintext_len);

/* attachment_key is K(attachment); out has cc_part_sealed_len() bytes and overlaps nothing. */
extern CC_MUST_CHECK cc_status cc_part_seal(cc_aead *aead, const uint8_t attachment_key[CC_DEK_LEN],
											uint32_t version, const cc_part_id *id,
											const uint8_t *plaintext, size_t plaintext_len,
											uint8_t *out);
extern CC_MUST_CHECK cc_status cc_part_seal_salted(cc_aead *aead,
												   const uint8_t attachment_key[CC_DEK_LEN],
												   uint32_t version, const cc_part_id *id,
												   const uint8_t salt[CC_CHUNK_SALT_LEN],
												   const uint8_t *plaintext, size_t plaintext_len,
												   uint8_t *out);

/*
 * Checks the header (CC_PART_HEADER_LEN bytes) and its commitment for a part of
 * sealed_len bytes in all; decrypts nothing.  The caller closes the part.
 */
extern CC_MUST_CHECK cc_status cc_part_open(cc_part *part, const uint8_t attachment_key[CC_DEK_LEN],
											uint32_t version, const cc_part_id *id,
											const uint8_t header[CC_PART_HEADER_LEN],
											size_t sealed_len);

/* Where chunk number n lies in the sealed part, and how much plaintext it holds. */
extern CC_MUST_CHECK cc_status cc_part_chunk_range(const cc_part *part, uint32_t n,
												   size_t *sealed_offset, size_t *sealed_len,
												   size_t *plaintext_len);

/* sealed holds exactly that range; plaintext has its plaintext_len bytes, wiped on failure. */
extern CC_MUST_CHECK cc_status cc_part_open_chunk(cc_aead *aead, const cc_part *part, uint32_t n,
												  const uint8_t *sealed, uint8_t *plaintext);

/* Opens the whole part at once: the header and every chunk; plaintext is wiped on failure. */
extern CC_MUST_CHECK cc_status cc_part_open_all(cc_aead *aead,
												const uint8_t attachment_key[CC_DEK_LEN],
												uint32_t version, const cc_part_id *id,
												const uint8_t *sealed, size_t sealed_len,
												uint8_t *plaintext);
extern void cc_part_close(cc_part *part);

/*
 * Opens a message of chunked encryption as it is published, without our five bytes and under
 * any context: for known answers and tests alone.  plaintext has room for what
 * cc_part_plaintext_len(5 + len) says, and is wiped on failure.
 */
extern CC_MUST_CHECK cc_status cc_chunked_open_all(cc_aead *aead,
												   const uint8_t input_key[CC_DEK_LEN],
												   const uint8_t *context, size_t context_len,
												   const uint8_t *message, size_t len,
												   uint8_t *plaintext);

#endif
