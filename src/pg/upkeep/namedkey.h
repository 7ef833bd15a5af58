/*
 * namedkey.h
 *		Which key the first bytes of an envelope, or of a part of a file, name.
 */
#ifndef CHATCRYPT_NAMEDKEY_H
#define CHATCRYPT_NAMEDKEY_H

#include "pg/base/keytypes.h"

/* header has the first CC_HEADER_LEN bytes, or fewer if there are no more.  False: no key. */
extern bool chatcrypt_namedkey_read(const bytea *header, ChatcryptPurpose *purpose,
									uint32 *version);

#endif
