/*
 * diagnosis.h
 *		Says why an envelope does not open, for administrators and auditors only: a person who
 *		could have made the envelope must not learn it.
 */
#ifndef CHATCRYPT_DIAGNOSIS_H
#define CHATCRYPT_DIAGNOSIS_H

#include "pg/messages/seal.h"

/*
 * What keeps an envelope from opening, as text; NULL where it opens.  None of the reasons
 * raises an error.
 */
extern char *chatcrypt_diagnosis_of_envelope(const uint8 chat_id[CC_ID_LEN],
											 const uint8 message_id[CC_ID_LEN],
											 const bytea *envelope, const ChatcryptAad *aad);

/* Why chatcrypt_keyaccess_probe() found no key, as text, from the failure that it filled. */
extern char *chatcrypt_diagnosis_of_key(const uint8 chat_id[CC_ID_LEN], ChatcryptUse use,
										uint32 version, const ChatcryptKmsJob *failure);

#endif
