/*
 * words.h
 *		The words of a text, as a text search configuration makes them: what is indexed,
 *		and what a query is compared with.
 *
 * Words are plaintext, and the caller that parsed them wipes them.  What PostgreSQL's parser and
 * dictionaries leave in memory besides is not wiped, like other text that a statement handles.
 */
#ifndef CHATCRYPT_WORDS_H
#define CHATCRYPT_WORDS_H

#include "tsearch/ts_utils.h"

/* Makes the words in the current memory context, in the order of the text. */
extern void chatcrypt_words_parse(Oid config, const char *plain, Size len, ParsedText *words);
extern void chatcrypt_words_wipe(ParsedText *words);

#endif
