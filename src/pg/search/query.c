/*
 * query.c
 *		Parses queries and compares messages with them: see query.h.
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "utils/formatting.h"

#include "pg/search/query.h"

#define MOST_WORDS	64			/* of a query, including words that the configuration leaves out */
#define MOST_BYTES	16384

/* The last position of a text, which PostgreSQL also gives to all words after it. */
#define LAST_POSITION	(MAXENTRYPOS - 1)

typedef struct Reader
{
	Oid			config;
	const char *at;
	int			nwords;
} Reader;

static bool
is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static void
skip_spaces(Reader *reader)
{
	while (is_space(*reader->at))
		reader->at++;
}

static ChatcryptQuery *
make_node(ChatcryptQueryKind kind, List *parts)
{
	ChatcryptQuery *query = palloc0(sizeof(ChatcryptQuery));

	query->kind = kind;
	query->parts = parts;
	return query;
}

/* A part of a word is searched for as it is written, but in lower case. */
static void
take_part(ParsedText *words, const char *text, Size len)
{
	words->words = palloc0(sizeof(ParsedWord));
	words->curwords = words->lenwords = 1;
	words->words->word = str_tolower(text, len, DEFAULT_COLLATION_OID);
	words->words->len = (uint16) strlen(words->words->word);
}

/* NULL if the configuration leaves out all words. */
static ChatcryptQuery *
make_words(Reader *reader, const char *text, Size len, ChatcryptMatch match)
{
	ChatcryptQuery *query = make_node(CHATCRYPT_QUERY_WORDS, NIL);

	query->match = match;
	if (match == CHATCRYPT_MATCH_PART)
		take_part(&query->words, text, len);
	else
		chatcrypt_words_parse(reader->config, text, len, &query->words);
	reader->nwords += Max(query->words.curwords, 1);
	if (reader->nwords > MOST_WORDS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a query has at most %d words", MOST_WORDS)));
	return query->words.curwords == 0 ? NULL : query;
}

static ChatcryptQuery *
read_phrase(Reader *reader)
{
	const char *start = ++reader->at;
	Size		len;

	while (*reader->at != '\0' && *reader->at != '"')
		reader->at++;
	len = reader->at - start;
	if (*reader->at == '"')
		reader->at++;
	return make_words(reader, start, len, CHATCRYPT_MATCH_WORD);
}

static Size
word_length(const char *at)
{
	const char *end = at;

	while (*end != '\0' && *end != '"' && !is_space(*end))
		end++;
	return end - at;
}

static ChatcryptQuery *
read_word(Reader *reader)
{
	const char *start = reader->at;
	Size		len = word_length(start);
	ChatcryptMatch match = CHATCRYPT_MATCH_WORD;

	reader->at += len;
	if (len > 1 && start[len - 1] == '*')
	{
		match = CHATCRYPT_MATCH_PREFIX;
		len--;
	}
	if (len > 1 && start[0] == '*')
	{
		match = CHATCRYPT_MATCH_PART;
		start++;
		len--;
	}
	if (len > MAXSTRLEN)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a word of a query has at most %d bytes", MAXSTRLEN)));
	return make_words(reader, start, len, match);
}

static ChatcryptQuery *
read_item(Reader *reader)
{
	bool		negated = *reader->at == '-' && reader->at[1] != '\0' && !is_space(reader->at[1]);
	ChatcryptQuery *item;

	if (negated)
		reader->at++;
	item = *reader->at == '"' ? read_phrase(reader) : read_word(reader);
	return negated && item != NULL ? make_node(CHATCRYPT_QUERY_NONE, list_make1(item)) : item;
}

/* Is this the operator "or"?  It is an ordinary word at the beginning and end of a query. */
static bool
is_or(const char *at, bool is_first)
{
	if (is_first || word_length(at) != 2 || pg_strncasecmp(at, "or", 2) != 0)
		return false;
	for (at += 2; is_space(*at); at++)
		;
	return *at != '\0';
}

static ChatcryptQuery *
join(ChatcryptQueryKind kind, List *parts)
{
	if (parts == NIL)
		return NULL;
	return list_length(parts) == 1 ? linitial(parts) : make_node(kind, parts);
}

/* Reads items side by side, up to an "or" or the end of the query. */
static ChatcryptQuery *
read_all(Reader *reader)
{
	List	   *parts = NIL;
	bool		is_first = true;

	for (skip_spaces(reader); *reader->at != '\0' &&
		 !is_or(reader->at, is_first); skip_spaces(reader))
	{
		ChatcryptQuery *item = read_item(reader);

		if (item != NULL)
			parts = lappend(parts, item);
		is_first = false;
	}
	return join(CHATCRYPT_QUERY_ALL, parts);
}

ChatcryptQuery *
chatcrypt_query_parse(Oid config, const char *plain)
{
	Reader		reader = {.config = config, .at = plain};
	List	   *parts = NIL;

	if (strlen(plain) > MOST_BYTES)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a query has at most %d bytes", MOST_BYTES)));
	for (;;)
	{
		ChatcryptQuery *part = read_all(&reader);

		if (part != NULL)
			parts = lappend(parts, part);
		if (*reader.at == '\0')
			return join(CHATCRYPT_QUERY_ANY, parts);
		reader.at += strlen("or");
	}
}

int
chatcrypt_query_variant_end(const ParsedText *words, int first)
{
	int			end = first + 1;

	while (end < words->curwords &&
		   words->words[end].pos.pos == words->words[first].pos.pos &&
		   words->words[end].nvariant == words->words[first].nvariant)
		end++;
	return end;
}

static bool
contains(const ParsedWord *word, const ParsedWord *part)
{
	for (int at = 0; at + part->len <= word->len; at++)
		if (memcmp(word->word + at, part->word, part->len) == 0)
			return true;
	return false;
}

static bool
word_matches(const ParsedWord *word, const ParsedWord *wanted, ChatcryptMatch match)
{
	if (match == CHATCRYPT_MATCH_PART)
		return contains(word, wanted);
	if (match == CHATCRYPT_MATCH_PREFIX ? word->len < wanted->len : word->len != wanted->len)
		return false;
	return memcmp(word->word, wanted->word, wanted->len) == 0;
}

/* The first word of a text that is at this position or after it. */
static int
find_position(const ParsedText *words, int position)
{
	int			low = 0;
	int			high = words->curwords;

	while (low < high)
	{
		int			middle = (low + high) / 2;

		if (words->words[middle].pos.pos < position)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Does one of the words of the text at this position match the wanted one? */
static bool
has_at(const ParsedText *words, int position, const ParsedWord *wanted, ChatcryptMatch match)
{
	for (int i = find_position(words, position);
		 i < words->curwords && words->words[i].pos.pos == position; i++)
		if (word_matches(&words->words[i], wanted, match))
			return true;
	return false;
}

/* Does the text have, at this position, all words from first to end: one variant of the query? */
static bool
has_variant_at(const ParsedText *words, int position, const ChatcryptQuery *query, int first,
			   int end)
{
	for (int i = first; i < end; i++)
		if (!has_at(words, position, &query->words.words[i], query->match))
			return false;
	return true;
}

/* Does the text have the whole phrase, beginning at this position? */
static bool
has_phrase_at(const ParsedText *words, int position, const ChatcryptQuery *query)
{
	const ParsedText *wanted = &query->words;
	int			first = 0;

	while (first < wanted->curwords)
	{
		int			offset = wanted->words[first].pos.pos;
		int			there = Min(position + offset - wanted->words[0].pos.pos, LAST_POSITION);
		bool		found = false;

		while (first < wanted->curwords && wanted->words[first].pos.pos == offset)
		{
			int			end = chatcrypt_query_variant_end(wanted, first);

			found = found || has_variant_at(words, there, query, first, end);
			first = end;
		}
		if (!found)
			return false;
	}
	return true;
}

static bool
has_words(const ChatcryptQuery *query, const ParsedText *words)
{
	int			last = -1;

	for (int i = 0; i < words->curwords; i++)
	{
		int			position = words->words[i].pos.pos;

		if (position != last && has_phrase_at(words, position, query))
			return true;
		last = position;
	}
	return false;
}

bool
chatcrypt_query_matches(const ChatcryptQuery *query, const ParsedText *words)
{
	bool		found = query->kind != CHATCRYPT_QUERY_ANY;
	ListCell   *cell;

	if (query->kind == CHATCRYPT_QUERY_WORDS)
		return has_words(query, words);
	foreach(cell, query->parts)
	{
		bool		matches = chatcrypt_query_matches(lfirst(cell), words);

		if (query->kind == CHATCRYPT_QUERY_ANY)
			found = found || matches;
		else
			found = found && matches == (query->kind == CHATCRYPT_QUERY_ALL);
	}
	return found;
}
