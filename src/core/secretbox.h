/*
 * secretbox.h
 *		The conversation message: 03 ‖ u32 dek_version ‖ nonce24 ‖ XSalsa20-Poly1305
 *		secretbox under the conversation DEK itself, for clients that hold the key.
 *		It binds neither message id nor sender, and takes no aad.
 */
#ifndef CC_SECRETBOX_H
#define CC_SECRETBOX_H

#include "core/bytes.h"

#define CC_SECRETBOX_NONCE_LEN	24
#define CC_SECRETBOX_MAC_LEN	16
#define CC_SECRETBOX_NONCE_AT	5
#define CC_SECRETBOX_BOX_AT		(CC_SECRETBOX_NONCE_AT + CC_SECRETBOX_NONCE_LEN)	/* tag16 ‖ ciphertext */
#define CC_SECRETBOX_OVERHEAD	(CC_SECRETBOX_BOX_AT + CC_SECRETBOX_MAC_LEN)

/* out has room for len + CC_SECRETBOX_OVERHEAD bytes; the nonce is random. */
extern CC_MUST_CHECK cc_status cc_secretbox_seal(const uint8_t dek[CC_DEK_LEN], uint32_t version,
												 const uint8_t *plaintext, size_t len,
												 uint8_t *out);
extern CC_MUST_CHECK cc_status cc_secretbox_seal_nonce(const uint8_t dek[CC_DEK_LEN],
													   uint32_t version,
													   const uint8_t nonce[CC_SECRETBOX_NONCE_LEN],
													   const uint8_t *plaintext, size_t len,
													   uint8_t *out);

/*
 * Assembles a conversation message from a box that somebody else sealed: tag16 ‖ ciphertext,
 * as crypto_secretbox_easy() and similar functions return it.  Whether it opens is not checked.
 * out has room for CC_SECRETBOX_BOX_AT + box_len bytes, and box may already be in its place
 * there.
 */
extern CC_MUST_CHECK cc_status cc_secretbox_assemble(uint32_t version,
													 const uint8_t nonce[CC_SECRETBOX_NONCE_LEN],
													 const uint8_t *box, size_t box_len,
													 uint8_t *out);

extern CC_MUST_CHECK cc_status cc_secretbox_plaintext_len(size_t len, size_t *plaintext_len);

/* plaintext has len - CC_SECRETBOX_OVERHEAD bytes and is wiped on failure. */
extern CC_MUST_CHECK cc_status cc_secretbox_open(const uint8_t dek[CC_DEK_LEN], uint32_t version,
												 const uint8_t *message, size_t len,
												 uint8_t *plaintext);

#endif
