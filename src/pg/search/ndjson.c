/*
 * ndjson.c
 *		Lines of JSON in one text value: see ndjson.h.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "mb/pg_wchar.h"

#include "core/bytes.h"
#include "pg/compat.h"
#include "pg/search/ndjson.h"

#define FIRST_ROOM		8192
#define REPLACEMENT		0xFFFD

/* Not by repalloc(), which would leave the old copy in memory without wiping it. */
static void
reserve(ChatcryptNdjson *out, Size more)
{
	Size		room = out->room;
	char	   *bytes;

	if (out->len + more <= out->room)
		return;
	while (room < out->len + more)
		room *= 2;
	bytes = MemoryContextAlloc(out->context, room);
	memcpy(bytes, out->bytes, out->len);
	cc_wipe(out->bytes, out->len);
	pfree(out->bytes);
	out->bytes = bytes;
	out->room = room;
}

void
chatcrypt_ndjson_begin(ChatcryptNdjson *out)
{
	out->context = CurrentMemoryContext;
	out->bytes = palloc(FIRST_ROOM);
	out->len = VARHDRSZ;
	out->room = FIRST_ROOM;
}

static void
put_bytes(ChatcryptNdjson *out, const char *bytes, Size len)
{
	reserve(out, len);
	memcpy(out->bytes + out->len, bytes, len);
	out->len += len;
}

void
chatcrypt_ndjson_put(ChatcryptNdjson *out, const char *json)
{
	put_bytes(out, json, strlen(json));
}

static void
put_escape(ChatcryptNdjson *out, uint32 unit)
{
	static const char digits[] = "0123456789abcdef";
	const char	escape[] = {
		'\\', 'u', digits[unit >> 12 & 15], digits[unit >> 8 & 15],
		digits[unit >> 4 & 15], digits[unit & 15]
	};

	put_bytes(out, escape, sizeof(escape));
}

static void
put_character(ChatcryptNdjson *out, uint32 character)
{
	const char	escaped[] = {'\\', (char) character};

	if (character == '"' || character == '\\')
		put_bytes(out, escaped, 2);
	else if (character >= 0x20 && character < 0x7F)
		put_bytes(out, &escaped[1], 1);
	else if (character < 0x10000)
		put_escape(out, character);
	else
	{
		put_escape(out, 0xD800 + ((character - 0x10000) >> 10));
		put_escape(out, 0xDC00 + ((character - 0x10000) & 0x3FF));
	}
}

/* The character that begins here, and how many bytes it takes. */
static uint32
next_character(const unsigned char *at, Size left, int *length)
{
	uint32		character;

	*length = pg_utf_mblen(at);
	if ((Size) *length > left || !pg_utf8_islegal(at, *length))
	{
		*length = 1;
		return REPLACEMENT;
	}
	if (*length == 1)
		return at[0];
	character = at[0] & (0x7F >> *length);
	for (int i = 1; i < *length; i++)
		character = character << 6 | (at[i] & 0x3F);
	return character;
}

void
chatcrypt_ndjson_put_utf8(ChatcryptNdjson *out, const char *utf8, Size len)
{
	const unsigned char *at = (const unsigned char *) utf8;
	const unsigned char *end = at + len;
	int			length;

	chatcrypt_ndjson_put(out, "\"");
	for (; at < end; at += length)
		put_character(out, next_character(at, end - at, &length));
	chatcrypt_ndjson_put(out, "\"");
}

/*
 * Characters that Unicode does not have are left out or replaced.  They are of no use to the index,
 * and no reason to raise an error.  The whole value is null if it cannot be converted at all.
 */
static void
put_converted(ChatcryptNdjson *out, const char *value, Size len)
{
	Oid			conversion = FindDefaultConversionProc(GetDatabaseEncoding(), PG_UTF8);
	Size		room = len * MAX_CONVERSION_GROWTH + 1;
	char	   *utf8;

	if (!OidIsValid(conversion) || room > PG_INT32_MAX)
	{
		chatcrypt_ndjson_put(out, "null");
		return;
	}
	utf8 = palloc0(room);
	(void) pg_do_encoding_conversion_buf(conversion, GetDatabaseEncoding(), PG_UTF8,
										 (unsigned char *) value, (int) len, (unsigned char *) utf8,
										 (int) room, true);
	chatcrypt_ndjson_put_utf8(out, utf8, strlen(utf8));
	cc_wipe(utf8, room);
	pfree(utf8);
}

void
chatcrypt_ndjson_put_text(ChatcryptNdjson *out, const text *value)
{
	int			encoding = GetDatabaseEncoding();

	if (encoding == PG_UTF8 || encoding == PG_SQL_ASCII || VARSIZE_ANY_EXHDR(value) == 0)
		chatcrypt_ndjson_put_utf8(out, VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value));
	else
		put_converted(out, VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value));
}

void
chatcrypt_ndjson_cut(ChatcryptNdjson *out, Size len)
{
	cc_wipe(out->bytes + len, out->len - len);
	out->len = len;
}

text *
chatcrypt_ndjson_end(ChatcryptNdjson *out)
{
	text	   *value = (text *) out->bytes;

	SET_VARSIZE(value, out->len);
	out->bytes = NULL;
	return value;
}

void
chatcrypt_ndjson_drop(ChatcryptNdjson *out)
{
	if (out->bytes == NULL)
		return;
	cc_wipe(out->bytes, out->len);
	pfree(out->bytes);
	out->bytes = NULL;
}
