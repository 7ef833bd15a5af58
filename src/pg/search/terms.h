/*
 * terms.h
 *		Terms: what stands for a word in chatcrypt.search_token.
 *
 * A term is a blind token of the format (docs/format.md) as a number, XORed with a
 * public hash of its chat: tokens of few bits would otherwise be the same ones in all
 * chats, and the index would have to tell them apart row by row.
 */
#ifndef CHATCRYPT_TERMS_H
#define CHATCRYPT_TERMS_H

#include "core/blind.h"
#include "pg/search/policy.h"

/* Of a longer word, that many characters have a prefix token, and no more. */
#define CHATCRYPT_LONGEST_PREFIX	16
#define CHATCRYPT_TRIGRAM			3

/* A growing list of them. */
typedef struct ChatcryptTerms
{
	uint8		chat_id[CC_ID_LEN];
	ChatcryptSearchPolicy policy;
	int64		mark;			/* the hash of the chat: also the term of a message with too many words */
	int64	   *terms;
	int			count;
	int			room;
	bool		too_many;
} ChatcryptTerms;

extern void chatcrypt_terms_begin(ChatcryptTerms *terms, const uint8 chat_id[CC_ID_LEN],
								  const ChatcryptSearchPolicy *policy);

/*
 * Each adds the terms that must all be there where the word is: false, with nothing
 * added, where no term tells.  Lexemes are in the server's encoding.
 */
extern bool chatcrypt_terms_word(ChatcryptTerms *terms, const char *lexeme, Size len);
extern bool chatcrypt_terms_prefix(ChatcryptTerms *terms, const char *prefix, Size len,
								   bool *exact);
extern bool chatcrypt_terms_part(ChatcryptTerms *terms, const char *part, Size len);

/* What was added, sorted and each once. */
extern void chatcrypt_terms_sort(ChatcryptTerms *terms);

/* All terms of a message, sorted and each once. */
extern void chatcrypt_terms_of_body(ChatcryptTerms *terms, const text *body);

#endif
