/*
 * terms.h
 *		Terms, which stand for words in chatcrypt.search_token.
 *
 * A term is a blind token (docs/format.md) as a number, XORed with a public hash of its chat.
 * Without the hash, tokens of few bits would be the same numbers in all chats, and a search would
 * have to filter the rows of other chats one by one.
 */
#ifndef CHATCRYPT_TERMS_H
#define CHATCRYPT_TERMS_H

#include "core/blind.h"
#include "pg/search/policy.h"

/* The longest prefix of a word that has a token, in characters. */
#define CHATCRYPT_LONGEST_PREFIX	16
#define CHATCRYPT_TRIGRAM			3

/* A growing list of terms. */
typedef struct ChatcryptTerms
{
	uint8		chat_id[CC_ID_LEN];
	ChatcryptSearchPolicy policy;
	int64		mark;			/* hash of the chat; sole term of a message with too many words */
	int64	   *terms;
	int			count;
	int			room;
	bool		too_many;
} ChatcryptTerms;

extern void chatcrypt_terms_begin(ChatcryptTerms *terms, const uint8 chat_id[CC_ID_LEN],
								  const ChatcryptSearchPolicy *policy);

/*
 * Each of these adds terms that every message with the word has.  False, with nothing added, if
 * there are no such terms.  Lexemes are in the encoding of the server.  *exact says whether the
 * term stands for the whole prefix, and not for a shorter one.
 */
extern bool chatcrypt_terms_word(ChatcryptTerms *terms, const char *lexeme, Size len);
extern bool chatcrypt_terms_prefix(ChatcryptTerms *terms, const char *prefix, Size len,
								   bool *exact);
extern bool chatcrypt_terms_part(ChatcryptTerms *terms, const char *part, Size len);

/* Sorts the terms, and keeps each once. */
extern void chatcrypt_terms_sort(ChatcryptTerms *terms);

/* Adds all terms of a message, sorted and each once. */
extern void chatcrypt_terms_of_body(ChatcryptTerms *terms, const text *body);

#endif
