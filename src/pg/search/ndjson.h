/*
 * ndjson.h
 *		Lines of JSON in one text value, which may hold plaintext: what it grows out of
 *		is wiped.
 *
 * All of it is ASCII, other characters as \uXXXX: so it is the same in every encoding of
 * a database and of a client, and always the UTF-8 that search engines want.
 */
#ifndef CHATCRYPT_NDJSON_H
#define CHATCRYPT_NDJSON_H

/* In the memory context that it was begun in. */
typedef struct ChatcryptNdjson
{
	MemoryContext context;
	char	   *bytes;			/* room for the header of a varlena, then the text */
	Size		len;			/* of both */
	Size		room;
} ChatcryptNdjson;

extern void chatcrypt_ndjson_begin(ChatcryptNdjson *out);

/* As it is: punctuation, names, numbers. */
extern void chatcrypt_ndjson_put(ChatcryptNdjson *out, const char *json);

/* As a string.  What is not UTF-8 in it becomes U+FFFD. */
extern void chatcrypt_ndjson_put_utf8(ChatcryptNdjson *out, const char *utf8, Size len);

/* The same for text in the server's encoding. */
extern void chatcrypt_ndjson_put_text(ChatcryptNdjson *out, const text *value);

/* Takes back what came after it was so long. */
extern void chatcrypt_ndjson_cut(ChatcryptNdjson *out, Size len);

/* The value, which is the caller's from then on; or nothing of it. */
extern text *chatcrypt_ndjson_end(ChatcryptNdjson *out);
extern void chatcrypt_ndjson_drop(ChatcryptNdjson *out);

#endif
