/*
 * namedkey.c
 *		Which key the first bytes of an envelope name: see namedkey.h.
 */
#include "postgres.h"

#include "core/header.h"
#include "pg/compat.h"
#include "pg/upkeep/namedkey.h"

bool
chatcrypt_namedkey_read(const bytea *header, ChatcryptPurpose *purpose, uint32 *version)
{
	cc_header	named;

	if (cc_header_read((const uint8 *) VARDATA_ANY(header), VARSIZE_ANY_EXHDR(header),
					   &named) != CC_OK)
		return false;
	*purpose = named.suite == CC_SUITE_CONVERSATION ? CHATCRYPT_PURPOSE_CONVERSATION :
		CHATCRYPT_PURPOSE_DATA;
	*version = named.dek_version;
	return true;
}
