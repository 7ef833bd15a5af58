/*
 * endpoints.c
 *		The table of endpoints, one for each provider in use.  Not here: how they log in
 *		(sessions.c).
 */
#include "postgres.h"

#include "kms/providers.h"
#include "pg/base/clock.h"
#include "pg/base/settings.h"
#include "worker/endpoints.h"
#include "worker/watchdog.h"

static KmsEndpoint endpoints[CHATCRYPT_KMS_ENDPOINTS];

KmsEndpoint *
chatcrypt_endpoint_at(int index)
{
	return endpoints[index].provider != NULL ? &endpoints[index] : NULL;
}

/* Returns NULL where no provider has the scheme. */
KmsEndpoint *
chatcrypt_endpoint_for(const char *kms_key)
{
	const cc_kms_provider *provider = cc_kms_provider_for(kms_key);

	if (provider == NULL || provider->check_uri(kms_key) != CC_OK)
		return NULL;
	for (int i = 0; i < CHATCRYPT_KMS_ENDPOINTS; i++)
	{
		if (endpoints[i].provider == NULL)
		{
			endpoints[i].provider = provider;
			endpoints[i].row = i;
			snprintf(endpoints[i].logins.provider, sizeof(endpoints[i].logins.provider), "%s:",
					 provider->scheme);
		}
		if (endpoints[i].provider == provider)
			return &endpoints[i];
	}
	return NULL;
}

/*
 * Does a refusal that holds for all of the endpoint still count?  Where the files that the
 * credentials came from have changed, the refusal ends, and the new files are tried at once.
 */
bool
chatcrypt_endpoint_refuses(KmsEndpoint *endpoint, int64 now_ms)
{
	bool		changed;

	if (!cc_refusal_holds(&endpoint->refusal, now_ms))
		return false;
	if (endpoint->session == NULL || endpoint->provider->login_changed == NULL)
		return true;
	chatcrypt_watchdog_enter(endpoint->provider->scheme);
	changed = endpoint->provider->login_changed(endpoint->session);
	chatcrypt_watchdog_leave();
	if (!changed)
		return true;
	endpoint->refusal.until_ms = 0;
	endpoint->session_try_at_ms = 0;
	return false;
}

/* The session's state.  The provider may look whether the files of its login have changed. */
cc_session_state
chatcrypt_endpoint_state(const KmsEndpoint *endpoint, int64 now_ms)
{
	cc_session_state state;

	chatcrypt_watchdog_enter(endpoint->provider->scheme);
	state = endpoint->provider->session_state(endpoint->session, now_ms);
	chatcrypt_watchdog_leave();
	return state;
}

int64
chatcrypt_endpoint_timeout_ms(const KmsEndpoint *endpoint)
{
	return cc_breaker_timeout_ms(&endpoint->breaker, chatcrypt_kms_timeout);
}
