/*
 * request.h
 *		How a request to Vault or OpenBao begins and ends.
 */
#ifndef CC_VAULT_REQUEST_H
#define CC_VAULT_REQUEST_H

#include "kms/vault/session.h"

/*
 * Begins a request: method, URL and headers.  The token's header is added only where token
 * is not "".  body_size bytes are allocated for a body (0 for none); writer is set to
 * them, and vault_request_end() closes it.
 */
extern CC_MUST_CHECK cc_kms_outcome vault_request_begin(const vault_session *session,
														cc_http_request *request,
														const char *method, const char *path,
														const char *token, size_t body_size,
														cc_writer *writer,
														char error[CC_KMS_ERROR_MAX]);
extern CC_MUST_CHECK cc_kms_outcome vault_request_end(cc_http_request *request, size_t body_size,
													  const cc_writer *writer,
													  char error[CC_KMS_ERROR_MAX]);

#endif
