/*
 * providers.h
 *		The providers that are built in.  A new one is a folder under src/kms, which
 *		defines one cc_kms_provider (see provider.h), and one line here.
 */
#ifndef CC_PROVIDERS_H
#define CC_PROVIDERS_H

#include "kms/provider.h"

#define CC_KMS_PROVIDERS(DO) \
	DO(cc_kms_local) \
	DO(cc_kms_vault)

#define CC_KMS_DECLARE(provider)	extern const cc_kms_provider provider;
CC_KMS_PROVIDERS(CC_KMS_DECLARE)

#define CC_KMS_COUNT(provider)	+ 1
#define CC_KMS_PROVIDER_COUNT	(0 CC_KMS_PROVIDERS(CC_KMS_COUNT))

/* The provider with that number, counted from 0; NULL after the last. */
extern const cc_kms_provider *cc_kms_provider_at(int number);

/* The provider of a URI's scheme, or NULL.  Its check_uri() says whether the rest is right. */
extern const cc_kms_provider *cc_kms_provider_for(const char *kms_key);

/* At least 1, and no more than CC_KMS_BATCH_MAX. */
extern int	cc_kms_batch_max(const cc_kms_provider *provider, cc_kms_op op);

#endif
