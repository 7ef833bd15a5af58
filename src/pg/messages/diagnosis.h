/*
 * diagnosis.h
 *		Why an envelope does not open, in words for administrators and auditors: whoever could
 *		have made the envelope must not be told.
 */
#ifndef CHATCRYPT_DIAGNOSIS_H
#define CHATCRYPT_DIAGNOSIS_H

#include "pg/messages/seal.h"

/* What keeps an envelope from opening, in words; NULL for nothing.  Raises for none of it. */
extern char *chatcrypt_diagnosis_of_envelope(const uint8 chat_id[CC_ID_LEN],
											 const uint8 message_id[CC_ID_LEN],
											 const bytea *envelope, const ChatcryptAad *aad);

/* Why chatcrypt_keyring_probe() found no key, in words, from the failure that it filled. */
extern char *chatcrypt_diagnosis_of_key(const uint8 chat_id[CC_ID_LEN], ChatcryptUse use,
										uint32 version, const ChatcryptKmsJob *failure);

#endif
