/*
 * policyrequest.c
 *		Reads and checks a requested search policy: see policyrequest.h.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_ts_config.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "pg/compat.h"
#include "pg/search/policyrequest.h"
#include "pg/search/terms.h"

#define FEWEST_BITS		8
#define MOST_BITS		64

/* Arguments in SQL, after the chat or the tenant. */
enum
{
	ARG_MODE = 1,
	ARG_CONFIG,
	ARG_PREFIXES,
	ARG_TRIGRAMS,
	ARG_BITS,
	ARG_FEED
};

static void
refuse(const char *message)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("%s", message)));
}

static ChatcryptSearchMode
parse_mode(const char *word)
{
	for (ChatcryptSearchMode mode = CHATCRYPT_SEARCH_OFF; mode <= CHATCRYPT_SEARCH_PLAIN; mode++)
		if (strcmp(word, chatcrypt_policy_mode_text(mode)) == 0)
			return mode;
	refuse("the mode of search must be off, blind or plain");
	pg_unreachable();
}

static char *
config_name(Oid config)
{
	HeapTuple	tuple = SearchSysCache1(TSCONFIGOID, ObjectIdGetDatum(config));
	Form_pg_ts_config form;
	char	   *name;

	if (!HeapTupleIsValid(tuple))
		refuse("there is no such text search configuration");
	form = (Form_pg_ts_config) GETSTRUCT(tuple);
	if (isAnyTempNamespace(form->cfgnamespace))
		refuse("the text search configuration must not be temporary, "
			   "because the chat could not be written to once it is gone");
	name = quote_qualified_identifier(get_namespace_name(form->cfgnamespace),
									  NameStr(form->cfgname));
	ReleaseSysCache(tuple);
	return name;
}

static void
check(const ChatcryptSearchPolicy *policy)
{
	if (policy->prefixes < 0 || policy->prefixes > CHATCRYPT_LONGEST_PREFIX)
		refuse("prefixes must be the length of the shortest prefix, 1 to 16, or 0 for none");
	if (policy->bits < FEWEST_BITS || policy->bits > MOST_BITS)
		refuse("a search token must have 8 to 64 bits");
	if (policy->mode == CHATCRYPT_SEARCH_PLAIN && !policy->feed)
		refuse("plain search is done by an external search engine, and needs the feed");
}

void
chatcrypt_policyrequest_parse(FunctionCallInfo fcinfo, const char *function,
							  ChatcryptPolicyRequest *request)
{
	ChatcryptSearchPolicy *policy = &request->policy;

	for (int i = 0; i < ARG_FEED; i++)
		if (PG_ARGISNULL(i))
			refuse(psprintf("no argument of %s except feed may be null", function));
	memset(request, 0, sizeof(*request));
	policy->mode = parse_mode(text_to_cstring(PG_GETARG_TEXT_PP(ARG_MODE)));
	policy->config = PG_GETARG_OID(ARG_CONFIG);
	policy->prefixes = PG_GETARG_INT32(ARG_PREFIXES);
	policy->trigrams = PG_GETARG_BOOL(ARG_TRIGRAMS);
	policy->bits = PG_GETARG_INT32(ARG_BITS);
	policy->feed = PG_ARGISNULL(ARG_FEED) ? policy->mode == CHATCRYPT_SEARCH_PLAIN :
		PG_GETARG_BOOL(ARG_FEED);
	request->config = config_name(policy->config);
	check(policy);
}

char *
chatcrypt_policyrequest_text(const ChatcryptPolicyRequest *request)
{
	const ChatcryptSearchPolicy *policy = &request->policy;

	if (policy->mode == CHATCRYPT_SEARCH_OFF)
		return "search: off";
	return psprintf("search: %s, config %s, prefixes %d, trigrams %s, bits %d, feed %s",
					chatcrypt_policy_mode_text(policy->mode), request->config, policy->prefixes,
					policy->trigrams ? "true" : "false", policy->bits,
					policy->feed ? "true" : "false");
}
