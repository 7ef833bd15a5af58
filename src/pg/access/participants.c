/*
 * participants.c
 *		create_tenant, add_participant and remove_participant.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/uuid.h"

#include "pg/access/access.h"
#include "pg/base/ids.h"
#include "pg/base/owner.h"
#include "pg/events/events.h"
#include "pg/keys/keys.h"
#include "pg/keys/tenants.h"

PG_FUNCTION_INFO_V1(chatcrypt_create_tenant);

/* create_tenant(tenant text, kms_key text) */
Datum
chatcrypt_create_tenant(PG_FUNCTION_ARGS)
{
	ChatcryptArg args[] = {
		{TEXTOID, PG_GETARG_DATUM(0), PG_ARGISNULL(0)},
		{TEXTOID, PG_GETARG_DATUM(1), PG_ARGISNULL(1)}
	};
	ChatcryptOwnerScope scope;

	chatcrypt_require(CHATCRYPT_MAY_ADMINISTER);
	if (!PG_ARGISNULL(1))
		chatcrypt_check_key_uri(text_to_cstring(PG_GETARG_TEXT_PP(1)));
	chatcrypt_owner_begin(&scope);
	chatcrypt_owner_execute("INSERT INTO chatcrypt.tenant (tenant, kms_key) VALUES ($1, $2)", args,
							lengthof(args));
	chatcrypt_owner_end(&scope);
	PG_RETURN_VOID();
}

/* An actor that is set may change the chats that it takes part in, and no others. */
static void
check_caller(const uint8 *chat_id)
{
	ChatcryptMode mode;

	chatcrypt_require(CHATCRYPT_MAY_WRITE);
	if (!chatcrypt_store_chat_mode(chat_id, &mode))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("chat %s does not exist", chatcrypt_id_text(chat_id))));
	chatcrypt_require_participant(chat_id);
}

static bool
change_participants(const char *verb, const char *sql, const uint8 *chat_id, Datum participant)
{
	ChatcryptArg args[] = {
		{UUIDOID, PointerGetDatum(chat_id), false},
		{TEXTOID, participant, false}
	};
	ChatcryptEvent event = {.event = "participant", .chat_id = chat_id};
	ChatcryptOwnerScope scope;
	uint64		changed;

	check_caller(chat_id);
	chatcrypt_owner_begin(&scope);
	changed = chatcrypt_owner_execute(sql, args, lengthof(args));
	event.detail = psprintf("%s %s", TextDatumGetCString(participant), verb);
	if (changed > 0)
		chatcrypt_event_record(&scope, &event);
	chatcrypt_owner_end(&scope);
	return changed > 0;
}

static bool
add(const uint8 *chat_id, Datum participant)
{
	return change_participants("added",
							   "UPDATE chatcrypt.chat SET participants = "
							   "array_append(participants, $2), "
							   "updated_at = now() WHERE chat_id = $1 AND $2 <> ALL (participants)",
							   chat_id, participant);
}

static bool
rotates_on_removal(const uint8 *chat_id)
{
	ChatcryptArg arg = {UUIDOID, PointerGetDatum(chat_id), false};
	ChatcryptOwnerScope scope;
	bool		isnull;
	bool		rotates;

	chatcrypt_owner_begin(&scope);
	chatcrypt_owner_execute("SELECT coalesce(c.rotate_on_removal, t.rotate_on_removal) "
							"AND c.mode <> 'e2ee' "
							"FROM chatcrypt.chat c JOIN chatcrypt.tenant t USING (tenant) "
							"WHERE c.chat_id = $1", &arg, 1);
	rotates = DatumGetBool(chatcrypt_owner_value(&isnull));
	chatcrypt_owner_end(&scope);
	return !isnull && rotates;
}

/*
 * Rotates first: the KMS is asked before the chat's row is locked by the removal.
 * A chat that was shredded has nothing to rotate, and loses its participants all the
 * same.
 */
static bool
remove_one(const uint8 *chat_id, Datum participant)
{
	char	   *name = TextDatumGetCString(participant);
	bool		exists;

	check_caller(chat_id);
	if (!chatcrypt_store_is_participant(chat_id, name, &exists))
		return false;
	if (rotates_on_removal(chat_id) && chatcrypt_has_sealing_key(chat_id))
		chatcrypt_rotate(chat_id);
	return change_participants("removed",
							   "UPDATE chatcrypt.chat SET participants = "
							   "array_remove(participants, $2), "
							   "updated_at = now() WHERE chat_id = $1 AND $2 = ANY (participants)",
							   chat_id, participant);
}

PG_FUNCTION_INFO_V1(chatcrypt_add_participant);

Datum
chatcrypt_add_participant(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(add(PG_GETARG_UUID_P(0)->data, PG_GETARG_DATUM(1)));
}

PG_FUNCTION_INFO_V1(chatcrypt_remove_participant);

Datum
chatcrypt_remove_participant(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(remove_one(PG_GETARG_UUID_P(0)->data, PG_GETARG_DATUM(1)));
}
