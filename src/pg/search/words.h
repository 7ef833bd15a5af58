/*
 * words.h
 *		The words of a text, as a text search configuration makes them of it: what is
 *		indexed, and what a query is compared with.
 *
 * They are plaintext.  Who parses wipes; what PostgreSQL's parser and dictionaries
 * leave in memory beside them is like any text that a query has passed through.
 */
#ifndef CHATCRYPT_WORDS_H
#define CHATCRYPT_WORDS_H

#include "tsearch/ts_utils.h"

/* In the current memory context, in the order of the text: positions never go down. */
extern void chatcrypt_words_parse(Oid config, const char *plain, Size len, ParsedText *words);
extern void chatcrypt_words_wipe(ParsedText *words);

#endif
