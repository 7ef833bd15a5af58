/*
 * kmssettings.h
 *		The settings that the key providers bring, made into settings of the server's.
 */
#ifndef CHATCRYPT_KMSSETTINGS_H
#define CHATCRYPT_KMSSETTINGS_H

#include "core/kdf.h"
#include "kms/provider.h"

extern void chatcrypt_kmssettings_define(void);

/* What a session of the provider is opened with; strings are valid until the next reload. */
extern void chatcrypt_kmssettings_config(const cc_kms_provider *provider, cc_kms_config *config);

/* A digest of all that a session or a connection is made from.  What it covers is not secret. */
extern void chatcrypt_kmssettings_digest(uint8 digest[CC_SHA256_LEN]);

#endif
