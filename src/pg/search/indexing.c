/*
 * indexing.c
 *		Keeps the index and the feed in step with messages: see indexing.h.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "utils/rel.h"
#include "utils/uuid.h"

#include "pg/messages/messagetable.h"
#include "pg/search/feed.h"
#include "pg/search/indexing.h"
#include "pg/search/policy.h"
#include "pg/search/terms.h"
#include "pg/search/tokenrows.h"
#include "pg/store/observer.h"
#include "pg/store/owner.h"
#include "pg/store/store.h"

static void
write_blind(const ChatcryptSearchPolicy *policy, const uint8 *chat_id, const uint8 *message_id,
			TimestampTz created_at, const text *body)
{
	ChatcryptTerms terms;

	chatcrypt_terms_begin(&terms, chat_id, policy);
	chatcrypt_terms_of_body(&terms, body);
	chatcrypt_tokenrows_write(message_id, created_at, &terms);
	pfree(terms.terms);
}

void
chatcrypt_indexing_message_written(const uint8 chat_id[CC_ID_LEN],
								   const uint8 message_id[CC_ID_LEN], TimestampTz created_at,
								   const text *body)
{
	const ChatcryptSearchPolicy *policy;

	chatcrypt_feed_note(chat_id, message_id);
	policy = chatcrypt_policy_find(chat_id);
	if (likely(policy == NULL) || policy->mode != CHATCRYPT_SEARCH_BLIND)
		return;
	if (body != NULL)
		write_blind(policy, chat_id, message_id, created_at, body);
	else
		chatcrypt_tokenrows_remove(message_id);
}

static void
message_removed(const uint8 chat_id[CC_ID_LEN], const uint8 message_id[CC_ID_LEN])
{
	chatcrypt_feed_note(chat_id, message_id);
	if (chatcrypt_tokenrows_exist())
		chatcrypt_tokenrows_remove(message_id);
}

static void
chat_shredded(const uint8 chat_id[CC_ID_LEN])
{
	ChatcryptArg arg = {UUIDOID, PointerGetDatum(chat_id), false};

	chatcrypt_tokenrows_remove_chat(chat_id);
	chatcrypt_owner_execute("DELETE FROM chatcrypt.search_policy WHERE chat_id = $1", &arg, 1);
	chatcrypt_feed_again(chat_id);
}

static void
tenant_shredded(Datum tenant)
{
	ChatcryptArg arg = {TEXTOID, tenant, false};

	chatcrypt_tokenrows_remove_tenant(tenant);
	chatcrypt_owner_execute("DELETE FROM chatcrypt.search_policy p "
							"USING chatcrypt.chat c "
							"WHERE c.tenant = $1 AND p.chat_id = c.chat_id",
							&arg, 1);
	chatcrypt_feed_tenant_again(&arg);
}

static void
chat_deleted(const uint8 chat_id[CC_ID_LEN])
{
	chatcrypt_feed_again(chat_id);
}

void
chatcrypt_indexing_observe(void)
{
	static const ChatcryptObserver observer = {
		.message_written = chatcrypt_indexing_message_written,
		.message_touched = chatcrypt_feed_note,
		.message_removed = message_removed,
		.chat_deleted = chat_deleted,
		.chat_shredded = chat_shredded,
		.tenant_shredded = tenant_shredded
	};

	chatcrypt_observer_register(&observer);
}

/*
 * Does the trigger of this statement have anything to do?  The answer for the first row holds for
 * the others: all rows are deleted before the trigger is called for the first of them, so none
 * gets tokens after that.
 */
static bool
has_work(FmgrInfo *trigger)
{
	bool	   *known = trigger->fn_extra;

	if (known == NULL)
	{
		known = MemoryContextAlloc(trigger->fn_mcxt, sizeof(bool));
		*known = chatcrypt_tokenrows_exist() || chatcrypt_feed_is_on();
		trigger->fn_extra = known;
	}
	return *known;
}

static void
note_deleted(HeapTuple message, TupleDesc table)
{
	bool		isnull;
	Datum		message_id = heap_getattr(message, MESSAGE_ID + 1, table, &isnull);
	Datum		chat_id = heap_getattr(message, MESSAGE_CHAT_ID + 1, table, &isnull);

	chatcrypt_feed_note(DatumGetUUIDP(chat_id)->data, DatumGetUUIDP(message_id)->data);
	chatcrypt_tokenrows_remove(DatumGetUUIDP(message_id)->data);
}

static void
note_truncated(void)
{
	ChatcryptOwnerScope scope;

	chatcrypt_owner_begin(&scope);
	chatcrypt_tokenrows_remove_all();
	chatcrypt_owner_end(&scope);
}

PG_FUNCTION_INFO_V1(chatcrypt_message_removed);

/* The trigger of chatcrypt.sealed_message, ENABLE ALWAYS, after DELETE of a row and after TRUNCATE. */
Datum
chatcrypt_message_removed(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_AFTER(trigger->tg_event) ||
		(fcinfo->flinfo->fn_extra == NULL &&
		 RelationGetRelid(trigger->tg_relation) != chatcrypt_relations_find("sealed_message")))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("chatcrypt_internal.message_removed() must be called as the trigger of chatcrypt.sealed_message")));
	if (!TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
		note_truncated();
	else if (has_work(fcinfo->flinfo))
		note_deleted(trigger->tg_trigtuple, RelationGetDescr(trigger->tg_relation));
	PG_RETURN_POINTER(NULL);
}
