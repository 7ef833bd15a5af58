/*
 * utf8.c
 *		Converts text of messages to UTF-8, and back: see utf8.h.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "core/bytes.h"
#include "pg/compat.h"
#include "pg/messages/utf8.h"

char *
chatcrypt_utf8_of_text(const text *given, Size *len)
{
	char	   *plain = VARDATA_ANY(given);
	char	   *utf8;

	*len = VARSIZE_ANY_EXHDR(given);
	/* A server without an encoding takes any bytes; its own check would show some of them. */
	if (GetDatabaseEncoding() == PG_SQL_ASCII && !pg_verify_mbstr(PG_UTF8, plain, *len, true))
		return NULL;
	utf8 = pg_server_to_any(plain, *len, PG_UTF8);
	if (utf8 != plain)
		*len = strlen(utf8);
	return utf8;
}

/*
 * UTF-8 converted to the server's encoding, or NULL where that lacks a character.  PostgreSQL's
 * own conversion would raise an error with bytes of the message in it.
 */
static text *
convert_to_server(const char *utf8, Size len)
{
	Oid			conversion = FindDefaultConversionProc(PG_UTF8, GetDatabaseEncoding());
	Size		room = (len + 1) * MAX_CONVERSION_GROWTH;
	text	   *volatile result = NULL;
	char	   *native;

	if (!OidIsValid(conversion) || room > PG_INT32_MAX)
		return NULL;
	native = MemoryContextAllocHuge(CurrentMemoryContext, room);
	PG_TRY();
	{
		if (pg_do_encoding_conversion_buf(conversion, PG_UTF8, GetDatabaseEncoding(),
										  (unsigned char *) utf8, (int) len,
										  (unsigned char *) native, (int) room, true) == (int) len)
			result = cstring_to_text(native);
	}
	PG_FINALLY();
	{
		cc_wipe(native, room);	/* a conversion that a user made may raise in any case */
	}
	PG_END_TRY();
	pfree(native);
	return result;
}

text *
chatcrypt_utf8_as_text(struct varlena *plaintext)
{
	Size		len = VARSIZE(plaintext) - VARHDRSZ;

	if (!pg_verify_mbstr(PG_UTF8, VARDATA(plaintext), len, true))
		return NULL;
	if (len == 0 || GetDatabaseEncoding() == PG_UTF8 || GetDatabaseEncoding() == PG_SQL_ASCII)
		return plaintext;
	return convert_to_server(VARDATA(plaintext), len);
}

text *
chatcrypt_utf8_to_text(const char *utf8, Size len)
{
	if (!pg_verify_mbstr(PG_UTF8, utf8, len, true))
		return NULL;
	if (len == 0 || GetDatabaseEncoding() == PG_UTF8 || GetDatabaseEncoding() == PG_SQL_ASCII)
		return cstring_to_text_with_len(utf8, len);
	return convert_to_server(utf8, len);
}

void
chatcrypt_utf8_wipe_text(text *plaintext)
{
	if (plaintext != NULL)
		cc_wipe(VARDATA_ANY(plaintext), VARSIZE_ANY_EXHDR(plaintext));
}
