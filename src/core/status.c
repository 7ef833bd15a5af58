/*
 * status.c
 *		The text for each status.
 */
#include "core/status.h"

const char *
cc_status_text(cc_status status)
{
	switch (status)
	{
		case CC_OK:
			return "no error";
		case CC_ERR_TRUNCATED:
			return "too short for its format";
		case CC_ERR_TRAILING:
			return "too long for its format";
		case CC_ERR_SUITE:
			return "unknown format";
		case CC_ERR_VERSION:
			return "wrong key version";
		case CC_ERR_TOO_LARGE:
			return "over a limit of the format";
		case CC_ERR_SYNTAX:
			return "malformed text";
		case CC_ERR_ARGUMENT:
			return "invalid argument";
		case CC_ERR_AUTH:
			return "could not be authenticated";
		case CC_ERR_RANDOM:
			return "no random bytes available";
		case CC_ERR_NO_MEMORY:
			return "out of memory";
		case CC_ERR_CRYPTO:
			return "failure in the cryptographic library";
		case CC_ERR_NO_KEY:
			return "no such key";
		case CC_ERR_FILE:
			return "missing or refused file";
	}
	return "unknown status";
}
