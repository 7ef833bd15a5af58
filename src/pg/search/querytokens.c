/*
 * querytokens.c
 *		search_tokens(): the tokens of the words of a query, to look for in an external
 *		index that the feed gives the tokens of a blind chat.
 *
 * Tokens have the same form as in the feed (feedbatch.c), and are made with the current policy
 * and key.  Nothing is read from the index of this database, so it need not be complete.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/uuid.h"

#include "pg/access/access.h"
#include "pg/compat.h"
#include "pg/search/indexcondition.h"
#include "pg/search/policy.h"

/* The same text as lpad(to_hex(token), 16, '0'), with which the feed writes tokens. */
static Datum
token_text(int64 term)
{
	return CStringGetTextDatum(psprintf("%016llx", (unsigned long long) term));
}

static ArrayType *
token_array(ChatcryptTerms *terms)
{
	Datum	   *tokens;

	chatcrypt_terms_sort(terms);
	tokens = palloc(sizeof(Datum) * Max(terms->count, 1));
	for (int i = 0; i < terms->count; i++)
		tokens[i] = token_text(terms->terms[i]);
	return construct_array(tokens, terms->count, TEXTOID, -1, false, TYPALIGN_INT);
}

PG_FUNCTION_INFO_V1(chatcrypt_search_tokens);

/* search_tokens(chat_id any_id, query text): text[] */
Datum
chatcrypt_search_tokens(PG_FUNCTION_ARGS)
{
	const uint8 *chat_id = PG_GETARG_UUID_P(0)->data;
	ChatcryptTerms terms;
	ChatcryptQuery *query;

	chatcrypt_access_require_for_plaintext(CHATCRYPT_MAY_READ);
	chatcrypt_access_require_participant(chat_id);
	chatcrypt_terms_begin(&terms, chat_id, chatcrypt_policy_require_blind(chat_id));
	query = chatcrypt_query_parse(terms.policy.config, text_to_cstring(PG_GETARG_TEXT_PP(1)));
	if (query != NULL)
		chatcrypt_indexcondition_terms(query, &terms);
	Assert(!terms.too_many);	/* the length of a query is limited */
	PG_RETURN_ARRAYTYPE_P(token_array(&terms));
}
