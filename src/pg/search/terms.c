/*
 * terms.c
 *		Makes terms of words: see terms.h.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "port/pg_bswap.h"

#include "pg/base/errors.h"
#include "pg/compat.h"
#include "pg/keys/keyaccess.h"
#include "pg/search/terms.h"
#include "pg/search/words.h"

/*
 * A message with more terms gets the mark of its chat instead of them, and is a candidate of every
 * search in its chat.  Otherwise one message could take as much room in the index as thousands.
 */
#define MOST_TERMS		10000
#define FIRST_ROOM		64
#define MOST_ROOM		(FIRST_ROOM << 9)	/* more than twice MOST_TERMS, for duplicates */

/* A lexeme in UTF-8, whatever the encoding of the server. */
typedef struct Utf8
{
	char	   *bytes;
	Size		len;
	bool		is_copy;
} Utf8;

/* Under SQL_ASCII the bytes are taken as they are, because they may be in any encoding. */
static Utf8
to_utf8(const char *lexeme, Size len)
{
	Utf8		word = {unconstify(char *, lexeme), len, false};

	if (GetDatabaseEncoding() == PG_SQL_ASCII)
		return word;
	word.bytes = pg_server_to_any(lexeme, (int) len, PG_UTF8);
	word.is_copy = word.bytes != lexeme;
	if (word.is_copy)
		word.len = strlen(word.bytes);
	return word;
}

static void
wipe_utf8(Utf8 *word)
{
	if (!word->is_copy)
		return;
	cc_wipe(word->bytes, word->len);
	pfree(word->bytes);
}

/* The length in bytes of the first *chars characters.  If there are fewer, *chars becomes less. */
static Size
first_chars(const char *bytes, Size len, int *chars)
{
	Size		at = 0;
	int			seen = 0;

	while (at < len && seen < *chars)
	{
		at += Min((Size) pg_utf_mblen((const unsigned char *) bytes + at), len - at);
		seen++;
	}
	*chars = seen;
	return at;
}

/* The finalizer of a 64-bit hash: every bit of the input affects every bit of the result. */
static uint64
mix(uint64 value)
{
	value = (value ^ (value >> 30)) * UINT64CONST(0xbf58476d1ce4e5b9);
	value = (value ^ (value >> 27)) * UINT64CONST(0x94d049bb133111eb);
	return value ^ (value >> 31);
}

static uint64
load_be64(const uint8 *bytes)
{
	uint64		number;

	memcpy(&number, bytes, sizeof(number));
	return pg_ntoh64(number);
}

/* The hash is stored in tables, so it must be the same on every machine. */
static uint64
hash_chat(const uint8 *chat_id)
{
	return mix(mix(load_be64(chat_id)) + load_be64(chat_id + 8));
}

void
chatcrypt_terms_begin(ChatcryptTerms *terms, const uint8 chat_id[CC_ID_LEN],
					  const ChatcryptSearchPolicy *policy)
{
	memset(terms, 0, sizeof(*terms));
	memcpy(terms->chat_id, chat_id, CC_ID_LEN);
	terms->policy = *policy;
	terms->mark = (int64) hash_chat(chat_id);
	terms->room = FIRST_ROOM;
	terms->terms = palloc(sizeof(int64) * terms->room);
}

static int
compare_terms(const void *a, const void *b)
{
	int64		x = *(const int64 *) a;
	int64		y = *(const int64 *) b;

	return x < y ? -1 : x > y;
}

void
chatcrypt_terms_sort(ChatcryptTerms *terms)
{
	int			kept = 0;

	qsort(terms->terms, terms->count, sizeof(int64), compare_terms);
	for (int i = 0; i < terms->count; i++)
		if (i == 0 || terms->terms[i] != terms->terms[kept - 1])
			terms->terms[kept++] = terms->terms[i];
	terms->count = kept;
}

static void
make_room(ChatcryptTerms *terms)
{
	if (terms->count < terms->room)
		return;
	if (terms->room < MOST_ROOM)
	{
		terms->room *= 2;
		terms->terms = repalloc(terms->terms, sizeof(int64) * terms->room);
		return;
	}
	chatcrypt_terms_sort(terms);
	if (terms->count <= MOST_TERMS)
		return;
	terms->too_many = true;
	terms->count = 0;
}

