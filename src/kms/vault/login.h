/*
 * login.h
 *		Logins and leases of the provider `vault`, as provider.h asks for them.
 */
#ifndef CC_VAULT_LOGIN_H
#define CC_VAULT_LOGIN_H

#include "kms/provider.h"

extern cc_session_state vault_login_state(cc_kms_session *handle, int64_t now_ms);
extern cc_kms_outcome vault_login_request(cc_kms_session *handle, cc_http_request *request,
											int64_t now_ms, char error[CC_KMS_ERROR_MAX]);
extern cc_kms_outcome vault_login_reply(cc_kms_session *handle, const cc_http_reply *reply,
										  int64_t now_ms, char error[CC_KMS_ERROR_MAX]);
extern bool vault_login_changed(const cc_kms_session *handle);
extern int64_t vault_login_lease_ms(cc_kms_session *handle, int64_t now_ms);

#endif
