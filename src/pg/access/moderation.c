/*
 * moderation.c
 *		In whose name an actor writes, and whose messages and files it may change: see
 *		moderation.h.
 *
 * Row-level security calls may_change() for every UPDATE and DELETE.  The functions that
 * write check here as well, because policies do not apply to superusers, and because an
 * error says more than a row that is passed over.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/uuid.h"

#include "pg/access/access.h"
#include "pg/access/actor.h"
#include "pg/access/moderation.h"
#include "pg/store/chatmemory.h"
#include "pg/store/store.h"

static bool read_moderation(const uint8 *chat_id, void *value);

/* For each chat, whether participants may change what others sent. */
static ChatcryptMemory moderated = {
	.tables = {"chat"}, .value_size = sizeof(bool), .read = read_moderation
};

static bool
read_moderation(const uint8 *chat_id, void *value)
{
	TupleDesc	desc;
	HeapTuple	row = chatcrypt_store_find_row("chat", "chat_pkey", InvalidOid, F_UUID_EQ,
											   PointerGetDatum(chat_id), &desc);
	Datum		policy;
	bool		isnull;

	if (row == NULL)
		return false;
	policy = heap_getattr(row, SPI_fnumber(desc, "moderation"), desc, &isnull);
	*(bool *) value = !isnull && strcmp(TextDatumGetCString(policy), "participants") == 0;
	return true;
}

static bool
participants_moderate(const uint8 *chat_id)
{
	const bool *known = chatcrypt_chatmemory_remember(&moderated, chat_id);

	return known != NULL && *known;
}

const text *
chatcrypt_moderation_sender(const text *given)
{
	if (chatcrypt_actor() == NULL)
		return given;
	if (given != NULL && !chatcrypt_actor_is(given))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("the sender is not the current actor"),
				 errhint("Leave the sender out: it is the actor that chatcrypt.act_as() named.")));
	return cstring_to_text(chatcrypt_actor());
}

bool
chatcrypt_moderation_may_change(const uint8 chat_id[CC_ID_LEN], const text *sender)
{
	if (!chatcrypt_access_actor_may_see(chat_id))
		return false;
	return chatcrypt_actor() == NULL || (sender != NULL && chatcrypt_actor_is(sender)) ||
		participants_moderate(chat_id);
}

void
chatcrypt_moderation_require_own(const char *what, const uint8 chat_id[CC_ID_LEN],
								 const text *sender)
{
	if (chatcrypt_moderation_may_change(chat_id, sender))
		return;
	chatcrypt_access_require_participant(chat_id);
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("the %s is not the current actor's", what),
			 errdetail("In this chat, only the sender of a message or file may change or delete it."),
			 errhint("An administrator can set moderation of the chat to \"participants\".")));
}

void
chatcrypt_moderation_require_may_remove(const uint8 chat_id[CC_ID_LEN], const text *participant)
{
	if (chatcrypt_actor() == NULL || chatcrypt_actor_is(participant) ||
		chatcrypt_rights_has(CHATCRYPT_MAY_ADMINISTER) || participants_moderate(chat_id))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("the current actor may not remove somebody else from this chat"),
			 errhint("An administrator can, or can set moderation of the chat to \"participants\".")));
}

PG_FUNCTION_INFO_V1(chatcrypt_may_change);

/* may_change(chat uuid, sender text): called by the row-level security of messages. */
Datum
chatcrypt_may_change(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	PG_RETURN_BOOL(chatcrypt_moderation_may_change(PG_GETARG_UUID_P(0)->data,
												   PG_ARGISNULL(1) ? NULL : PG_GETARG_TEXT_PP(1)));
}
