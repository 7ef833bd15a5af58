/*
 * ndjson.h
 *		Lines of JSON in one text value.  The value may hold plaintext, so memory that it
 *		outgrows is wiped.
 *
 * All of it is ASCII, with other characters written as \uXXXX.  It is therefore the same in every
 * encoding of a database and of a client, and always valid UTF-8, which search engines expect.
 */
#ifndef CHATCRYPT_NDJSON_H
#define CHATCRYPT_NDJSON_H

/* The bytes are in the memory context in which chatcrypt_ndjson_begin() was called. */
typedef struct ChatcryptNdjson
{
	MemoryContext context;
	char	   *bytes;			/* room for the header of a varlena, and then the text */
	Size		len;			/* of the header and the text */
	Size		room;
} ChatcryptNdjson;

extern void chatcrypt_ndjson_begin(ChatcryptNdjson *out);

/* Adds punctuation, names and numbers as they are. */
extern void chatcrypt_ndjson_put(ChatcryptNdjson *out, const char *json);

/* Adds a string.  Bytes that are not UTF-8 become U+FFFD. */
extern void chatcrypt_ndjson_put_utf8(ChatcryptNdjson *out, const char *utf8, Size len);

/* Adds a string that is in the encoding of the server. */
extern void chatcrypt_ndjson_put_text(ChatcryptNdjson *out, const text *value);

/* Wipes and removes everything after this length. */
extern void chatcrypt_ndjson_cut(ChatcryptNdjson *out, Size len);

/* End gives the value to the caller; drop wipes it. */
extern text *chatcrypt_ndjson_end(ChatcryptNdjson *out);
extern void chatcrypt_ndjson_drop(ChatcryptNdjson *out);

#endif
