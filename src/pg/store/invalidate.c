/*
 * invalidate.c
 *		The trigger that makes every session forget what it remembers of our tables.
 *
 * Sessions remember rows of dek, chat, participant and other tables (keyring.c,
 * chatmemory.c).  The trigger requests relation-cache invalidation, which PostgreSQL delivers
 * at commit, in this cluster and by WAL on its standbys.  The trigger fires before the UPDATE
 * or DELETE of a row, and after TRUNCATE.  It is a row trigger, because the apply worker of
 * logical replication fires no statement triggers; it fires before the change, so that no
 * event has to be queued; and it is ENABLE ALWAYS, because the apply worker does not fire
 * ordinary triggers.
 *
 * An inserted row needs no invalidation if no session remembers that the row was absent.
 * Sessions do remember that an actor takes no part in a chat, so the trigger on participant
 * fires on INSERT too.  On that table it invalidates the view chats instead of the table
 * itself: no plan of ours uses that view, so that one plan serves 10,000 participants who are
 * added one after the other.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "utils/datum.h"
#include "utils/inval.h"
#include "utils/rel.h"
#include "utils/uuid.h"

#include "pg/store/store.h"

/* Column numbers of sql/20_tables.sql. */
#define CHAT_MODE			3
#define PARTICIPANT_CHAT_ID	2

static bool
is_on(const TriggerData *trigger, const char *table)
{
	return RelationGetRelid(trigger->tg_relation) == chatcrypt_relations_find(table);
}

/* Does this UPDATE of a chat change how it is encrypted, and so which key seals? */
static bool
changes_mode(const TriggerData *trigger)
{
	TupleDesc	desc = RelationGetDescr(trigger->tg_relation);
	bool		isnull;

	if (!TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) || !is_on(trigger, "chat"))
		return false;
	return !datum_image_eq(heap_getattr(trigger->tg_trigtuple, CHAT_MODE, desc, &isnull),
						   heap_getattr(trigger->tg_newtuple, CHAT_MODE, desc, &isnull), false, -1);
}

/*
 * Is this an INSERT of a participant whose absence no session can remember?  Creating a chat
 * then makes the other sessions forget nothing.
 */
static bool
joins_new_chat(const TriggerData *trigger)
{
	bool		isnull;
	bool		exists;
	Datum		chat_id;

	if (!TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		return false;
	chat_id = heap_getattr(trigger->tg_trigtuple, PARTICIPANT_CHAT_ID,
						   RelationGetDescr(trigger->tg_relation), &isnull);
	return !isnull && chatcrypt_store_chat_is_new(DatumGetUUIDP(chat_id)->data, &exists);
}

PG_FUNCTION_INFO_V1(chatcrypt_invalidate);

Datum
chatcrypt_invalidate(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("chatcrypt_internal.invalidate() must be called as a trigger")));
	if (!is_on(trigger, "participant"))
		CacheInvalidateRelcache(trigger->tg_relation);
	else if (!joins_new_chat(trigger))
		CacheInvalidateRelcacheByRelid(chatcrypt_relations_find("chats"));
	if (changes_mode(trigger))
		CacheInvalidateRelcacheByRelid(chatcrypt_relations_find("dek"));
	if (TRIGGER_FIRED_FOR_STATEMENT(trigger->tg_event))
		PG_RETURN_POINTER(NULL);
	PG_RETURN_POINTER(TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ? trigger->tg_newtuple :
					  trigger->tg_trigtuple);
}
