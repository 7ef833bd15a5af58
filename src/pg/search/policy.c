/*
 * policy.c
 *		How a chat is searched: see policy.h.
 *
 * Every message that is written asks for the policy of its chat, and most chats have none.  The
 * session therefore remembers also that a chat has no policy, and that the whole table is empty.
 * A session that writes to many chats of a database without search looks nothing up for them.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_ts_config.h"
#include "nodes/value.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/varlena.h"

#include "pg/base/errors.h"
#include "pg/base/ids.h"
#include "pg/keys/chatkeys.h"
#include "pg/search/policy.h"
#include "pg/store/chatmemory.h"
#include "pg/store/store.h"

/* Column numbers of sql/46_search.sql; new columns go to the end. */
enum
{
	POLICY_CHAT_ID = 1,
	POLICY_MODE,
	POLICY_CONFIG,
	POLICY_PREFIXES,
	POLICY_TRIGRAMS,
	POLICY_BITS,
	POLICY_FEED,
	POLICY_GENERATION,
	POLICY_COMPLETE,
	POLICY_UPDATED_AT,
	POLICY_BEGAN_EMPTY
};

static bool read_policy(const uint8 *chat_id, void *value);

static ChatcryptMemory policies = {
	.tables = {"search_policy"}, .value_size = sizeof(ChatcryptSearchPolicy), .read = read_policy
};

/* The generation of the memory in which the table was empty; 0 for none. */
static uint64 empty_at;

const char *
chatcrypt_policy_mode_text(ChatcryptSearchMode mode)
{
	switch (mode)
	{
		case CHATCRYPT_SEARCH_OFF:
			return "off";
		case CHATCRYPT_SEARCH_BLIND:
			return "blind";
		case CHATCRYPT_SEARCH_PLAIN:
			return "plain";
	}
	pg_unreachable();
}

static void
forget_configs(Datum arg, int cacheid, uint32 hashvalue)
{
	(void) arg;
	(void) cacheid;
	(void) hashvalue;
	chatcrypt_chatmemory_forget(&policies);
}

static void
watch_configs_once(void)
{
	static bool watching = false;

	if (watching)
		return;
	CacheRegisterSyscacheCallback(TSCONFIGOID, forget_configs, (Datum) 0);
	CacheRegisterSyscacheCallback(NAMESPACEOID, forget_configs, (Datum) 0);
	watching = true;
}

Oid
chatcrypt_policy_config(text *qualified_name)
{
	List	   *names = textToQualifiedNameList(qualified_name);

	if (list_length(names) != 2)
		return InvalidOid;
	return GetSysCacheOid2(TSCONFIGNAMENSP, Anum_pg_ts_config_oid,
						   CStringGetDatum(strVal(lsecond(names))),
						   ObjectIdGetDatum(get_namespace_oid(strVal(linitial(names)), true)));
}

static void
fill_policy(ChatcryptSearchPolicy *policy, HeapTuple row, TupleDesc desc)
{
	bool		isnull;

	policy->mode = strcmp(TextDatumGetCString(heap_getattr(row, POLICY_MODE, desc, &isnull)),
						  "blind") == 0 ?
		CHATCRYPT_SEARCH_BLIND : CHATCRYPT_SEARCH_PLAIN;
	policy->config =
		chatcrypt_policy_config(DatumGetTextPP(heap_getattr(row, POLICY_CONFIG, desc, &isnull)));
	policy->prefixes = DatumGetInt32(heap_getattr(row, POLICY_PREFIXES, desc, &isnull));
	policy->trigrams = DatumGetBool(heap_getattr(row, POLICY_TRIGRAMS, desc, &isnull));
	policy->bits = DatumGetInt32(heap_getattr(row, POLICY_BITS, desc, &isnull));
	policy->feed = DatumGetBool(heap_getattr(row, POLICY_FEED, desc, &isnull));
	policy->generation = DatumGetInt64(heap_getattr(row, POLICY_GENERATION, desc, &isnull));
	policy->complete = DatumGetBool(heap_getattr(row, POLICY_COMPLETE, desc, &isnull));
	policy->began_empty = DatumGetBool(heap_getattr(row, POLICY_BEGAN_EMPTY, desc, &isnull));
}

static bool
read_policy(const uint8 *chat_id, void *value)
{
	ChatcryptSearchPolicy *policy = value;
	uint64		now = policies.generation.now;
	TupleDesc	desc;
	HeapTuple	row;

	policy->mode = CHATCRYPT_SEARCH_OFF;
	watch_configs_once();
	if (empty_at == now)
		return true;
	row = chatcrypt_store_find_row("search_policy", "search_policy_pkey", InvalidOid, F_UUID_EQ,
								   PointerGetDatum(chat_id), &desc);
	if (row != NULL)
		fill_policy(policy, row, desc);
	else if (chatcrypt_store_has_no_rows("search_policy"))
		empty_at = now;
	return true;
}

const ChatcryptSearchPolicy *
chatcrypt_policy_find(const uint8 chat_id[CC_ID_LEN])
{
	const ChatcryptSearchPolicy *policy = chatcrypt_chatmemory_remember(&policies, chat_id);

	return policy->mode == CHATCRYPT_SEARCH_OFF ? NULL : policy;
}

const ChatcryptSearchPolicy *
chatcrypt_policy_require_blind(const uint8 chat_id[CC_ID_LEN])
{
	const ChatcryptSearchPolicy *policy = chatcrypt_policy_find(chat_id);
	ChatcryptMode mode;

	if (policy != NULL && policy->mode == CHATCRYPT_SEARCH_BLIND)
		return policy;
	if (policy == NULL && !chatcrypt_store_chat_mode(chat_id, &mode))
		chatcrypt_no_such_chat(chat_id);
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 policy == NULL ?
			 errmsg("search of chat %s is off", chatcrypt_id_text(chat_id)) :
			 errmsg("chat %s is searched by an external search engine, and has no index here",
					chatcrypt_id_text(chat_id)),
			 errhint("Choose how the chat is searched with chatcrypt.set_search().")));
}
