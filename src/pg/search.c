/*
 * search.c
 *		Where messages and what search keeps of them meet: see search.h.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "commands/trigger.h"
#include "utils/rel.h"
#include "utils/uuid.h"

#include "pg/messagetable.h"
#include "pg/search.h"
#include "pg/searchpolicy.h"

void
chatcrypt_search_written(const uint8 chat_id[CC_ID_LEN], const uint8 message_id[CC_ID_LEN],
						 TimestampTz created_at, const text *body)
{
	const ChatcryptSearchPolicy *policy = chatcrypt_search_policy(chat_id);

	(void) message_id;
	(void) created_at;
	(void) body;
	if (likely(policy == NULL))
		return;
}

void
chatcrypt_search_removed(const uint8 chat_id[CC_ID_LEN], const uint8 message_id[CC_ID_LEN])
{
	(void) chat_id;
	(void) message_id;
}

static void
remove_row(HeapTuple message, TupleDesc table)
{
	bool		isnull;
	Datum		message_id = heap_getattr(message, MESSAGE_ID + 1, table, &isnull);
	Datum		chat_id = heap_getattr(message, MESSAGE_CHAT_ID + 1, table, &isnull);

	chatcrypt_search_removed(DatumGetUUIDP(chat_id)->data, DatumGetUUIDP(message_id)->data);
}

PG_FUNCTION_INFO_V1(chatcrypt_message_removed);

/* Trigger on chatcrypt.message: after DELETE of a row, after TRUNCATE. */
Datum
chatcrypt_message_removed(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_AFTER(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("chatcrypt.message_removed() must be called as the trigger of chatcrypt.message")));
	if (TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
		remove_row(trigger->tg_trigtuple, RelationGetDescr(trigger->tg_relation));
	PG_RETURN_POINTER(NULL);
}
