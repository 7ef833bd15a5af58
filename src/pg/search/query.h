/*
 * query.h
 *		A query as a person writes it, parsed into a tree:
 *
 *			one two			both words			one or two		either
 *			-one			not this one		"one two"		one after the other
 *			on*				a word's beginning	*ne*			a part of a word
 *
 * "or" binds less tightly than words side by side, as in websearch_to_tsquery().  Words go
 * through the text search configuration, as those of a message do.  query.c parses a query and
 * decides whether a message matches it; indexcondition.c decides what the index can tell of it.
 */
#ifndef CHATCRYPT_QUERY_H
#define CHATCRYPT_QUERY_H

#include "nodes/pg_list.h"

#include "pg/search/words.h"

typedef enum ChatcryptQueryKind
{
	CHATCRYPT_QUERY_ALL,		/* all parts match */
	CHATCRYPT_QUERY_ANY,		/* at least one part matches */
	CHATCRYPT_QUERY_NONE,		/* no part matches */
	CHATCRYPT_QUERY_WORDS		/* the words follow each other: one word, or a phrase */
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
	ParsedText	words;			/* by position; the variants of a position are alternatives */
} ChatcryptQuery;

/* NULL if nothing is left to search for, because the configuration leaves out all words. */
extern ChatcryptQuery *chatcrypt_query_parse(Oid config, const char *plain);

/* words are those of a message, from chatcrypt_words_parse(). */
extern bool chatcrypt_query_matches(const ChatcryptQuery *query, const ParsedText *words);

/* The end of the words from first on that have the same position and variant as first. */
extern int	chatcrypt_query_variant_end(const ParsedText *words, int first);

#endif
