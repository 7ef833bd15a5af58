/*
 * endpoints.h
 *		The table of endpoints, one for each provider in use.
 */
#ifndef CHATCRYPT_ENDPOINTS_H
#define CHATCRYPT_ENDPOINTS_H

#include "worker/dispatch.h"

/* NULL for a place that is not in use. */
extern KmsEndpoint *chatcrypt_endpoint_at(int index);

/* NULL for a key URI that no provider takes. */
extern KmsEndpoint *chatcrypt_endpoint_for(const char *kms_key);

/* Does a refusal that holds for all of the endpoint still count? */
extern bool chatcrypt_endpoint_refuses(KmsEndpoint *endpoint, int64 now_ms);

/* The session's state.  The provider may look whether the files of its login have changed. */
extern cc_session_state chatcrypt_endpoint_state(const KmsEndpoint *endpoint, int64 now_ms);

/* The timeout of a call for which no request waits. */
extern int64 chatcrypt_endpoint_timeout_ms(const KmsEndpoint *endpoint);

#endif
