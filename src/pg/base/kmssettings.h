/*
 * kmssettings.h
 *		Defines the settings of the key providers as settings of the server.
 */
#ifndef CHATCRYPT_KMSSETTINGS_H
#define CHATCRYPT_KMSSETTINGS_H

#include "core/kdf.h"
#include "kms/provider.h"

extern void chatcrypt_kmssettings_define(void);

/* What a session of the provider is opened with.  The strings are valid until the next reload. */
extern void chatcrypt_kmssettings_config(const cc_kms_provider *provider, cc_kms_config *config);

/*
 * A digest of all settings that sessions of providers and their connections are made from.
 * None of them is secret.
 */
extern void chatcrypt_kmssettings_digest(uint8 digest[CC_SHA256_LEN]);

#endif
