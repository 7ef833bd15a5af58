/*
 * providers.c
 *		Finds the provider that a key URI belongs to.
 */
#include <string.h>

#include "kms/providers.h"

#define ADDRESS(provider)	&provider,

static const cc_kms_provider *const providers[] = {
	CC_KMS_PROVIDERS(ADDRESS)
};

const cc_kms_provider *
cc_kms_provider_at(int number)
{
	return number < CC_KMS_PROVIDER_COUNT ? providers[number] : NULL;
}

const cc_kms_provider *
cc_kms_provider_for(const char *kms_key)
{
	const char *colon = strchr(kms_key, ':');

	if (colon == NULL)
		return NULL;
	for (int i = 0; i < CC_KMS_PROVIDER_COUNT; i++)
	{
		const char *scheme = providers[i]->scheme;
		size_t		len = strlen(scheme);

		if (len == (size_t) (colon - kms_key) && memcmp(kms_key, scheme, len) == 0)
			return providers[i];
	}
	return NULL;
}

int
cc_kms_batch_max(const cc_kms_provider *provider, cc_kms_op op)
{
	bool		wrapped = op == CC_KMS_UNWRAP || op == CC_KMS_REWRAP;
	int			most = wrapped ? provider->batch_max_wrapped : provider->batch_max;

	return most < 1 ? 1 : most > CC_KMS_BATCH_MAX ? CC_KMS_BATCH_MAX : most;
}
