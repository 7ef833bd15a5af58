/*
 * namedkey.c
 *		Which key the first bytes of an envelope name: see namedkey.h.
 */
#include "postgres.h"

#include "core/envelope.h"
#include "pg/upkeep/namedkey.h"

bool
chatcrypt_namedkey_read(const bytea *header, ChatcryptPurpose *purpose, uint32 *version)
{
	cc_envelope_info info;

	if (cc_envelope_read_header((const uint8 *) VARDATA_ANY(header), VARSIZE_ANY_EXHDR(header),
								&info) != CC_OK)
		return false;
	*purpose = info.suite == CC_SUITE_CONVERSATION ? CHATCRYPT_PURPOSE_CONVERSATION :
		CHATCRYPT_PURPOSE_DATA;
	*version = info.dek_version;
	return true;
}
