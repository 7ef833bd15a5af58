/*
 * retention.h
 *		How long messages are kept.
 */
#ifndef CHATCRYPT_RETENTION_H
#define CHATCRYPT_RETENTION_H

#include "datatype/timestamp.h"

#include "core/bytes.h"

/*
 * When a message of the chat that was made at that time expires, by the policy of the chat or
 * else of its tenant.  False where neither has a policy.  An expires_at that a row is given
 * takes precedence.
 */
extern bool chatcrypt_retention_expiry(const uint8 chat_id[CC_ID_LEN], TimestampTz created_at,
									   TimestampTz *expires_at);

#endif
