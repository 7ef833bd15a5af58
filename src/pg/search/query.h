/*
 * query.h
 *		What a person writes to search, as a tree:
 *
 *			one two			both words			one or two		either
 *			-one			not this one		"one two"		one after the other
 *			on*				a word's beginning	*ne*			a part of a word
 *
 * or binds less than what stands side by side, as in websearch_to_tsquery().  Words go
 * through the text search configuration, as those of a message do.  Here is how a tree
 * is made and whether a message matches it; what of it an index decides is in
 * indexcondition.h.
 */
#ifndef CHATCRYPT_QUERY_H
#define CHATCRYPT_QUERY_H

#include "nodes/pg_list.h"

#include "pg/search/words.h"

typedef enum ChatcryptQueryKind
{
	CHATCRYPT_QUERY_ALL,		/* of the parts */
	CHATCRYPT_QUERY_ANY,
	CHATCRYPT_QUERY_NONE,
	CHATCRYPT_QUERY_WORDS		/* one after the other: a word, or a phrase */
} ChatcryptQueryKind;

typedef enum ChatcryptMatch
{
	CHATCRYPT_MATCH_WORD,
	CHATCRYPT_MATCH_PREFIX,
	CHATCRYPT_MATCH_PART
} ChatcryptMatch;

typedef struct ChatcryptQuery
{
	ChatcryptQueryKind kind;
	List	   *parts;			/* of ChatcryptQuery */
	ChatcryptMatch match;
	ParsedText	words;			/* in order; those of one position are alternatives by nvariant */
} ChatcryptQuery;

/* NULL where nothing of it can be searched for, as of words that the configuration leaves out. */
extern ChatcryptQuery *chatcrypt_query_parse(Oid config, const char *plain);

/* words: the message's, as chatcrypt_words_parse() gives them. */
extern bool chatcrypt_query_matches(const ChatcryptQuery *query, const ParsedText *words);

/* The words from first on that are at its position and of its variant: where they end. */
extern int	chatcrypt_query_variant_end(const ParsedText *words, int first);

#endif
