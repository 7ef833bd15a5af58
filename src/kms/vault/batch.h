/*
 * batch.h
 *		Transit calls, as provider.h asks for them.
 */
#ifndef CC_VAULT_BATCH_H
#define CC_VAULT_BATCH_H

#include "kms/provider.h"

/*
 * OpenBao refuses a request that contains more than 1,000 strings, names included,
 * with a 413; an item has six, or four where it is sent without a reference.
 */
#define VAULT_BATCH_MAX			128
#define VAULT_BATCH_MAX_WRAPPED	240

extern uint32_t vault_batch_wrapped_version(const uint8_t *wrapped, size_t len);
extern cc_kms_outcome vault_batch_request(cc_kms_session *handle, const cc_kms_batch *batch,
										  cc_http_request *request, char error[CC_KMS_ERROR_MAX]);
extern cc_kms_outcome vault_batch_reply(cc_kms_session *handle, cc_kms_batch *batch,
										const cc_http_reply *reply, char error[CC_KMS_ERROR_MAX]);

#endif
