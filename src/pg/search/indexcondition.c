/*
 * indexcondition.c
 *		From a query to a condition over tokens: see indexcondition.h.
 *
 * Each node of the query has two conditions: one that is true for at least the messages that
 * match, and one that is true for at most those.  A negation swaps them.  Tokens of 64 bits tell
 * exactly which messages have a single word.  Of everything else (phrases, shorter tokens,
 * prefixes and parts that have no token) they tell the condition of the first kind, or nothing.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"

#include "pg/compat.h"
#include "pg/search/indexcondition.h"

#define ALL_BITS	64

typedef enum Bound
{
	AT_LEAST,
	AT_MOST
} Bound;

/* A condition of a part of the query.  NULL stands for true with AT_LEAST, false with AT_MOST. */
typedef struct Piece
{
	char	   *sql;
	bool		indexed;
} Piece;

typedef struct Maker
{
	const uint8 *chat_id;
	const ChatcryptSearchPolicy *policy;
	int			first;
	List	   *arguments;
} Maker;

static ArrayType *
to_array(const ChatcryptTerms *terms)
{
	Datum	   *values = palloc(sizeof(Datum) * Max(terms->count, 1));

	for (int i = 0; i < terms->count; i++)
		values[i] = Int64GetDatum(terms->terms[i]);
	return construct_array(values, terms->count, INT8OID, sizeof(int64), FLOAT8PASSBYVAL,
						   TYPALIGN_DOUBLE);
}

static char *
holds(Maker *maker, ArrayType *terms)
{
	maker->arguments = lappend(maker->arguments, terms);
	return psprintf("t.tokens @> $%d", maker->first + list_length(maker->arguments) - 1);
}

/*
 * Adds the terms of one word; false if it has none.  *exact says whether every message with these
 * terms has the word, if terms are not cut.
 */
static bool
add_word(ChatcryptTerms *terms, const ParsedWord *word, ChatcryptMatch match, bool *exact)
{
	switch (match)
	{
		case CHATCRYPT_MATCH_WORD:
			*exact = true;
			return chatcrypt_terms_word(terms, word->word, word->len);
		case CHATCRYPT_MATCH_PREFIX:
			return chatcrypt_terms_prefix(terms, word->word, word->len, exact);
		case CHATCRYPT_MATCH_PART:
			*exact = false;
			return chatcrypt_terms_part(terms, word->word, word->len);
	}
	pg_unreachable();
}

/* The condition for all words of one variant of one position of the query. */
static char *
variant_condition(Maker *maker, const ChatcryptQuery *query, int first, int end, bool *exact)
{
	ChatcryptTerms terms;

	chatcrypt_terms_begin(&terms, maker->chat_id, maker->policy);
	for (int i = first; i < end; i++)
	{
		bool		word_exact;

		if (!add_word(&terms, &query->words.words[i], query->match, &word_exact))
			word_exact = false;
		*exact = *exact && word_exact;
	}
	return terms.count == 0 ? NULL : holds(maker, to_array(&terms));
}

static char *
join(List *conditions, const char *operator)
{
	StringInfoData sql;
	ListCell   *cell;

	if (conditions == NIL)
		return NULL;
	if (list_length(conditions) == 1)
		return linitial(conditions);
	initStringInfo(&sql);
	foreach(cell, conditions)
		appendStringInfo(&sql, "%s%s", foreach_current_index(cell) == 0 ? "(" : operator,
						 (char *) lfirst(cell));
	appendStringInfoChar(&sql, ')');
	return sql.data;
}

/* The variants of the position that begins at *first, which then moves to the next position. */
static char *
position_condition(Maker *maker, const ChatcryptQuery *query, int *first, bool *exact)
{
	const ParsedText *words = &query->words;
	int			position = words->words[*first].pos.pos;
	List	   *variants = NIL;
	bool		all_tell = true;

	while (*first < words->curwords && words->words[*first].pos.pos == position)
	{
		int			end = chatcrypt_query_variant_end(words, *first);
		char	   *sql = variant_condition(maker, query, *first, end, exact);

		if (sql == NULL)
			all_tell = false;
		else
			variants = lappend(variants, sql);
		*first = end;
	}
	return all_tell ? join(variants, " OR ") : NULL;
}

static Piece
words_condition(Maker *maker, const ChatcryptQuery *query, Bound bound)
{
	int			arguments_before = list_length(maker->arguments);
	bool		exact = maker->policy->bits == ALL_BITS;
	List	   *positions = NIL;
	int			npositions = 0;
	Piece		piece = {0};

	for (int first = 0; first < query->words.curwords; npositions++)
	{
		char	   *sql = position_condition(maker, query, &first, &exact);

		if (sql != NULL)
			positions = lappend(positions, sql);
	}
	exact = exact && npositions == 1;
	if (bound == AT_LEAST || exact)
		piece.sql = join(positions, " AND ");
	else
		maker->arguments = list_truncate(maker->arguments, arguments_before);
	piece.indexed = piece.sql != NULL;
	return piece;
}

