/*
 * kmssettings.c
 *		Defines the settings of the key providers as settings of the server.
 *
 * A provider describes its settings (see kms/provider.h); their values live here.  Text
 * settings name files, addresses and roles, so only a superuser may see them.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#include "kms/providers.h"
#include "pg/base/kmssettings.h"
#include "pg/base/settings.h"

static cc_kms_value *values[CC_KMS_PROVIDER_COUNT];

static void
define(const cc_kms_setting *setting, cc_kms_value *value)
{
	switch (setting->kind)
	{
		case CC_KMS_SETTING_TEXT:
			DefineCustomStringVariable(setting->name, setting->about, NULL,
									   (char **) &value->text, setting->initial,
									   PGC_SIGHUP, GUC_SUPERUSER_ONLY, NULL, NULL, NULL);
			break;
		case CC_KMS_SETTING_FLAG:
			DefineCustomBoolVariable(setting->name, setting->about, NULL,
									 &value->flag, false,
									 PGC_SIGHUP, 0, NULL, NULL, NULL);
			break;
	}
}

void
chatcrypt_kmssettings_define(void)
{
	const cc_kms_provider *provider;

	for (int i = 0; (provider = cc_kms_provider_at(i)) != NULL; i++)
	{
		values[i] = MemoryContextAllocZero(TopMemoryContext,
										   sizeof(cc_kms_value) * provider->nsettings);
		for (int j = 0; j < provider->nsettings; j++)
			define(&provider->settings[j], &values[i][j]);
	}
}

void
chatcrypt_kmssettings_config(const cc_kms_provider *provider, cc_kms_config *config)
{
	int			number = 0;

	while (cc_kms_provider_at(number) != provider)
		number++;
	*config = (cc_kms_config) {
		.values = values[number],
		.data_directory = DataDir,
		.allow_http = chatcrypt_allow_http,
	};
}

/* No text can contain a NUL byte, so one after each value keeps neighboring values apart. */
static void
append(StringInfo text, const cc_kms_setting *setting, const cc_kms_value *value)
{
	if (setting->kind == CC_KMS_SETTING_TEXT)
		appendStringInfoString(text, value->text);
	else
		appendStringInfoChar(text, value->flag ? '1' : '0');
	appendStringInfoChar(text, '\0');
}

void
chatcrypt_kmssettings_digest(uint8 digest[CC_SHA256_LEN])
{
	const cc_kms_provider *provider;
	StringInfoData text;

	initStringInfo(&text);
	for (int i = 0; (provider = cc_kms_provider_at(i)) != NULL; i++)
		for (int j = 0; j < provider->nsettings; j++)
			append(&text, &provider->settings[j], &values[i][j]);
	appendStringInfoString(&text, chatcrypt_kms_proxy);
	appendStringInfoChar(&text, chatcrypt_allow_http ? '1' : '0');
	cc_sha256(text.data, text.len, digest);
	pfree(text.data);
}
