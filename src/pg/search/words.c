/*
 * words.c
 *		The words of a text: see words.h.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "core/bytes.h"
#include "pg/search/words.h"

#define BYTES_PER_WORD	6		/* an estimate, for the size of the first array */

/*
 * Only this much of a message is searched.  Parsing cannot be interrupted, takes a second or two
 * for so many bytes, and needs ten times their memory.  Each search of the chat may repeat it.
 */
#define LONGEST_TEXT	(4 * 1024 * 1024)

void
chatcrypt_words_parse(Oid config, const char *plain, Size len, ParsedText *words)
{
	if (!OidIsValid(config))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("the text search configuration of this chat's search does not exist any more"),
				 errhint("Choose another with chatcrypt.set_search().")));
	if (len > LONGEST_TEXT)
		len = pg_mbcliplen(plain, (int) len, LONGEST_TEXT);
	words->lenwords = (int32) Max(len / BYTES_PER_WORD, 2);
	words->curwords = 0;
	words->pos = 0;
	words->words = palloc(sizeof(ParsedWord) * words->lenwords);
	parsetext(config, words, unconstify(char *, plain), (int32) len);
}

void
chatcrypt_words_wipe(ParsedText *words)
{
	for (int i = 0; i < words->curwords; i++)
	{
		cc_wipe(words->words[i].word, words->words[i].len);
		pfree(words->words[i].word);
	}
	pfree(words->words);
	words->words = NULL;
	words->curwords = 0;
}
