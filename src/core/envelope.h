/*
 * envelope.h
 *		The message envelope: 01 ‖ u32 dek_version ‖ salt12 ‖ commitment16 ‖ ciphertext ‖ tag16
 *
 * key               = HKDF-Expand(K(message), "m1" salt12 message_id16, 32)
 * commitment, nonce = HKDF-Expand(K(commit),  "m1" salt12 message_id16, 16 + 12)
 * aad               = the first five bytes ‖ the caller's aad
 *
 * Opening checks suite, version and length first, then the commitment, and only
 * then decrypts.  Wrong key, damaged bytes and wrong aad are all CC_ERR_AUTH.
 */
#ifndef CC_ENVELOPE_H
#define CC_ENVELOPE_H

#include "core/aead.h"
#include "core/header.h"
#include "core/kdf.h"

#define CC_SALT_LEN				12
#define CC_COMMITMENT_LEN		16
#define CC_ENVELOPE_OVERHEAD	(CC_HEADER_LEN + CC_SALT_LEN + CC_COMMITMENT_LEN + CC_AEAD_TAG_LEN)

/* What messages need of a cached DEK.  It is as secret as the DEK: its owner wipes it. */
typedef struct cc_message_keys
{
	cc_hmac_key message;
	cc_hmac_key commit;
} cc_message_keys;

typedef struct cc_envelope_info
{
	uint8_t		suite;
	uint32_t	dek_version;
	size_t		plaintext_len;		/* of messages (suites 1 and 3); 0 for attachment parts */
} cc_envelope_info;

extern CC_MUST_CHECK cc_status cc_message_keys_derive(cc_message_keys *keys,
													  const uint8_t dek[CC_DEK_LEN],
													  const uint8_t chat_id[CC_ID_LEN],
													  uint32_t version);

/* Reads suite, version and length of any of the formats; derives and decrypts nothing. */
extern CC_MUST_CHECK cc_status cc_envelope_inspect(const uint8_t *envelope, size_t len,
												   cc_envelope_info *info);

/*
 * The same for bytes that must be of one suite and version.  The suite is checked
 * first, so that another format is CC_ERR_SUITE whatever its length is.
 */
extern CC_MUST_CHECK cc_status cc_envelope_expect(const uint8_t *envelope, size_t len,
												  uint8_t suite, uint32_t version,
												  cc_envelope_info *info);

/*
 * Seals under a fresh random salt.  envelope has room for plaintext_len +
 * CC_ENVELOPE_OVERHEAD bytes; it does not overlap plaintext.
 */
extern CC_MUST_CHECK cc_status cc_envelope_seal(cc_aead *aead, const cc_message_keys *keys,
												uint32_t version,
												const uint8_t message_id[CC_ID_LEN],
												const uint8_t *aad, size_t aad_len,
												const uint8_t *plaintext, size_t plaintext_len,
												uint8_t *envelope);

/* The same with the caller's salt: for known answers and tests alone. */
extern CC_MUST_CHECK cc_status cc_envelope_seal_salted(cc_aead *aead, const cc_message_keys *keys,
													   uint32_t version,
													   const uint8_t message_id[CC_ID_LEN],
													   const uint8_t salt[CC_SALT_LEN],
													   const uint8_t *aad, size_t aad_len,
													   const uint8_t *plaintext,
													   size_t plaintext_len, uint8_t *envelope);

/*
 * plaintext has room for len - CC_ENVELOPE_OVERHEAD bytes, the plaintext_len of
 * cc_envelope_inspect(), and is wiped on every failure.  version is the version of keys:
 * an envelope of another version is CC_ERR_VERSION.
 */
extern CC_MUST_CHECK cc_status cc_envelope_open(cc_aead *aead, const cc_message_keys *keys,
												uint32_t version,
												const uint8_t message_id[CC_ID_LEN],
												const uint8_t *aad, size_t aad_len,
												const uint8_t *envelope, size_t len,
												uint8_t *plaintext);

/*
 * Is the commitment that of these keys and this message id?  This is for finding out what
 * happened to an envelope that does not open; the answer must not reach anybody who could
 * have made the envelope.  False also for bytes that are not a message envelope of that version.
 */
extern bool cc_envelope_is_committed(const cc_message_keys *keys, uint32_t version,
									 const uint8_t message_id[CC_ID_LEN],
									 const uint8_t *envelope, size_t len);

#endif
