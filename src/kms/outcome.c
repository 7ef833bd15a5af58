/*
 * outcome.c
 *		Which outcomes are transient, and the words for each.
 */
#include "kms/outcome.h"

/*
 * A call with a bad reply is tried again, because proxies and servers in trouble send
 * such replies.  A refusal by the KMS is never transient: a key whose use was revoked
 * must not live on in a cache.
 */
bool
cc_kms_outcome_is_transient(cc_kms_outcome outcome)
{
	return outcome == CC_KMS_TRANSIENT || outcome == CC_KMS_TIMEOUT ||
		outcome == CC_KMS_SEALED || outcome == CC_KMS_BAD_REPLY;
}

bool
cc_kms_outcome_is_of_item(cc_kms_outcome outcome)
{
	return outcome == CC_KMS_REJECTED || outcome == CC_KMS_NOT_OPENED;
}

const char *
cc_kms_outcome_text(cc_kms_outcome outcome)
{
	switch (outcome)
	{
		case CC_KMS_OK:
			return "ok";
		case CC_KMS_TRANSIENT:
			return "the key service is not available";
		case CC_KMS_TIMEOUT:
			return "the key service did not answer in time";
		case CC_KMS_SEALED:
			return "the key service is sealed or standing by";
		case CC_KMS_BAD_REPLY:
			return "the key service sent a reply that cannot be used";
		case CC_KMS_DENIED:
			return "the key service denied access";
		case CC_KMS_REJECTED:
			return "the key service rejected the wrapped key";
		case CC_KMS_NOT_OPENED:
			return "the key at the key service does not open the wrapped key";
		case CC_KMS_NO_KEY:
			return "the key service has no such key";
		case CC_KMS_CONFIG:
			return "the key service is not set up correctly";
		case CC_KMS_LOGIN_AGAIN:
			return "the key service wants a new login";
		case CC_KMS_SPLIT:
			return "the request was too large for the key service";
	}
	return "unknown outcome";
}

const char *
cc_kms_outcome_name(cc_kms_outcome outcome)
{
	switch (outcome)
	{
		case CC_KMS_OK:
			return "ok";
		case CC_KMS_TRANSIENT:
			return "transient";
		case CC_KMS_TIMEOUT:
			return "timed out";
		case CC_KMS_SEALED:
			return "sealed";
		case CC_KMS_BAD_REPLY:
			return "bad reply";
		case CC_KMS_DENIED:
			return "denied";
		case CC_KMS_REJECTED:
			return "rejected";
		case CC_KMS_NOT_OPENED:
			return "not opened";
		case CC_KMS_NO_KEY:
			return "no key";
		case CC_KMS_CONFIG:
			return "not set up";
		case CC_KMS_LOGIN_AGAIN:
			return "login again";
		case CC_KMS_SPLIT:
			return "too large";
	}
	return "unknown";
}
