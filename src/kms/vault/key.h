/*
 * key.h
 *		The check of a Transit key before its first use, as provider.h asks for it.
 */
#ifndef CC_VAULT_KEY_H
#define CC_VAULT_KEY_H

#include "kms/provider.h"

extern cc_kms_outcome vault_key_request(cc_kms_session *handle, const char *kms_key,
										cc_http_request *request, char error[CC_KMS_ERROR_MAX]);
extern cc_kms_outcome vault_key_reply(cc_kms_session *handle, const char *kms_key,
									  const cc_http_reply *reply, bool again,
									  cc_kms_key_facts *facts, char error[CC_KMS_ERROR_MAX]);

#endif