static Piece make_piece(Maker *maker, const ChatcryptQuery *query, Bound bound);

static Piece
negation(Maker *maker, const ChatcryptQuery *query, Bound bound)
{
	Piece		piece = make_piece(maker, linitial(query->parts),
								   bound == AT_LEAST ? AT_MOST : AT_LEAST);

	if (piece.sql != NULL)
		piece.sql = psprintf("NOT %s", piece.sql);
	piece.indexed = false;
	return piece;
}

/*
 * A part without a condition counts as true with AT_LEAST and as false with AT_MOST.  Depending
 * on the kind of the combination, such a part is left out, or the whole combination has no
 * condition either.
 */
static Piece
combination(Maker *maker, const ChatcryptQuery *query, Bound bound)
{
	bool		all = query->kind == CHATCRYPT_QUERY_ALL;
	List	   *conditions = NIL;
	Piece		whole = {.indexed = !all};
	ListCell   *cell;

	foreach(cell, query->parts)
	{
		Piece		part = make_piece(maker, lfirst(cell), bound);

		if (part.sql != NULL)
			conditions = lappend(conditions, part.sql);
		else if (all != (bound == AT_LEAST))
			return (Piece) {0};
		whole.indexed = all ? whole.indexed || part.indexed : whole.indexed && part.indexed;
	}
	whole.sql = join(conditions, all ? " AND " : " OR ");
	whole.indexed = whole.indexed && whole.sql != NULL;
	return whole;
}

static Piece
make_piece(Maker *maker, const ChatcryptQuery *query, Bound bound)
{
	switch (query->kind)
	{
		case CHATCRYPT_QUERY_WORDS:
			return words_condition(maker, query, bound);
		case CHATCRYPT_QUERY_NONE:
			return negation(maker, query, bound);
		case CHATCRYPT_QUERY_ALL:
		case CHATCRYPT_QUERY_ANY:
			return combination(maker, query, bound);
	}
	pg_unreachable();
}

/* A message of too many words has the mark as its only term, and may contain any word. */
static char *
or_marked(Maker *maker, const char *sql)
{
	ChatcryptTerms mark;

	chatcrypt_terms_begin(&mark, maker->chat_id, maker->policy);
	mark.terms[mark.count++] = mark.mark;
	return psprintf("(%s OR %s)", sql, holds(maker, to_array(&mark)));
}

void
chatcrypt_indexcondition_make(const ChatcryptQuery *query, const uint8 chat_id[CC_ID_LEN],
							  const ChatcryptSearchPolicy *policy, int first,
							  ChatcryptIndexCondition *condition)
{
	Maker		maker = {.chat_id = chat_id, .policy = policy, .first = first};
	Piece		piece = make_piece(&maker, query, AT_LEAST);

	condition->sql = piece.sql == NULL ? NULL : or_marked(&maker, piece.sql);
	condition->indexed = piece.indexed;
	condition->arguments = piece.sql == NULL ? NIL : maker.arguments;
}

/* ---------- one list of terms ---------- */

static void
add_variant(ChatcryptTerms *terms, const ChatcryptQuery *query, int first, int end)
{
	for (int i = first; i < end; i++)
	{
		bool		exact;

		(void) add_word(terms, &query->words.words[i], query->match, &exact);
	}
}

/* Adds nothing for a position of several variants, because a message may have any one of them. */
static void
add_positions(ChatcryptTerms *terms, const ChatcryptQuery *query)
{
	const ParsedText *words = &query->words;
	int			first = 0;

	while (first < words->curwords)
	{
		int			end = chatcrypt_query_variant_end(words, first);
		int			next = end;

		while (next < words->curwords && words->words[next].pos.pos == words->words[first].pos.pos)
			next++;
		if (next == end)
			add_variant(terms, query, first, end);
		first = next;
	}
}

void
chatcrypt_indexcondition_terms(const ChatcryptQuery *query, ChatcryptTerms *terms)
{
	ListCell   *cell;

	if (query->kind == CHATCRYPT_QUERY_WORDS)
		add_positions(terms, query);
	else if (query->kind != CHATCRYPT_QUERY_ALL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("one list of tokens cannot express \"or\" or \"not\""),
				 errhint("Ask for the tokens of each side, and combine them in the query of the "
						 "search engine.")));
	else
		foreach(cell, query->parts)
			chatcrypt_indexcondition_terms(lfirst(cell), terms);
}
