/*
 * mychats.c
 *		my_chats(): lists the chats of the current actor, as an application shows them.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "pg/access/access.h"
#include "pg/store/owner.h"

/* The messages that the view messages shows. */
#define MESSAGES \
	"FROM chatcrypt.sealed_message m " \
	"WHERE m.chat_id = c.chat_id " \
	"AND (m.expires_at IS NULL OR m.expires_at > now()) "

/* $1 is the actor; messages are counted since $2. */
#define CHATS_OF_ACTOR \
	"SELECT c.chat_id, " \
	"ARRAY(SELECT o.participant " \
	"FROM chatcrypt.participant o " \
	"WHERE o.chat_id = c.chat_id " \
	"ORDER BY o.participant), " \
	"c.mode, coalesce(c.retention, t.retention), " \
	"coalesce(c.attachment_quota, t.attachment_quota), c.created_at, " \
	"(SELECT m.created_at " MESSAGES "ORDER BY m.created_at DESC LIMIT 1) AS last_message_at, " \
	"(SELECT count(*) " MESSAGES "AND m.created_at > $2) " \
	"FROM chatcrypt.participant p " \
	"JOIN chatcrypt.chat c USING (chat_id) " \
	"JOIN chatcrypt.tenant t USING (tenant) " \
	"WHERE p.participant = $1 " \
	"ORDER BY last_message_at DESC NULLS LAST, c.chat_id"

static void
require_actor(void)
{
	chatcrypt_rights_require_reader_or_writer();
	chatcrypt_actor_require();
	if (chatcrypt_actor() == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("my_chats() gives the chats of the current actor, and there is none"),
				 errhint("Call chatcrypt.act_as() first, in the same transaction.")));
}

PG_FUNCTION_INFO_V1(chatcrypt_my_chats);

/* my_chats(since timestamptz): a row for each chat of the current actor */
Datum
chatcrypt_my_chats(PG_FUNCTION_ARGS)
{
	TimestampTz since = PG_ARGISNULL(0) ? DT_NOBEGIN : PG_GETARG_TIMESTAMPTZ(0);
	ChatcryptArg args[] = {
		{TEXTOID, (Datum) 0, false},
		{TIMESTAMPTZOID, TimestampTzGetDatum(since), false}
	};

	require_actor();
	args[0].value = CStringGetTextDatum(chatcrypt_actor());
	chatcrypt_owner_return_rows(fcinfo, CHATS_OF_ACTOR, args, lengthof(args));
	return (Datum) 0;
}
