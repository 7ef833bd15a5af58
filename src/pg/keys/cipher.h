/*
 * cipher.h
 *		The cipher context of this process, and how long randomness drawn ahead may be kept.
 */
#ifndef CHATCRYPT_CIPHER_H
#define CHATCRYPT_CIPHER_H

#include "core/aead.h"

/*
 * Drops randomness that an earlier statement drew ahead.  Must be called before any is drawn:
 * two machines cloned from one between statements must not share salts.
 */
extern void chatcrypt_cipher_fresh_randomness(void);

/* This process's cipher context, re-keyed by each message. */
extern cc_aead *chatcrypt_cipher_aead(void);

#endif