static void
add_term(ChatcryptTerms *terms, cc_blind_kind kind, const char *utf8, Size len)
{
	uint8		token[CC_BLIND_LEN];
	cc_status	status;

	make_room(terms);
	status = cc_blind_token(&chatcrypt_keyaccess_active(terms->chat_id,
														CHATCRYPT_FOR_SEARCH)->secret.search,
							kind, utf8, len, terms->policy.bits, token);
	if (status != CC_OK)
		chatcrypt_raise(status, terms->chat_id);
	terms->terms[terms->count++] = (int64) (load_be64(token) ^ (uint64) terms->mark);
}

bool
chatcrypt_terms_word(ChatcryptTerms *terms, const char *lexeme, Size len)
{
	Utf8		word = to_utf8(lexeme, len);
	bool		fits = word.len <= CC_BLIND_TOKEN_MAX;

	if (fits)
		add_term(terms, CC_BLIND_WORD, word.bytes, word.len);
	wipe_utf8(&word);
	return fits;
}

bool
chatcrypt_terms_prefix(ChatcryptTerms *terms, const char *prefix, Size len, bool *exact)
{
	Utf8		word = to_utf8(prefix, len);
	int			chars = CHATCRYPT_LONGEST_PREFIX;
	Size		head = first_chars(word.bytes, word.len, &chars);
	bool		tells = terms->policy.prefixes > 0 && chars >= terms->policy.prefixes;

	*exact = head == word.len;
	if (tells)
		add_term(terms, CC_BLIND_PREFIX, word.bytes, head);
	wipe_utf8(&word);
	return tells;
}

static bool
add_trigrams(ChatcryptTerms *terms, const Utf8 *word)
{
	bool		any = false;

	for (Size at = 0; at < word->len;)
	{
		int			chars = CHATCRYPT_TRIGRAM;
		Size		len = first_chars(word->bytes + at, word->len - at, &chars);

		if (chars < CHATCRYPT_TRIGRAM)
			break;
		add_term(terms, CC_BLIND_TRIGRAM, word->bytes + at, len);
		any = true;
		at += Min((Size) pg_utf_mblen((unsigned char *) word->bytes + at), word->len - at);
	}
	return any;
}

bool
chatcrypt_terms_part(ChatcryptTerms *terms, const char *part, Size len)
{
	Utf8		word = to_utf8(part, len);
	bool		tells = terms->policy.trigrams && add_trigrams(terms, &word);

	wipe_utf8(&word);
	return tells;
}

static void
add_prefixes(ChatcryptTerms *terms, const Utf8 *word)
{
	for (int wanted = terms->policy.prefixes; wanted <= CHATCRYPT_LONGEST_PREFIX; wanted++)
	{
		int			chars = wanted;
		Size		len = first_chars(word->bytes, word->len, &chars);

		if (chars < wanted)
			return;
		add_term(terms, CC_BLIND_PREFIX, word->bytes, len);
	}
}

static void
add_lexeme(ChatcryptTerms *terms, const ParsedWord *lexeme)
{
	Utf8		word = to_utf8(lexeme->word, lexeme->len);

	if (word.len <= CC_BLIND_TOKEN_MAX)
		add_term(terms, CC_BLIND_WORD, word.bytes, word.len);
	if (terms->policy.prefixes > 0)
		add_prefixes(terms, &word);
	if (terms->policy.trigrams)
		(void) add_trigrams(terms, &word);
	wipe_utf8(&word);
}

void
chatcrypt_terms_of_body(ChatcryptTerms *terms, const text *body)
{
	ParsedText	words;

	chatcrypt_words_parse(terms->policy.config, VARDATA_ANY(body), VARSIZE_ANY_EXHDR(body), &words);
	PG_TRY();
	{
		for (int i = 0; i < words.curwords && !terms->too_many; i++)
			add_lexeme(terms, &words.words[i]);
	}
	PG_FINALLY();
	{
		chatcrypt_words_wipe(&words);
	}
	PG_END_TRY();
	chatcrypt_terms_sort(terms);
	if (!terms->too_many && terms->count <= MOST_TERMS)
		return;
	terms->count = 1;
	terms->terms[0] = terms->mark;
}
