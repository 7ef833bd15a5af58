/*
 * shred.c
 *		Destroys the keys of a chat or of a tenant, and has every cache forget them.
 *		docs/erasure.md says what that erases, and what it does not.
 *
 * The wrapped keys are set to NULL in the rows, which stay.  Once that is committed, no session
 * opens anything with them: the ring of a session reads the row again (keyring.c), and nothing in
 * the shared cache matches the row.  What the shared cache still holds is wiped at commit.
 *
 * Files are deleted as well: the number of bytes that are stored for a file tells its size,
 * even without a key.  For the locks see attachmentstore.h.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/uuid.h"

#include "pg/access/access.h"
#include "pg/base/ids.h"
#include "pg/cache/eviction.h"
#include "pg/history/events.h"
#include "pg/keys/dekrows.h"
#include "pg/keys/chatkeys.h"
#include "pg/keys/shred.h"
#include "pg/store/observer.h"

bool
chatcrypt_shred_is_confirmed(FunctionCallInfo fcinfo)
{
	return !PG_ARGISNULL(1) && strcmp(text_to_cstring(PG_GETARG_TEXT_PP(1)), "irreversible") == 0;
}

static void
require_confirmation(bool confirmed, const char *what)
{
	if (confirmed)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("shredding a %s cannot be undone and was not confirmed", what),
			 errhint("Call chatcrypt.shred_%s(%s, confirm => 'irreversible').", what, what)));
}

int
chatcrypt_shred_keys(const uint8 chat_id[CC_ID_LEN], bool with_files, const char *because)
{
	ChatcryptArg arg = {UUIDOID, PointerGetDatum(chat_id), false};
	ChatcryptOwnerScope scope;
	ChatcryptEvent event = {.event = "shred", .chat_id = chat_id};
	uint64		destroyed;

	chatcrypt_owner_begin_deleting(&scope);
	chatcrypt_chatkeys_lock(chat_id);
	destroyed = chatcrypt_dekrows_destroy("d.chat_id = $1", &arg, 1);
	chatcrypt_owner_execute("UPDATE chatcrypt.chat "
							"SET updated_at = now() "
							"WHERE chat_id = $1", &arg, 1);
	chatcrypt_observer()->chat_shredded(chat_id);
	if (with_files)
		chatcrypt_owner_execute_on_latest("DELETE FROM chatcrypt.sealed_attachment WHERE chat_id = $1",
										  &arg, 1);
	event.detail = psprintf("%s" UINT64_FORMAT " keys destroyed", because, destroyed);
	chatcrypt_event_record(&scope, &event);
	chatcrypt_owner_end(&scope);
	chatcrypt_eviction_note_chat(chat_id);
	return (int) destroyed;
}

static Datum
shred_chat(const uint8 *chat_id, bool confirmed)
{
	chatcrypt_rights_require(CHATCRYPT_MAY_ADMINISTER);
	require_confirmation(confirmed, "chat");
	PG_RETURN_INT32(chatcrypt_shred_keys(chat_id, true, ""));
}

/*
 * Locks the tenant's row, and then each of its chats, as for one chat.  No chat of the tenant
 * comes or goes from here on: making one takes a key share lock on the tenant's row.  Returns
 * the number of chats.
 */
static uint64
lock_tenant(const ChatcryptArg *tenant)
{
	if (chatcrypt_owner_execute("SELECT FROM chatcrypt.tenant "
								"WHERE tenant = $1 "
								"FOR UPDATE", tenant, 1) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("tenant \"%s\" does not exist", TextDatumGetCString(tenant->value))));
	return chatcrypt_owner_execute("SELECT chat_id "
								   "FROM chatcrypt.chat "
								   "WHERE tenant = $1 "
								   "ORDER BY chat_id "
								   "FOR NO KEY UPDATE", tenant, 1);
}

/* Evicts, at commit, the keys of the chats that the last statement returned. */
static void
evict_chats_at_commit(void)
{
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool		isnull;
		Datum		id = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull);

		chatcrypt_eviction_note_chat(DatumGetUUIDP(id)->data);
	}
}

/*
 * Destroys all keys and files of a tenant's chats, and records that in the history of each
 * chat.  The caller records it in the history of the tenant.
 */
static uint64
destroy_all(const ChatcryptOwnerScope *scope, const ChatcryptArg *tenant)
{
	ChatcryptArg args[] = {*tenant, chatcrypt_owner_caller(scope)};

	chatcrypt_owner_execute("INSERT INTO chatcrypt.key_event (event, chat_id, tenant, detail, "
							"role) "
							"SELECT 'shred', c.chat_id, $1, count(*) || ' keys destroyed', $2 "
							"FROM chatcrypt.chat c "
							"JOIN chatcrypt.dek d USING (chat_id) "
							"WHERE c.tenant = $1 AND d.state <> 'destroyed' "
							"GROUP BY c.chat_id "
							"ORDER BY c.chat_id",
							args, lengthof(args));
	chatcrypt_owner_execute("UPDATE chatcrypt.chat "
							"SET updated_at = now() "
							"WHERE tenant = $1", args, 1);
	chatcrypt_owner_execute("DELETE FROM chatcrypt.sealed_attachment a USING chatcrypt.chat c "
							"WHERE c.tenant = $1 AND a.chat_id = c.chat_id", args, 1);
	return chatcrypt_dekrows_destroy("d.chat_id IN (SELECT c.chat_id "
									 "FROM chatcrypt.chat c "
									 "WHERE c.tenant = $1)", args, 1);
}

static uint64
shred_tenant(Datum tenant)
{
	ChatcryptArg arg = {TEXTOID, tenant, false};
	ChatcryptEvent event = {.event = "shred", .tenant = TextDatumGetCString(tenant)};
	ChatcryptOwnerScope scope;
	uint64		chats;
	uint64		destroyed;

	chatcrypt_owner_begin_deleting(&scope);
	chats = lock_tenant(&arg);
	evict_chats_at_commit();
	destroyed = destroy_all(&scope, &arg);
	chatcrypt_observer()->tenant_shredded(tenant);
	event.detail = psprintf(UINT64_FORMAT " keys of " UINT64_FORMAT " chats destroyed", destroyed,
							chats);
	chatcrypt_event_record(&scope, &event);
	chatcrypt_owner_end(&scope);
	return destroyed;
}

PG_FUNCTION_INFO_V1(chatcrypt_shred_chat);

/* shred_chat(chat any_id, confirm text): how many keys were destroyed. */
Datum
chatcrypt_shred_chat(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	return shred_chat(PG_GETARG_UUID_P(0)->data, chatcrypt_shred_is_confirmed(fcinfo));
}

PG_FUNCTION_INFO_V1(chatcrypt_shred_tenant);

/* shred_tenant(tenant text, confirm text): how many keys were destroyed. */
Datum
chatcrypt_shred_tenant(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	chatcrypt_rights_require(CHATCRYPT_MAY_ADMINISTER);
	require_confirmation(chatcrypt_shred_is_confirmed(fcinfo), "tenant");
	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("shred_tenant runs in READ COMMITTED transactions only"),
				 errdetail("The snapshot of this transaction would hide chats that were made since.")));
	PG_RETURN_INT64((int64) shred_tenant(PG_GETARG_DATUM(0)));
}
