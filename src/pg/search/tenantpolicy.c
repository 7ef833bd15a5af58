/*
 * tenantpolicy.c
 *		How new chats of a tenant are searched: see tenantpolicy.h.
 *
 * The policy of a new chat becomes visible together with the chat.  No transaction can have
 * written to the chat without knowing the policy, so its index is complete from the beginning.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "pg/access/access.h"
#include "pg/compat.h"
#include "pg/history/events.h"
#include "pg/keys/tenantkeys.h"
#include "pg/search/feed.h"
#include "pg/search/tenantpolicy.h"

pg_noreturn static void refuse_missing_config(const char *tenant, const char *config);

static void
refuse_missing_config(const char *tenant, const char *config)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("the text search configuration %s for new chats of tenant \"%s\" does not "
					"exist any more", config, tenant),
			 errdetail("No chat was created."),
			 errhint("Restore the configuration, or choose another with "
					 "chatcrypt.set_tenant_search().")));
}

/* Reads the row of the last statement.  Its text is copied into the memory context. */
static void
fill_request(ChatcryptPolicyRequest *request, MemoryContext context)
{
	ChatcryptSearchPolicy *policy = &request->policy;
	bool		isnull;
	text	   *config = DatumGetTextPP(chatcrypt_owner_column(0, 2, &isnull));

	policy->mode =
		strcmp(TextDatumGetCString(chatcrypt_owner_column(0, 1, &isnull)), "blind") == 0 ?
		CHATCRYPT_SEARCH_BLIND : CHATCRYPT_SEARCH_PLAIN;
	policy->config = chatcrypt_policy_config(config);
	request->config = MemoryContextStrdup(context, text_to_cstring(config));
	policy->prefixes = DatumGetInt32(chatcrypt_owner_column(0, 3, &isnull));
	policy->trigrams = DatumGetBool(chatcrypt_owner_column(0, 4, &isnull));
	policy->bits = DatumGetInt32(chatcrypt_owner_column(0, 5, &isnull));
	policy->feed = DatumGetBool(chatcrypt_owner_column(0, 6, &isnull));
}

void
chatcrypt_tenantpolicy_read(const char *tenant, ChatcryptPolicyRequest *request)
{
	MemoryContext context = CurrentMemoryContext;
	ChatcryptArg arg = {TEXTOID, CStringGetTextDatum(tenant), false};
	ChatcryptOwnerScope scope;

	memset(request, 0, sizeof(*request));
	chatcrypt_owner_begin(&scope);
	if (chatcrypt_owner_execute("SELECT search_mode, search_config, search_prefixes, "
								"search_trigrams, search_bits, search_feed "
								"FROM chatcrypt.tenant "
								"WHERE tenant = $1 AND search_mode IS NOT NULL",
								&arg, 1) > 0)
		fill_request(request, context);
	chatcrypt_owner_end(&scope);
	if (request->policy.mode != CHATCRYPT_SEARCH_OFF && !OidIsValid(request->policy.config))
		refuse_missing_config(tenant, request->config);
}

/*
 * The index is complete unless somebody stored messages in the table before there was a chat.
 * LIMIT makes the planner look for messages of each chat, instead of reading all messages.
 */
#define INSERT_POLICIES \
	"INSERT INTO chatcrypt.search_policy " \
	"(chat_id, mode, config, prefixes, trigrams, bits, feed, complete) " \
	"SELECT id, $2, $3, $4, $5, $6, $7, " \
	"$2 <> 'blind' " \
	"OR (SELECT true FROM chatcrypt.sealed_message m WHERE m.chat_id = id LIMIT 1) IS NULL " \
	"FROM unnest($1) AS id"

void
chatcrypt_tenantpolicy_apply(const ChatcryptOwnerScope *scope, ArrayType *chats,
							 const ChatcryptPolicyRequest *request)
{
	const ChatcryptSearchPolicy *policy = &request->policy;
	ChatcryptArg args[] = {
		{UUIDARRAYOID, PointerGetDatum(chats), false},
		{TEXTOID, CStringGetTextDatum(chatcrypt_policy_mode_text(policy->mode)), false},
		{TEXTOID, CStringGetTextDatum(request->config), false},
		{INT4OID, Int32GetDatum(policy->prefixes), false},
		{BOOLOID, BoolGetDatum(policy->trigrams), false},
		{INT4OID, Int32GetDatum(policy->bits), false},
		{BOOLOID, BoolGetDatum(policy->feed), false}
	};
	ChatcryptEvent event = {.event = "policy", .detail = chatcrypt_policyrequest_text(request)};

	chatcrypt_owner_execute(INSERT_POLICIES, args, lengthof(args));
	if (policy->feed)
		chatcrypt_feed_begin(PointerGetDatum(chats));
	chatcrypt_event_record_chats(scope, PointerGetDatum(chats), &event);
}

/* Inside an owner scope. */
static void
write_default(const char *tenant, const ChatcryptPolicyRequest *request)
{
	const ChatcryptSearchPolicy *policy = &request->policy;
	bool		off = policy->mode == CHATCRYPT_SEARCH_OFF;
	ChatcryptArg args[] = {
		{TEXTOID, CStringGetTextDatum(tenant), false},
		{TEXTOID, CStringGetTextDatum(chatcrypt_policy_mode_text(policy->mode)), off},
		{TEXTOID, CStringGetTextDatum(request->config), off},
		{INT4OID, Int32GetDatum(policy->prefixes), off},
		{BOOLOID, BoolGetDatum(policy->trigrams), off},
		{INT4OID, Int32GetDatum(policy->bits), off},
		{BOOLOID, BoolGetDatum(policy->feed), off}
	};

	chatcrypt_tenantkey_make_default(tenant);
	if (chatcrypt_owner_execute("UPDATE chatcrypt.tenant "
								"SET search_mode = $2, search_config = $3, search_prefixes = $4, "
								"search_trigrams = $5, search_bits = $6, search_feed = $7, "
								"updated_at = now() "
								"WHERE tenant = $1",
								args, lengthof(args)) == 0)
		chatcrypt_no_such_tenant(tenant);
}

PG_FUNCTION_INFO_V1(chatcrypt_set_tenant_search);

/*
 * set_tenant_search(tenant text, mode text, config, prefixes, trigrams, bits, feed).  A trigger
 * on chatcrypt.tenant writes the change into the history.
 */
Datum
chatcrypt_set_tenant_search(PG_FUNCTION_ARGS)
{
	ChatcryptPolicyRequest request;
	ChatcryptOwnerScope scope;

	chatcrypt_rights_require(CHATCRYPT_MAY_ADMINISTER);
	PreventCommandIfReadOnly("chatcrypt.set_tenant_search()");
	chatcrypt_policyrequest_parse(fcinfo, "set_tenant_search()", &request);
	chatcrypt_owner_begin(&scope);
	write_default(text_to_cstring(PG_GETARG_TEXT_PP(0)), &request);
	chatcrypt_owner_end(&scope);
	PG_RETURN_VOID();
}
